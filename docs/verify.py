#!/usr/bin/env python3
"""Check an Aver log with nothing of Aver's: Python's standard library and openssl.

    verify.py LOG VKEY [--entries FILE] [--token-file FILE] [--held FILE]... [--inclusion FILE]... [--consistency FILE]...

LOG is the address of a log (https://aver.example/log/decisions) or a folder that
holds its tiles. The folder of a log in a data directory has no entry bundles: for
it, --entries brings what `aver log entries` prints. VKEY is its verifier key, as `aver log key` prints it (of several
lines, the one with the log's origin counts); have it from somebody you trust, not
from the log. The script

  - checks the signature of the checkpoint,
  - reads all entry bundles, or --entries, and computes the root of the tree from
    the leaves,
  - compares every tile on the way with what the leaves give,
  - checks that the log still begins with what a checkpoint that you have held
    since an earlier day was signed for (--held),
  - checks inclusion and consistency proofs, as `aver log proof` prints them.

Formats: C2SP tlog-checkpoint, tlog-tiles and signed-note; RFC 6962, section 2.1.
Exit status: 0 all is well, 1 something is wrong, 2 it could not be checked.
"""
import argparse, base64, gzip, hashlib, json, os, subprocess, sys, tempfile, urllib.request

TILE = 256


class Wrong(Exception):
    pass


def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf).digest()


