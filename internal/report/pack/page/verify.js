// Checks an evidence pack with nothing but the pack and the keys that the reader brings. docs/packs.md is the format; the
// checks are those of package evidence, in the same order and with the same states: passed, failed, not_checked, unknown.
// Nothing here touches the page.

const limits = { content: 1 << 30, files: 200000 };
const logs = { authority: "authority", decisions: "decisions" };
const utf8 = new TextEncoder(), text8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// --- bytes ---

// SHA-256 (FIPS 180-4). Synchronous, since a pack takes tens of thousands of small ones.
const sha256 = (() => {
  const K = new Uint32Array(64), H0 = new Uint32Array(8);
  for (let n = 2, i = 0; i < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) { prime = false; break; }
    if (!prime) continue;
    if (i < 8) H0[i] = (Math.sqrt(n) % 1) * 2 ** 32;
    K[i++] = (Math.cbrt(n) % 1) * 2 ** 32;
  }
  const w = new Uint32Array(64);
  return (data) => {
    const h = H0.slice(), length = data.length;
    const tail = new Uint8Array(length % 64 < 56 ? 64 : 128), whole = length - (length % 64);
    tail.set(data.subarray(whole));
    tail[length % 64] = 0x80;
    const bits = new DataView(tail.buffer);
    bits.setUint32(tail.length - 8, Math.floor(length / 2 ** 29));
    bits.setUint32(tail.length - 4, (length << 3) >>> 0);
    const block = (view, at) => {
      for (let i = 0; i < 16; i++) w[i] = view.getUint32(at + 4 * i);
      for (let i = 16; i < 64; i++) {
        const x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)) +
          (((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10));
      }
      let [a, b, c, d, e, f, g, k] = h;
      for (let i = 0; i < 64; i++) {
        const t1 = (k + (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const t2 = ((((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        k = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
      }
      h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += k;
    };
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < whole; at += 64) block(view, at);
    for (let at = 0; at < tail.length; at += 64) block(bits, at);
    const out = new DataView(new ArrayBuffer(32));
    h.forEach((v, i) => out.setUint32(4 * i, v));
    return new Uint8Array(out.buffer);
  };
})();

const hex = (b) => Array.from(b, (v) => v.toString(16).padStart(2, "0")).join("");
const same = (a, b) => a.length === b.length && a.every((v, i) => v === b[i]);

function join(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) { out.set(p, at); at += p.length; }
  return out;
}

function toBase64(bytes) {
  let s = "";
  for (const b of bytes) s += String.fromCharCode(b);
  return btoa(s);
}

// fromBase64 takes the one spelling that bytes have.
function fromBase64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    throw new Error("it is not base64");
  }
  if (toBase64(bytes) !== text) throw new Error("it is not canonical base64");
  return bytes;
}

const toBase64URL = (bytes) => toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const fromBase64URL = (text) => fromBase64(text.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat((4 - (text.length % 4)) % 4));
const digestOf = (text) => toBase64URL(sha256(utf8.encode(text)));

async function unpack(bytes, format, most) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const parts = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return join(...parts);
    if ((size += value.length) > most) throw new Error("unpacked, it holds too much");
    parts.push(value);
  }
}

// unzip returns the files of a ZIP by name.
async function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), files = new Map();
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("it is no ZIP file");
  let count = view.getUint16(end + 10, true), at = view.getUint32(end + 16, true);
  if (count === 0xffff || at === 0xffffffff) { // ZIP64
    const far = Number(view.getBigUint64(end - 20 + 8, true));
    if (view.getUint32(end - 20, true) !== 0x07064b50 || view.getUint32(far, true) !== 0x06064b50) throw new Error("its directory is damaged");
    count = Number(view.getBigUint64(far + 32, true));
    at = Number(view.getBigUint64(far + 48, true));
  }
  if (count > limits.files) throw new Error("it holds too many files");
  let left = limits.content;
  for (let i = 0; i < count; i++) {
    if (view.getUint32(at, true) !== 0x02014b50) throw new Error("its directory is damaged");
    const method = view.getUint16(at + 10, true), size = view.getUint32(at + 20, true);
    const nameLength = view.getUint16(at + 28, true), local = view.getUint32(at + 42, true);
    const name = text8.decode(bytes.subarray(at + 46, at + 46 + nameLength));
    if (!/^[A-Za-z0-9._\-]+(\/[A-Za-z0-9._\-]+)*$/.test(name) || name.split("/").some((p) => p === "." || p === "..") || files.has(name)) {
      throw new Error(`the file name ${JSON.stringify(name)} is none that a pack has`);
    }
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const packed = bytes.subarray(start, start + size);
    if (packed.length !== size || (method !== 0 && method !== 8)) throw new Error(`${name} is damaged`);
    const content = method === 0 ? packed : await unpack(packed, "deflate-raw", left);
    left -= content.length;
    if (left < 0) throw new Error("it holds too much");
    files.set(name, content);
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return files;
}

