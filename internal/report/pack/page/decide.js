// Decides each packed decision again, frame by frame, with Cedar's own engine. The policies are taken from the bundles and
// grants that the records commit to, not from what whoever made the pack says was asked; and what was asked is compared
// with the record. How frames combine into an outcome is Aver's own rule: docs/formats.md, "Decision".

// decideAgain adds one check for each decision.
async function decideAgain(v, progress) {
  const asked = new Map(), skipped = new Map();
  let whole = false;
  for (const text of text8.decode(v.files.get("frames.ndjson") ?? new Uint8Array()).split("\n")) {
    if (!text) continue;
    const line = JSON.parse(text);
    if (line.decision) asked.has(line.decision) ? asked.get(line.decision).push(line) : asked.set(line.decision, [line]);
    else if (line.skipped) skipped.set(line.skipped, line.reason);
    else if (line.end) whole = true;
  }
  const engine = new Engine(v);
  let done = 0;
  for (const d of v.predicate.decisions) {
    const e = v.entries.decisions.get(d.index), what = "comes out as it is recorded when Cedar's engine in Rust decides it again";
    const file = `${entryDir("decisions", d.index)}/payload.json`;
    if (!e?.payload) v.report.add("again", "unknown", file, what, "the record is not here");
    else if (e.lacks?.length) v.report.add("again", "unknown", file, what, `undetermined: the value at ${e.lacks[0]} is withheld`);
    else if (skipped.has(d.evaluation_id)) v.report.add("again", "unknown", file, what, `undetermined: ${skipped.get(d.evaluation_id)}`);
    else {
      await v.report.check("again", file, what, () => {
        if (!whole) throw new Error("frames.ndjson is cut short");
        const n = engine.decision(e, asked.get(d.evaluation_id) ?? []);
        return `${n} authorizations agree`;
      });
    }
    if (++done % 25 === 0) await progress("decisions decided again", done, v.predicate.decisions.length);
  }
}

// The outcomes, the worst first; those that allow; and what a gate that matches and is not met leaves of one, by the reason
// that says so. An approval met it.
const outcomes = ["denied", "challenged", "escalated", "partially_authorized", "restricted", "permitted"];
const allowing = new Set(["partially_authorized", "restricted", "permitted"]);
const lesser = (a, b) => outcomes.indexOf(a) < outcomes.indexOf(b) ? a : b;
const gateOutcome = { obligation_unsupported: "denied", challenge: "challenged", escalate: "escalated", restrict: "restricted", approved: "permitted" };
// The reasons that a ruling can have for which the gates were asked: everything else allowed.
const afterGates = new Set([...Object.keys(gateOutcome), "permitted", "exception", "policy_error", "approval_unknown", "approval_out_of_scope", "approval_pending",
  "approval_refused", "approval_expired", "approval_used"]);

class Engine {
  constructor(v) { this.v = v; this.sets = new Map(); }

  // decision decides the frames and gates of one record, and compares.
  decision(e, lines) {
    const d = e.payload.decision, asked = { lines, at: 0 };
    for (const r of rulings(d)) this.ruling(e, r, asked);
    if (asked.at !== lines.length) throw new Error("more was asked than the record has frames");
    if (d.parts) {
      const allowed = d.parts.filter((p) => allowing.has(p.outcome)).length;
      const outcome = allowed && allowed < d.parts.length ? "partially_authorized" : d.parts.reduce((worst, p) => lesser(worst, p.outcome), "permitted");
      if (d.outcome !== outcome) throw new Error(`its parts make it ${outcome}, and it is recorded as ${d.outcome}`);
    }
    return lines.length;
  }