def leaf_bytes(leaf):
    """A leaf in the form that was hashed (RFC 8785), of one that was parsed."""
    return json.dumps(leaf, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_root(hashes):
    """The root of a tree (RFC 6962, 2.1), from its leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        pairs = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + ([hashes[-1]] if len(hashes) % 2 else [])
    return hashes[0]


def check_inclusion(index, size, leaf, proof, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise Wrong(f"index {index} lies outside of a tree of {size}")
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            raise Wrong("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    if sn or r != root:
        raise Wrong(f"the inclusion proof of entry {index} does not lead to the root")


def check_consistency(old, old_root, new, new_root, proof):
    """RFC 9162, section 2.1.4.2."""
    if old == new:
        if proof or old_root != new_root:
            raise Wrong("two trees of one size have different roots")
        return
    if old == 0:
        return
    proof = list(proof)
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        raise Wrong("the consistency proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for p in proof[1:]:
        if sn == 0:
            raise Wrong("the consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(p, fr), node_hash(p, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, p)
        fn, sn = fn >> 1, sn >> 1
    if sn or fr != old_root or sr != new_root:
        raise Wrong(f"the trees of {old} and {new} entries are not consistent")


def check_note(note, vkeys):
    """Checks a C2SP signed note and returns the lines of its text."""
    origin = note.partition("\n")[0]
    vkey = next((k for k in vkeys.split() if k.startswith(origin + "+")), None)
    if not vkey:
        raise Wrong(f"the checkpoint is that of {origin}, of which you brought no key")
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    if key[0] != 1 or hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() != key_id:
        raise Wrong("the verifier key is malformed")
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, sig = line.split(" ")
        sig = base64.b64decode(sig)
        if dash == "\u2014" and signer == name and sig[:4].hex() == key_id:
            verify_ed25519(key[1:], text.encode(), sig[4:])
            return text.splitlines()
    raise Wrong(f"no signature by {name}+{key_id}")


def verify_ed25519(key, message, signature):
    der = bytes.fromhex("302a300506032b6570032100") + key  # RFC 8410
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"
    with tempfile.TemporaryDirectory() as d:
        for name, content in (("key", pem), ("message", message), ("signature", signature)):
            with open(os.path.join(d, name), "wb") as f:
                f.write(content)
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "message",
                               "-sigfile", "signature"], cwd=d, capture_output=True)
        if done.returncode:
            raise Wrong("a signature does not verify")


def path_of(n):
    """The tile index as tlog-tiles writes it: x001/x234/067."""
    parts = [f"{n % 1000:03}"]
    while n := n // 1000:
        parts.insert(0, f"x{n % 1000:03}")
    return "/".join(parts)


class Log:
    def __init__(self, where, token):
        self.where, self.token = where.rstrip("/"), token

    def read(self, name):
        if "://" not in self.where:
            with open(os.path.join(self.where, name), "rb") as f:
                data = f.read()
            # Earlier versions stored entry bundles, as gzip: no leaf is so long that a bundle could begin like that.
            packed = name.startswith("tile/entries/") and data[:2] == b"\x1f\x8b"
            return gzip.decompress(data) if packed else data
        request = urllib.request.Request(f"{self.where}/{name}")
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def tile(self, kind, n, width):
        suffix = "" if width == TILE else f".p/{width}"
        return self.read(f"tile/{kind}/{path_of(n)}{suffix}")


def leaves(log, size):
    for n in range(0, (size + TILE - 1) // TILE):
        width = min(TILE, size - n * TILE)
        bundle, at = log.tile("entries", n, width), 0
        for _ in range(width):
            length = int.from_bytes(bundle[at:at + 2], "big")
            yield bundle[at + 2:at + 2 + length]
            at += 2 + length
        if at != len(bundle):
            raise Wrong(f"entry bundle {n} holds more than its {width} entries")


def printed_leaves(file, size):
    """The leaves of the first entries that `aver log entries` has printed."""
    with open(file, encoding="utf-8") as f:
        entries = (json.loads(line) for line in f)
        for index, entry in zip(range(size), entries):
            if entry["index"] != index:
                raise Wrong(f"entry {index} is missing in {file}")
            yield leaf_bytes(entry["leaf"])


def check_tiles(log, hashes):
    """Compares every tile with the hashes below it."""
    level = 0
    while hashes:
        for n in range(0, (len(hashes) + TILE - 1) // TILE):
            want = b"".join(hashes[n * TILE:(n + 1) * TILE])
            if log.tile(level, n, len(want) // 32) != want:
                raise Wrong(f"tile {level}/{n} is not what the leaves give")
        hashes = [tree_root(hashes[i:i + TILE]) for i in range(0, len(hashes) - TILE + 1, TILE)]
        level += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("vkey")
    parser.add_argument("--entries")
    parser.add_argument("--token-file")
    parser.add_argument("--held", action="append", default=[])
    parser.add_argument("--inclusion", action="append", default=[])
    parser.add_argument("--consistency", action="append", default=[])
    o = parser.parse_args()
    token = open(o.token_file).read().strip() if o.token_file else None
    log = Log(o.log, token)
    unb64 = base64.b64decode

    origin, size, root = check_note(log.read("checkpoint").decode(), o.vkey)[:3]
    size = int(size)
    hashes = [leaf_hash(leaf) for leaf in (printed_leaves(o.entries, size) if o.entries else leaves(log, size))]
    if len(hashes) < size:
        raise Wrong(f"{o.entries} has {len(hashes)} entries, but the checkpoint was signed for {size}")
    if tree_root(hashes) != unb64(root):
        raise Wrong("the leaves do not give the root of the checkpoint")
    check_tiles(log, hashes)
    print(f"{origin}: {size} entries, root {root}: checkpoint, leaves and tiles agree")

    for name in o.held:
        held_origin, held_size, held_root = check_note(open(name, encoding="utf-8").read(), o.vkey)[:3]
        if held_origin != origin or int(held_size) > size or tree_root(hashes[:int(held_size)]) != unb64(held_root):
            raise Wrong(f"the log does not begin with what {name} was signed for: history was rewritten")
        print(f"{name}: the first {held_size} entries are what was signed then")
    for name in o.inclusion:
        p = json.load(open(name))
        _, proof_size, proof_root = check_note(p["checkpoint"], o.vkey)[:3]
        check_inclusion(p["index"], int(proof_size), leaf_hash(leaf_bytes(p["leaf"])), [unb64(h) for h in p["proof"]], unb64(proof_root))
        print(f"{name}: entry {p['index']} is in the tree of {proof_size}")
    for name in o.consistency:
        p = json.load(open(name))
        old, new = p["old"], p["new"]
        if not old <= new <= size:
            raise Wrong(f"{name} is not about this log")
        check_consistency(old, tree_root(hashes[:old]), new, tree_root(hashes[:new]), [unb64(h) for h in p["proof"]])
        print(f"{name}: the tree of {old} is a prefix of the tree of {new}")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        print(f"WRONG: {wrong}")
        sys.exit(1)
    except Exception as problem:  # files that cannot be read, or are not what they should be
        print(f"could not check: {type(problem).__name__}: {problem}", file=sys.stderr)
        sys.exit(2)