// --- JSON ---

// canonical is RFC 8785 for the JSON that Aver writes: no fractions.
function canonical(v) {
  if (v === null || typeof v === "boolean" || typeof v === "string") return JSON.stringify(v);
  if (typeof v === "number") {
    if (!Number.isSafeInteger(v)) throw new Error("a number has no canonical form");
    return String(v);
  }
  if (Array.isArray(v)) return "[" + v.map(canonical).join(",") + "]";
  return "{" + Object.keys(v).sort().map((k) => JSON.stringify(k) + ":" + canonical(v[k])).join(",") + "}";
}

// parseCanonical reads evidence: it is in canonical form, or it is none.
function parseCanonical(bytes) {
  const text = text8.decode(bytes), v = JSON.parse(text);
  if (canonical(v) !== text) throw new Error("it is not in the canonical form");
  return v;
}

// --- keys, notes, proofs ---

// parseKey reads a verifier key of C2SP signed-note.
function parseKey(text) {
  text = text.trim();
  const m = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  if (m) {
    try {
      const raw = fromBase64(m[3]);
      const id = hex(sha256(join(utf8.encode(m[1] + "\n"), raw)).subarray(0, 4));
      if (raw.length === 33 && (raw[0] === 1 || raw[0] === 4) && id === m[2]) return { name: m[1], id, alg: raw[0], public: raw.subarray(1), text };
    } catch { /* said below */ }
  }
  throw new Error(`${JSON.stringify(text)} is not a verifier key of the form NAME+HASH+KEY`);
}

class Unavailable extends Error {}

// ed25519 verifies a signature: with the browser's own implementation, else with @noble/ed25519.
async function ed25519(publicKey, message, signature) {
  if (signature.length !== 64) return false;
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new Unavailable("this browser gives pages from files no cryptography");
  try {
    const key = await subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
    return await subtle.verify({ name: "Ed25519" }, key, signature, message);
  } catch { /* it has no Ed25519 */ }
  try {
    return await Noble.verifyAsync(signature, message, publicKey, { zip215: false });
  } catch (err) {
    if (err instanceof TypeError || err instanceof ReferenceError) throw new Unavailable(err.message);
    return false;
  }
}

// parseNote reads a signed note.
function parseNote(text) {
  const at = text.indexOf("\n\n");
  if (at < 0 || !text.endsWith("\n")) throw new Error("it is no signed note");
  const signatures = text.slice(at + 2, -1).split("\n").map((line) => {
    const m = /^\u2014 (\S+) (\S+)$/.exec(line);
    if (!m) throw new Error("a signature line is malformed");
    const raw = fromBase64(m[2]);
    return { name: m[1], id: hex(raw.subarray(0, 4)), signature: raw.subarray(4) };
  });
  return { signed: text.slice(0, at + 1), signatures };
}

function parseCheckpoint(text, origin) {
  const note = parseNote(text), lines = note.signed.slice(0, -1).split("\n");
  if (lines.length < 3 || lines[0] !== origin) throw new Error(`it is not a checkpoint of ${origin}`);
  const size = Number(lines[1]);
  if (!Number.isSafeInteger(size) || String(size) !== lines[1]) throw new Error("its size is not a number");
  return { ...note, size, root: parseHash(lines[2]) };
}

function parseHash(text) {
  const h = fromBase64(text);
  if (h.length !== 32) throw new Error("a hash does not have 32 bytes");
  return h;
}

async function signedBy(note, key) {
  const s = note.signatures.find((s) => s.name === key.name && s.id === key.id);
  if (!s) throw new Error(`it has no signature by ${key.name}+${key.id}`);
  if (key.alg !== 1 || !(await ed25519(key.public, utf8.encode(note.signed), s.signature))) throw new Error(`the signature by ${key.name}+${key.id} is wrong`);
}