  ruling(e, r, asked) {
    const record = e.payload, part = record.decision.parts ? r.id : undefined, reasons = r.reasons ?? [], frames = r.frames ?? [];
    const next = (frame) => {
      const line = asked.lines[asked.at++];
      if (line?.frame !== frame || line.part !== part) throw new Error(`what was asked as ${frame} is not here`);
      return line;
    };
    const exempt = reasons.some((x) => x.code === "exception");
    let stopped = !frames.length;
    for (const f of frames) {
      const kind = frameKind(f), line = next(kind);
      const got = this.ask(this.inputs(e, r, f, kind, line), this.setOf(record, f, kind));
      if ((got.decision === "allow" && !got.errors.length) !== f.allowed) throw new Error(`the frame of the ${kind} is recorded as ${f.allowed ? "allowed" : "not allowed"}; Cedar says ${got.decision}`);
      if (kind === "actor" || kind === "delegator") {
        this.equal(`policies of the ${kind}'s frame`, [...(f.policies ?? [])].sort(), got.reasons);
        this.equal(`errors of the ${kind}'s frame`, (f.errors ?? []).map((x) => x.policy).sort(), got.errors);
      }
      stopped ||= !f.allowed && kind !== "exception" && !(exempt && kind === "actor"); // one exception that helps is enough
    }
    if (stopped || (!allowing.has(r.outcome) && reasons.some((x) => !afterGates.has(x.code)))) {
      if (r.outcome !== "denied") throw new Error(`not every frame allows, and the outcome is ${r.outcome}`);
      return;
    }
    const matched = [], failed = [];
    for (const f of frames) {
      const kind = frameKind(f);
      if (kind !== "actor" && kind !== "delegator") continue;
      const got = this.ask(this.inputs(e, r, f, kind, next(`gates:${kind}`)), this.bundles(record, true));
      matched.push(...got.reasons);
      failed.push(...got.errors);
    }
    this.settled(r, matched, failed);
  }

  // settled compares a ruling with the gates that matched, and those that could not be evaluated. One of these denies, and
  // then the others are not told.
  settled(r, matched, failed) {
    const reasons = r.reasons ?? [];
    if (failed.length) matched = [];
    for (const id of failed) if (!reasons.some((x) => x.policy === id && x.code === "policy_error")) throw new Error(`the gate ${id} can't be evaluated, and the record does not say so`);
    for (const id of matched) if (!reasons.some((x) => x.policy === id && Object.hasOwn(gateOutcome, x.code))) throw new Error(`the gate ${id} matches, and the record does not say so`);
    let outcome = failed.length ? "denied" : "permitted";
    for (const x of reasons.filter((x) => Object.hasOwn(gateOutcome, x.code))) {
      if (!matched.includes(x.policy)) throw new Error(`the gate ${x.policy} does not match, and the record says so`);
      outcome = lesser(outcome, gateOutcome[x.code]);
    }
    if (r.outcome !== outcome) throw new Error(`its frames and gates make it ${outcome}, and it is recorded as ${r.outcome}`);
  }

  equal(what, want, got) {
    if (JSON.stringify(want) !== JSON.stringify(got)) throw new Error(`${what}: recorded ${JSON.stringify(want)}, Cedar says ${JSON.stringify(got)}`);
  }

  ask(line, set) {
    const answer = Cedar.statefulIsAuthorized({
      principal: line.principal, action: line.action, resource: line.resource, context: line.context, entities: line.entities,
      preparsedPolicySetId: set.id,
    });
    if (answer.type !== "success") throw new Error("Cedar can't decide: " + answer.errors.map((x) => x.message).join("; "));
    const { decision, diagnostics } = answer.response;
    return { decision, reasons: [...diagnostics.reason].sort(), errors: diagnostics.errors.map((x) => x.policyId).sort() };
  }

  setOf(record, f, kind) {
    if (kind === "grant") return this.prepare(`grant ${f.grant}`, () => ({ grant: permitOf(this.need(this.v.grants, f.grant, "grant")) }));
    if (kind === "exception") {
      const x = this.need(this.v.exceptions, f.exception, "exception");
      return this.prepare(`exception ${f.exception}`, () => ({ exception: permitOf({ to: x.subject, actions: x.actions, resources: x.resources }) }));
    }
    return this.bundles(record, false);
  }

