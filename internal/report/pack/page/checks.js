// The checks of a pack, one line each.

const statementType = "https://in-toto.io/Statement/v1", payloadType = "application/vnd.in-toto+json";
const predicateType = "https://github.com/aver-authz/aver/evidence-pack/v1";

// pause lets the browser show what was done so far.
const pause = () => new Promise((resolve) => setTimeout(resolve));

const entryDir = (log, index) => `${log}/${String(index).padStart(10, "0")}`;

// Report collects checks.
class Report {
  checks = [];
  add(kind, state, file, what, detail = "") { this.checks.push({ check: kind, state, file, what, detail }); return state === "passed"; }
  // check runs one: what it throws is what is wrong.
  async check(kind, file, what, run) {
    try {
      return this.add(kind, "passed", file, what, (await run()) ?? "");
    } catch (err) {
      return this.add(kind, err instanceof Unavailable ? "not_checked" : "failed", file, what, err.message);
    }
  }
  // integrity is the first verdict: see Report.Conclude of package evidence.
  integrity() {
    return this.checks.length > 0 && !this.checks.some((c) => !["key", "witness"].includes(c.check) &&
      (c.state === "failed" || (c.state === "not_checked" && c.check !== "again")));
  }
}

// verify makes all checks but those that decide again, and returns what it read.
async function verify(files, progress) {
  const r = new Report(), v = { report: r, files, entries: { authority: new Map(), decisions: new Map() }, heads: new Map(), keys: {}, checkpoints: {} };
  if (hex(sha256(utf8.encode("abc"))) !== "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") throw new Error("SHA-256 does not work here");
  const text = (name) => { if (!files.has(name)) throw new Error("it is missing"); return text8.decode(files.get(name)); };
  const envelope = JSON.parse(text("manifest.json"));
  if (envelope.payloadType !== payloadType) throw new Error("manifest.json is no in-toto statement");
  const payload = fromBase64(envelope.payload), statement = parseCanonical(payload), p = statement.predicate;
  if (statement._type !== statementType || statement.predicateType !== predicateType || p.format !== "aver-pack/1") throw new Error("the pack has a format that this page does not know");
  v.predicate = p;

  for (const log of Object.values(logs)) {
    try {
      v.keys[log] = parseKey(p.logs[log].key);
      if (v.keys[log].name !== p.logs[log].origin || v.keys[log].alg !== 1) throw new Error("it is not a key of that log");
    } catch (err) {
      r.add("manifest", "failed", "manifest.json", `names the key of the log ${log}`, err.message);
    }
  }
  await r.check("manifest", "manifest.json", "is signed with the decision log's key", async () => {
    const key = v.keys.decisions, s = envelope.signatures.find((s) => key && s.keyid === `${key.name}+${key.id}`);
    if (!s) throw new Error("it has no signature by the decision log's key");
    const pae = join(utf8.encode(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `), payload);
    if (!(await ed25519(key.public, pae, fromBase64(s.sig)))) throw new Error("the signature is wrong");
  });

  const listed = new Set(["manifest.json"]);
  let good = 0;
  for (const s of statement.subject) {
    let wrong = "";
    if (listed.has(s.name)) wrong = "the manifest lists it twice";
    else if (!files.has(s.name)) wrong = "it is missing";
    else if (hex(sha256(files.get(s.name))) !== s.digest.sha256) wrong = "its SHA-256 is not the one in the manifest";
    listed.add(s.name);
    if (wrong) r.add("files", "failed", s.name, "is what the manifest lists", wrong);
    else if (++good % 500 === 0) await progress("files", good, statement.subject.length);
  }
  for (const name of files.keys()) if (!listed.has(name)) r.add("files", "failed", name, "is what the manifest lists", "the manifest does not list it");
  r.add("files", "passed", "", `${good} files have the digests that the manifest lists`);

  for (const log of Object.values(logs)) {
    await r.check("checkpoint", `${log}/checkpoint`, `is signed with the key of ${p.logs[log].origin}`, async () => {
      if (!v.keys[log]) throw new Error("there is no good key");
      const note = parseCheckpoint(text(`${log}/checkpoint`), p.logs[log].origin);
      await signedBy(note, v.keys[log]);
      v.checkpoints[log] = { ...note, text: text(`${log}/checkpoint`) };
    });
  }

  const withheld = new Map((p.withheld ?? []).map((w) => [`${entryDir(w.log, w.index)}/${w.what}`, w.why]));
  const dirs = new Set();
  for (const name of files.keys()) { const m = /^((authority|decisions)\/[^/]+)\/[^/]+$/.exec(name); if (m) dirs.add(m[1]); }
  let done = 0;
  for (const dir of [...dirs].sort()) {
    await checkEntry(v, dir, withheld);
    if (++done % 100 === 0) await progress("entries", done, dirs.size);
  }
  await checkCitations(v);
  await checkPolicies(v);
  checkCited(v);
  checkListed(v);
  await checkPopulation(v);
  return v;
}

async function checkEntry(v, dir, withheld) {
  const { report: r, files } = v, [log, number] = dir.split("/"), index = Number(number);
  if (!Number.isSafeInteger(index) || entryDir(log, index) !== dir) return r.add("proof", "failed", dir, "is the directory of an entry", "its name is no index");
  const e = { log, index, dir };
  const there = await r.check("proof", `${dir}/proof`, `entry ${index} is in the log ${log}`, async () => {
    const leaf = files.get(`${dir}/leaf.json`), proofText = files.get(`${dir}/proof`), c = v.checkpoints[log];
    if (!leaf) throw new Error("the leaf is missing");
    if (!proofText) throw new Error("the proof is missing");
    e.leaf = parseCanonical(leaf);
    const proof = parseProof(text8.decode(proofText));
    if (!c) throw new Error("there is no good checkpoint to lead to");
    if (proof.index !== index) throw new Error(`the proof is one of entry ${proof.index}`);
    if (index >= c.size) throw new Error(`the checkpoint covers ${c.size} entries`);
    if (proof.checkpoint !== c.text) {
      const other = parseCheckpoint(proof.checkpoint, v.keys[log].name);
      if (other.signed !== c.signed) throw new Error("the checkpoint in the proof is another one than that of the pack");
      await signedBy(other, v.keys[log]);
    }
    checkInclusion(index, c.size, leafHash(leaf), proof.hashes, c.root);
  });
  if (!there) return;
  v.entries[log].set(index, e);
  const file = `${dir}/payload.json`, payload = files.get(file), what = "is what the log commits to";
  if (!payload) {
    const why = withheld.get(`${dir}/payload`);
    if (why) r.add("payload", "unknown", file, what, `it is not here: ${why}. That the entry exists is proved`);
    else r.add("payload", "failed", file, what, "it is missing, and the manifest does not say why");
    return;
  }
  const good = await r.check("payload", file, what, () => {
    if (hex(sha256(payload)) !== e.leaf.payload) throw new Error("its SHA-256 is not the one in the leaf");
    const value = parseCanonical(payload), l = e.leaf;
    const kinds = log === "authority" ? ["event"] : ["decision", "activity"];
    if (!kinds.includes(l.kind)) throw new Error(`the leaf is of kind ${l.kind}, which that log does not have`);
    const type = { event: value.type, activity: value.status, decision: undefined }[l.kind];
    const outcome = l.kind === "decision" ? value.decision.outcome : undefined;
    if (value.kind !== l.kind || value.id !== l.id || value.time !== l.time || type !== l.type || outcome !== l.outcome) throw new Error("the leaf says something else than it");
    e.recorded = value;
    e.payload = l.kind === "decision" ? { ...value, decision: complete(value) } : value;
  });
  if (!good || log !== "decisions") return;
  const head = e.payload.authority;
  v.heads.set(`${head.size} ${head.root}`, { ...head, good: false });
  if (e.leaf.kind === "decision") await checkDisclosures(v, e, withheld);
}

// checkDisclosures is RFC 9901: each disclosure's digest stands in the record. It puts the values back into e.request.
async function checkDisclosures(v, e, withheld) {
  const committed = new Map(), file = `${e.dir}/disclosures.json`;
  e.request = structuredClone(e.payload.request);
  const walk = (o, at) => {
    if (o === null || typeof o !== "object") return;
    for (const [name, inner] of Object.entries(o)) {
      if (name === "_sd" && Array.isArray(inner)) { for (const d of inner) committed.set(d, { object: o, at: `${at}/_sd/${d}` }); delete o._sd; }
      else walk(inner, `${at}/${name}`);
    }
  };
  walk(e.request, "");
  if (v.files.has(file)) {
    await v.report.check("disclosures", file, "are what the record commits to", () => {
      for (const d of JSON.parse(text8.decode(v.files.get(file)))) {
        const digest = digestOf(d), place = committed.get(digest);
        if (!place) throw new Error("it has a disclosure that the record does not commit to, or has it twice");
        const [, name, value, ...more] = JSON.parse(text8.decode(fromBase64URL(d)));
        if (typeof name !== "string" || value === undefined || more.length || Object.hasOwn(place.object, name)) throw new Error("a disclosure is not [salt, name, value]");
        place.object[name] = value;
        committed.delete(digest);
      }
    });
  }
  e.lacks = [...committed.values()].map((c) => c.at);
  for (const [digest, { at }] of [...committed].sort()) {
    const why = withheld.get(`${e.dir}/${digest}`) ?? "the pack does not say why";
    v.report.add("disclosures", "unknown", file, "discloses all values", `the value at ${at} is not here: ${why}`);
  }
}

async function checkCitations(v) {
  const file = "authority/consistency.json", proofs = new Map();
  if (v.files.has(file)) {
    try {
      for (const c of JSON.parse(text8.decode(v.files.get(file)))) proofs.set(`${c.size} ${c.root}`, c.proof);
    } catch (err) {
      v.report.add("citation", "failed", file, "holds consistency proofs", err.message);
    }
  }
  const c = v.checkpoints.authority;
  for (const [key, head] of [...v.heads].sort((a, b) => a[1].size - b[1].size)) {
    head.good = await v.report.check("citation", file, `the authority of ${head.size} events that entries cite is what the log grew from`, () => {
      if (!proofs.has(key)) throw new Error("there is no proof of it");
      if (!c) throw new Error("there is no good checkpoint to lead to");
      checkConsistency(head.size, parseHash(head.root), c.size, c.root, proofs.get(key).map(parseHash));
    });
  }
}

// bundleDigest is that of docs/formats-authority.md.
function bundleDigest(files) {
  const parts = [utf8.encode("aver.bundle.v1\n")];
  for (const name of Object.keys(files).map((n) => [n, utf8.encode(n)]).sort((a, b) => compareBytes(a[1], b[1])).map(([n]) => n)) {
    for (const t of [name, files[name]]) {
      const bytes = utf8.encode(t), length = new Uint8Array(8);
      new DataView(length.buffer).setBigUint64(0, BigInt(bytes.length));
      parts.push(length, bytes);
    }
  }
  return hex(sha256(join(...parts)));
}

function compareBytes(a, b) {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

// checkPolicies finds the bundles that records commit to. v.bundles: digest -> {name, files}.
async function checkPolicies(v) {
  v.bundles = new Map();
  v.active = new Map((v.predicate.policies ?? []).map((s) => [s.digest, s.active]));
  let withheld = 0;
  for (const e of v.entries.authority.values()) {
    if (e.leaf.type !== "policy.published") continue;
    if (!e.payload) { withheld++; continue; }
    const { name, digest, files } = e.payload.data;
    const good = await v.report.check("policies", `${e.dir}/payload.json`, `publishes the bundle ${name} with the digest ${digest.slice(0, 12)}…`, () => {
      if (bundleDigest(files) !== digest) throw new Error("its digest is not that of its files");
    });
    if (good) v.bundles.set(digest, { name, files });
  }
  const used = new Map();
  for (const e of v.entries.decisions.values()) if (e.payload && e.leaf.kind === "decision") used.set(e.payload.policies, (used.get(e.payload.policies) ?? 0) + 1);
  for (const [digest, n] of [...used].sort()) {
    const what = `the policies of ${n} decisions are here in full`, active = v.active.get(digest);
    if (!active || digestOf(canonical(active)) !== digest) {
      v.report.add("policies", "failed", "manifest.json", what, `the manifest does not say which bundles ${digest} stands for`);
      continue;
    }
    const missing = active.filter(([name, d]) => v.bundles.get(d)?.name !== name).map(([name]) => name).join(", ");
    if (!missing) v.report.add("policies", "passed", "manifest.json", what);
    else v.report.add("policies", withheld ? "unknown" : "failed", "manifest.json", what, (withheld ? "withheld: " : "missing: ") + missing);
  }
}

const rulings = (d) => d.parts ?? [d];
const frameKind = (f) => f.exception ? "exception" : f.grant ? "grant" : f.entity ? "delegator" : "actor";

const kinds = ["human_user", "service_account", "application", "workload", "api_client", "ai_agent"];
const kindOfType = (type) => kinds.includes(type) ? type : type === "user" ? "human_user" : "unknown";

const isText = (x) => typeof x === "string" && x !== "";

// putBack puts back the frames of a chain whose grants allow.
function putBack(frames, { delegation: grants, on_behalf_of: origin } = {}) {
  if (!frames.length || frameKind(frames[0]) !== "actor" || frames.some((f) => f.grant)) return;
  if (!Array.isArray(grants) || !grants.length || grants.length > 8 || !grants.every(isText)) return;
  let next = 1;
  while (next < frames.length && frameKind(frames[next]) === "delegator") next++;
  const known = isText(origin?.type) && isText(origin.id) && Object.keys(origin).length === 2;
  if (known && next === grants.length) frames.splice(next, 0, { entity: origin });
  frames.push(...grants.map((grant) => ({ grant })));
}

// complete puts back what a record leaves out of its decision: docs/formats.md, "What is left out".
function complete(record) {
  const d = structuredClone(record.decision), { type, id } = record.request.subject ?? {};
  const allowed = (r) => r.outcome === "permitted" || r.outcome === "restricted";
  d.actor = { kind: kindOfType(type), ...d.actor, type, id };
  for (const r of [d, ...(d.parts ?? [])]) {
    const frames = r.frames ?? [], actor = frames[0];
    if (!r.reasons?.some((x) => x.code === "grant_unknown")) putBack(frames, record.request.context);
    for (const f of frames) f.allowed = !Object.hasOwn(f, "allowed"); // it is never there but as false
    for (const f of frames) if (frameKind(f) === "delegator" && f.allowed && frameKind(actor) === "actor" && actor.allowed) f.policies ??= actor.policies;
    let given = [];
    if (allowed(r)) given = frames.filter((f) => f.allowed && frameKind(f) === "actor").flatMap((f) => (f.policies ?? []).map((policy) => ({ code: "permitted", policy })));
    else if (r.outcome === "denied") given = frames.filter((f) => !f.allowed).flatMap(denials);
    if (frames.some((f) => f.exception && f.allowed) || given.includes(null)) given = [];
    const kept = r.reasons ?? [], later = kept.findIndex((x) => ["token_does_not_cover", "limit_exhausted", "limit_not_countable"].includes(x.code));
    const at = allowed(r) ? 0 : later < 0 ? kept.length : later;
    r.reasons = [...kept.slice(0, at), ...given, ...kept.slice(at)];
  }
  if (d.parts && allowed(d) && !d.reasons.length) {
    const texts = d.parts.flatMap((p) => p.reasons).map((x) => JSON.stringify(x, ["code", "detail", "grant", "policy"]));
    d.reasons = [...new Set(texts)].map((x) => JSON.parse(x));
  }
  return d;
}

// denials are the reasons of a frame that does not allow; null where it does not tell them all.
function denials(f) {
  const kind = frameKind(f), errors = f.errors ?? [], whom = kind === "delegator" ? { detail: `${f.entity.type}::${JSON.stringify(f.entity.id)}` } : {};
  if (kind === "exception") return [];
  if (kind === "grant") return [errors.length ? { code: "policy_error", grant: f.grant, detail: errors[0].message } : { code: "grant_does_not_cover", grant: f.grant }];
  if (f.policies && errors.length) return null;
  const failed = errors.map((x) => ({ code: "policy_error", policy: x.policy, detail: x.message }));
  return [...failed, ...(f.policies ? f.policies.map((policy) => ({ code: "forbidden", policy, ...whom })) : [{ code: "not_permitted", ...whom }])];
}

// checkCited tells of each decision whether the events that it cites are here, and what they are: e.cited.
function checkCited(v) {
  v.grants = new Map();
  v.exceptions = new Map();
  for (const e of v.entries.authority.values()) {
    if (e.leaf.type === "grant.issued" && e.payload) v.grants.set(e.payload.data.id, e.payload.data);
    if (e.leaf.type === "exception.requested" && e.payload) v.exceptions.set(e.payload.data.id, e.payload.data);
  }
  for (const e of v.entries.decisions.values()) {
    if (e.leaf.kind !== "decision" || !e.payload) continue;
    const d = e.payload.decision, missing = [];
    const events = [...(e.payload.facts?.events ?? []), ...(d.actor.event === undefined ? [] : [d.actor.event])];
    for (const i of events) if (!v.entries.authority.get(i)?.payload) missing.push(`event ${i}`);
    for (const f of rulings(d).flatMap((r) => r.frames ?? [])) {
      if (f.grant && !v.grants.has(f.grant)) missing.push(`grant ${f.grant}`);
      if (f.exception && !v.exceptions.has(f.exception)) missing.push(`exception ${f.exception}`);
    }
    const what = "what the decision cites of the authority log is here";
    if (missing.length) v.report.add("cited", "unknown", `${e.dir}/payload.json`, what, "not here: " + [...new Set(missing)].join(", "));
    else v.report.add("cited", "passed", `${e.dir}/payload.json`, what);
  }
}

function checkListed(v) {
  const seen = new Set(), wrong = [], entries = v.entries.decisions;
  for (const d of v.predicate.decisions) {
    const e = entries.get(d.index);
    if (e?.leaf.kind !== "decision" || e.leaf.id !== d.evaluation_id) wrong.push(`decision ${d.evaluation_id} is not entry ${d.index}`);
    if (seen.has(d.index)) wrong.push(`entry ${d.index} is listed twice`);
    seen.add(d.index);
    for (const i of d.activities ?? []) {
      if (seen.has(i)) wrong.push(`entry ${i} is listed twice`);
      const a = entries.get(i);
      if (a?.leaf.kind !== "activity" || (a.payload && a.payload.evaluation_id !== d.evaluation_id)) wrong.push(`entry ${i} is not an activity of ${d.evaluation_id}`);
      seen.add(i);
    }
  }
  for (const i of entries.keys()) if (!seen.has(i)) wrong.push(`entry ${i} is not listed`);
  v.report.add("listed", wrong.length ? "failed" : "passed", "manifest.json", "lists the decisions and activities that are here", wrong.slice(0, 5).join("; "));
}

// checkPopulation checks what the pack says that its decisions were drawn from: docs/sampling.md.
async function checkPopulation(v) {
  const file = "population.json";
  if (!v.files.has(file)) return;
  await v.report.check("population", file, "the decisions are of a population that is complete for its period", async () => {
    const d = JSON.parse(text8.decode(v.files.get(file))), s = d.statement, own = v.predicate.logs.decisions;
    if (d.verifier_key !== own.key || s.log !== own.origin || !v.keys.decisions) throw new Error("it is one of another log");
    if (digestOf(canonical(s)) !== d.digest) throw new Error("its digest is not that of the statement");
    if (d.note) {
      const note = parseNote(d.note);
      if (note.signed !== `${own.origin}/population\n${d.digest}\n`) throw new Error("what was signed is another statement");
      await signedBy(note, v.keys.decisions);
    }
    const tree = parseCheckpoint(d.checkpoint, own.origin);
    await signedBy(tree, v.keys.decisions);
    if (tree.size !== s.tree.size || !same(tree.root, parseHash(s.tree.root))) throw new Error("its checkpoint is not that of the statement's tree");
    checkRows(d, tree);
    const rows = new Set(d.rows), here = v.predicate.decisions.filter((x) => rows.has(x.index)).length;
    if (here !== v.predicate.decisions.length) throw new Error(`${v.predicate.decisions.length - here} decisions here are none of its rows`);
    return `${here} of its ${s.count} rows are here; that the rows are all that its query wants takes the log`;
  });
}

// checkRows checks that the leaves of a population are all of its period, and its rows decisions among them.
function checkRows({ statement: s, proof: p, rows }, tree) {
  const end = p.begin + p.leaves.length, from = s.from ?? "";
  if (p.begin > s.first || end < s.end || s.first > s.end || (p.begin > 0 && p.begin === s.first) || (end < tree.size && end === s.end)) throw new Error("leaves of its period, or their neighbours, are missing");
  if (!same(rangeRoot(tree.size, p.begin, p.leaves.map((l) => utf8.encode(l)), p.nodes ?? []), tree.root)) throw new Error("its leaves are not those of the checkpoint's tree: one was changed, left out, added or moved");
  if (rows.length !== s.count || digestOf(rows.map((i) => `${i}\n`).join("")) !== s.rows || rows.some((r, i) => i && r <= rows[i - 1])) throw new Error("the rows are not those of the statement");
  const wanted = new Set(rows), counted = { activities: 0, not_matching: 0, outside: 0 };
  const missing = (i) => (s.missing ?? []).some((m) => i >= m.first && i < m.end);
  let found = 0;
  p.leaves.forEach((text, n) => {
    const i = p.begin + n, leaf = parseCanonical(utf8.encode(text)), outside = leaf.time < from || leaf.time >= s.to;
    if (i < s.first || i >= s.end) {
      if (i < s.first ? leaf.time >= from : leaf.time < s.to) throw new Error(`entry ${i} is of the period, and stands outside of its leaves`);
      return;
    }
    if ((i === s.first || i === s.end - 1) && (i === s.first ? leaf.time < from : leaf.time >= s.to)) throw new Error(`entry ${i} is at the edge of the period, and outside of it`);
    if (wanted.has(i)) {
      if (outside || leaf.kind !== "decision" || missing(i)) throw new Error(`row ${i} is no decision of the period`);
      found++;
    } else if (outside) counted.outside++;
    else if (leaf.kind === "activity") counted.activities++;
    else if (!missing(i)) counted.not_matching++;
  });
  if (found !== rows.length || Object.entries(counted).some(([k, n]) => n !== (s.excluded?.[k] ?? 0))) throw new Error("its rows and the other leaves do not add up");
}

// trust is the second verdict: it compares the keys with those that the reader brings.
async function trust(v, keyTexts, witnessTexts) {
  const r = new Report(), brought = keyTexts.map(parseKey).map((k) => k.text);
  const covered = Math.max(0, ...[...v.heads.values()].filter((h) => h.good).map((h) => h.size));
  const needed = { decisions: true, authority: [...v.entries.authority.keys()].some((i) => i >= covered) };
  let all = true;
  for (const log of Object.values(logs)) {
    const l = v.predicate.logs[log], what = `the key of ${l.origin} is one that you brought`;
    if (v.keys[log] && brought.includes(l.key)) { r.add("key", "passed", "manifest.json", what); continue; }
    if (needed[log]) all = false;
    r.add("key", "not_checked", "manifest.json", what, needed[log] ? "bring it, from somebody you believe" :
      "it is not needed: entries of the decision log commit to all that is here of this log");
  }
  const ours = Object.values(logs).map((log) => v.predicate.logs[log].key);
  for (const k of new Set(brought)) if (!ours.includes(k)) r.add("key", "failed", "manifest.json", "every key that you brought is that of a log here", `the one of ${k.split("+")[0]} is not`);
  for (const w of witnessTexts.map(parseKey)) {
    for (const log of Object.values(logs)) {
      await r.check("witness", `${log}/checkpoint`, `is cosigned by the witness ${w.name}`, () => {
        if (!v.checkpoints[log]) throw new Error("there is no good checkpoint");
        return cosignedBy(v.checkpoints[log], w);
      });
    }
  }
  const refused = r.checks.some((c) => c.state === "failed"), open = r.checks.some((c) => c.check === "witness" && c.state !== "passed");
  return { checks: r.checks, verdict: refused ? "refused" : all && !open ? "established" : "not_established" };
}