// cosignedBy checks a witness's cosignature (C2SP tlog-cosignature) and returns its time.
async function cosignedBy(note, key) {
  const s = note.signatures.find((s) => s.name === key.name && s.id === key.id);
  if (!s) throw new Error("it has no cosignature by this witness");
  if (key.alg === 1) {
    if (!(await ed25519(key.public, utf8.encode(note.signed), s.signature))) throw new Error("the cosignature is wrong");
    return "";
  }
  if (s.signature.length !== 72) throw new Error("the cosignature is malformed");
  const time = new DataView(s.signature.buffer, s.signature.byteOffset).getBigUint64(0);
  const message = utf8.encode(`cosignature/v1\ntime ${time}\n${note.signed}`);
  if (!(await ed25519(key.public, message, s.signature.subarray(8)))) throw new Error("the cosignature is wrong");
  return "at " + new Date(Number(time) * 1000).toISOString();
}

function parseProof(text) {
  const header = "c2sp.org/tlog-proof@v1\n", at = text.indexOf("\n\n");
  if (!text.startsWith(header) || at < 0) throw new Error("it is no tlog-proof");
  const lines = text.slice(header.length, at).split("\n"), m = /^index (0|[1-9][0-9]*)$/.exec(lines[0]);
  if (!m || lines.length > 65) throw new Error("it names no index");
  return { index: Number(m[1]), hashes: lines.slice(1).map(parseHash), checkpoint: text.slice(at + 2) };
}

const leafHash = (leaf) => sha256(join(Uint8Array.of(0), leaf));
const nodeHash = (l, r) => sha256(join(Uint8Array.of(1), l, r));
const half = (n) => Math.floor(n / 2);

// checkInclusion is RFC 9162, section 2.1.3.2.
function checkInclusion(index, size, hash, proof, root) {
  let fn = index, sn = size - 1, r = hash;
  const wrong = () => new Error("the proof does not lead from the leaf to the root that was signed");
  for (const p of proof) {
    if (sn === 0) throw wrong();
    if (fn % 2 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn) { fn = half(fn); sn = half(sn); }
    } else {
      r = nodeHash(r, p);
    }
    fn = half(fn); sn = half(sn);
  }
  if (sn || !same(r, root)) throw wrong();
}

// checkConsistency is RFC 9162, section 2.1.4.2.
function checkConsistency(old, oldRoot, size, root, proof) {
  const wrong = () => new Error(`the tree of ${size} that was signed is not one that the cited tree of ${old} grew into`);
  if (old < 1 || old > size) throw wrong();
  if (old === size) {
    if (proof.length || !same(oldRoot, root)) throw wrong();
    return;
  }
  let path = proof, fn = old - 1, sn = size - 1;
  if (Number.isInteger(Math.log2(old)) && 2 ** Math.round(Math.log2(old)) === old) path = [oldRoot, ...proof];
  if (!path.length) throw wrong();
  while (fn % 2) { fn = half(fn); sn = half(sn); }
  let fr = path[0], sr = path[0];
  for (const p of path.slice(1)) {
    if (sn === 0) throw wrong();
    if (fn % 2 || fn === sn) {
      fr = nodeHash(p, fr); sr = nodeHash(p, sr);
      while (fn % 2 === 0 && fn) { fn = half(fn); sn = half(sn); }
    } else {
      sr = nodeHash(sr, p);
    }
    fn = half(fn); sn = half(sn);
  }
  if (sn || !same(fr, oldRoot) || !same(sr, root)) throw wrong();
}

// rangeRoot is the root of a tree of which the leaves from begin on are here, and nodes for all that is left and right of
// them: {level, n, hash} is the complete subtree over the leaves n << level up to and without (n + 1) << level.
function rangeRoot(size, begin, leaves, nodes) {
  const end = begin + leaves.length, known = new Map();
  for (const { level, n, hash } of nodes) {
    const from = n * 2 ** level, to = from + 2 ** level;
    if (!(to <= begin || from >= end)) throw new Error("a hash of the proof stands in for leaves that should be here");
    known.set(`${from} ${to}`, parseHash(hash));
  }
  if (!size) throw new Error("the tree is empty");
  const hash = (from, to) => {
    const own = known.get(`${from} ${to}`);
    if (own) return own;
    if (to - from === 1) {
      if (from < begin || from >= end) throw new Error("the proof lacks a hash");
      return leafHash(leaves[from - begin]);
    }
    const middle = from + 2 ** Math.ceil(Math.log2(to - from) - 1);
    return nodeHash(hash(from, middle), hash(middle, to));
  };
  return hash(0, size);
}