  need(map, id, what) {
    if (!map.has(id)) throw new Error(`the ${what} ${id} is not here`);
    return map.get(id);
  }

  // bundles is the set of ordinary policies, or of gates, that the record commits to.
  bundles(record, gates) {
    const self = record.pep.credential === "aver";
    return this.prepare(`${record.policies} ${self} ${gates}`, () => {
      const out = {};
      for (const [name, digest] of this.need(this.v.active, record.policies, "set of policies")) {
        if ((name === "administration") !== self) continue;
        for (const p of this.policiesOf(digest)) if (p.gate === gates) out[p.id] = p.text;
      }
      return out;
    });
  }

  prepare(id, make) {
    if (!this.sets.has(id)) {
      const answer = Cedar.preparsePolicySet(id, { staticPolicies: make() });
      if (answer.type !== "success") throw new Error("Cedar can't read the policies: " + answer.errors.map((x) => x.message).join("; "));
      this.sets.set(id, { id });
    }
    return this.sets.get(id);
  }

  // policiesOf splits the files of a bundle into policies, and names them as Aver does: docs/formats.md, "Frames".
  policiesOf(digest) {
    const { name: bundle, files } = this.need(this.v.bundles, digest, "bundle");
    const out = [];
    for (const file of Object.keys(files).filter((f) => f.endsWith(".cedar"))) {
      const parts = Cedar.policySetTextToParts(files[file]);
      if (parts.type !== "success") throw new Error(`Cedar can't read ${file}`);
      const places = [], taken = new Set();
      for (const text of parts.policies) {
        let place = files[file].indexOf(text);
        while (taken.has(place)) place = files[file].indexOf(text, place + 1);
        taken.add(place);
        places.push({ place, text });
      }
      places.sort((a, b) => a.place - b.place).forEach(({ text }, i) => {
        const json = Cedar.policyToJson(text), notes = json.json?.annotations ?? {};
        if (json.type !== "success") throw new Error(`Cedar can't read a policy of ${file}`);
        out.push({ id: `${bundle}/${notes.id ?? `${file.slice(file.lastIndexOf("/") + 1, -".cedar".length)}#${i + 1}`}`, gate: notes.gate !== undefined, text });
      });
    }
    return out;
  }

  // inputs compares what was asked with the record, and returns it with what the record and its events say.
  inputs(e, r, f, kind, line) {
    const q = e.request, uid = (x) => `${x.type}::${JSON.stringify(x.id)}`, d = e.payload.decision;
    const who = { actor: d.actor, delegator: f.entity, grant: this.v.grants.get(f.grant)?.to, exception: this.v.exceptions.get(f.exception)?.subject }[kind];
    const equal = (what, a, b) => { if (a !== b) throw new Error(`the ${what} that was asked about, ${a}, is not that of the record, ${b}`); };
    equal("principal", uid(line.principal), uid(who));
    equal("action", uid(line.action), uid({ type: "Action", id: q.action.name }));
    equal("resource", uid(line.resource), uid(q.resource));
    const { aver, ...context } = line.context;
    if (aver?.now !== undefined && aver.now.__extn && aver.now.__extn.arg !== undefined && Date.parse(aver.now.__extn.arg) !== Date.parse(e.payload.time)) {
      throw new Error("the time that was asked with is not that of the record");
    }
    const said = plain(q.context ?? {});
    for (const name of new Set([...Object.keys(context), ...Object.keys(said)])) {
      if (!alike(context[name], said[name])) throw new Error(`context.${name} that was asked with is not that of the record`);
    }
    return { ...line, entities: this.entities(e, r, line, uid) };
  }

  // entities are what the record and the events that it cites say of them, not what the pack says was asked with; only of
  // actions, which nobody registers, is that taken.
  entities(e, r, line, uid) {
    const q = e.request, found = new Map();
    const at = (x) => {
      if (!found.has(uid(x))) found.set(uid(x), { uid: { type: x.type, id: x.id }, attrs: {}, parents: [] });
      return found.get(uid(x));
    };
    const part = e.payload.decision.parts && (q.context?.parts ?? []).find((p) => (p.id ?? p) === r.id);
    Object.assign(at(q.subject).attrs, plain(q.subject.properties ?? {}));
    Object.assign(at(q.resource).attrs, plain({ ...q.resource.properties, ...part?.properties }));
    at(line.principal);
    for (const i of e.payload.facts?.events ?? []) {
      const p = this.v.entries.authority.get(i)?.payload;
      if (!p) throw new Error(`event ${i} is not here`);
      if (!/^(identity|entity)\./.test(p.type)) continue;
      const data = this.registration(i, uid(p.data), uid), entity = at(data);
      Object.assign(entity.attrs, plain(data.properties ?? {}));
      entity.parents = data.parents ?? [];
    }
    const actions = line.entities.filter((x) => /(^|::)Action$/.test(x.uid.type));
    return [...[...found.values()].filter((x) => !actions.some((y) => uid(y.uid) === uid(x.uid))), ...actions];
  }

  // registration is what an identity or entity is registered with, of which the event at an index is the last: a change of
  // status does not repeat it.
  registration(index, name, uid) {
    for (const i of [...this.v.entries.authority.keys()].filter((i) => i <= index).sort((a, b) => b - a)) {
      const p = this.v.entries.authority.get(i).payload;
      if (p && ["identity.registered", "identity.updated", "entity.put"].includes(p.type) && uid(p.data) === name) return p.data;
    }
    throw new Error(`the registration of ${name} is not here`);
  }
}

// plain drops what is null: to Cedar it is absent.
function plain(v) {
  if (v === null || typeof v !== "object" || Array.isArray(v)) return v;
  return Object.fromEntries(Object.entries(v).filter(([, x]) => x !== null).map(([k, x]) => [k, plain(x)]));
}

// alike compares values as Cedar does: lists are sets, and an entity may be written either way.
function alike(a, b) {
  const norm = (v) => {
    if (Array.isArray(v)) return [...new Set(v.map((x) => JSON.stringify(norm(x))))].sort();
    if (v && typeof v === "object") {
      if (v.__entity) return { __entity: norm(v.__entity) };
      return Object.keys(v).sort().map((k) => [k, norm(v[k])]);
    }
    return v;
  };
  return JSON.stringify(norm(plain(a))) === JSON.stringify(norm(plain(b)));
}

// permitOf is the Cedar policy that a grant is: docs/formats-authority.md, "The permit that a grant is".
function permitOf(g) {
  const string = (s) => '"' + s.replace(/["\\]/g, "\\$&").replace(/[\0-\x1f\x7f]/g, (c) => `\\u{${c.codePointAt(0).toString(16)}}`) + '"';
  const entity = (type, id) => `${type}::${string(id)}`;
  const clauses = [];
  let action = "action", resource = "resource";
  const actions = g.actions;
  if (!actions.includes("*")) {
    if (actions.some((a) => a.endsWith("*"))) {
      clauses.push(actions.map((a) => a.endsWith("*")
        ? `context.aver.action.name like ${string(a.slice(0, -1)).slice(0, -1).replaceAll("*", "\\*")}*"`
        : `context.aver.action.name == ${string(a)}`).join(" || "));
    } else if (actions.length === 1) action = `action == ${entity("Action", actions[0])}`;
    else action = `action in [${actions.map((a) => entity("Action", a)).join(", ")}]`;
  }
  const resources = g.resources, test = (r) => r.id === undefined ? `resource is ${r.type}` : `resource == ${entity(r.type, r.id)}`;
  if (!resources.some((r) => r.type === "*")) {
    if (resources.length === 1) resource = test(resources[0]);
    else clauses.push(resources.map(test).join(" || "));
  }
  if (g.condition) clauses.push(g.condition);
  return `permit (principal == ${entity(g.to.type, g.to.id)}, ${action}, ${resource})${clauses.map((c) => `\nwhen {\n${c}\n}`).join("")};`;
}
