// What the reader sees. All text goes in as text, never as HTML: a pack can say what it likes.

const $ = (id) => document.getElementById(id);
const stateWords = { passed: "passed", failed: "FAILED", not_checked: "not checked", unknown: "unknown" };
const kindTitles = {
  manifest: "Manifest: signed by the decision log's key", files: "Files: as the manifest lists them", checkpoint: "Checkpoints: signed by the logs' keys",
  proof: "Entries: in the logs (inclusion proofs)", payload: "Records and events: what the logs commit to", disclosures: "Sensitive values: what the records commit to",
  citation: "Authority: the state that decisions cite is the log's", policies: "Policies: in full, and the ones that decided", cited: "Citations: what decisions rest on is here",
  listed: "List: the decisions are those that the manifest names", population: "Population: what the decisions were drawn from",
  again: "Decided again by Cedar's engine in Rust", key: "Keys: compared with yours", witness: "Witnesses: that you named",
};

function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) if (v !== undefined) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const mark = (state) => element("span", { class: `state ${state}` }, stateWords[state]);

function verdict(id, state, title, text) {
  const card = $(id);
  card.dataset.state = state;
  card.querySelector(".verdict").textContent = title;
  card.querySelector(".why").textContent = text;
}

let view; // what was read
let verdictOfTrust = "not_established", trustChecks = [];

async function progress(what, done, total) {
  const bar = $("progress");
  bar.max = total; bar.value = done;
  $("now").textContent = `Checking: ${what}, ${done} of ${total}`;
  await pause();
}

function worst(checks) {
  for (const s of ["failed", "not_checked", "unknown"]) if (checks.some((c) => c.state === s)) return s;
  return "passed";
}

function showChecks() {
  const all = [...view.report.checks, ...trustChecks], list = $("checks"), opened = new Set([...list.querySelectorAll("details[open]")].map((d) => d.dataset.kind));
  list.replaceChildren();
  for (const [kind, title] of Object.entries(kindTitles)) {
    const checks = all.filter((c) => c.check === kind);
    if (!checks.length) continue;
    const state = worst(checks), counts = Object.keys(stateWords).map((s) => [s, checks.filter((c) => c.state === s).length]).filter(([, n]) => n);
    const body = element("ul"), details = element("details", { "data-kind": kind, "data-state": state }, element("summary", {}, mark(state), ` ${title} `,
      element("small", {}, counts.map(([s, n]) => `${n} ${stateWords[s]}`).join(", "))), body);
    const fill = () => {
      if (body.childElementCount) return;
      const order = ["failed", "not_checked", "unknown", "passed"];
      for (const c of [...checks].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state)).slice(0, 500)) {
        body.append(element("li", { "data-state": c.state }, mark(c.state), " ", c.file ? element("code", {}, c.file) : "", ` ${c.what}`, c.detail ? `: ${c.detail}` : ""));
      }
      if (checks.length > 500) body.append(element("li", {}, `… and ${checks.length - 500} more, all as good as the last or better`));
    };
    details.addEventListener("toggle", () => { if (details.open) fill(); });
    if (state !== "passed" || opened.has(kind)) { details.open = state === "failed" || opened.has(kind); if (details.open) fill(); }
    list.append(details);
  }
}

function showVerdicts() {
  const whole = view.report.integrity(), unknown = view.report.checks.filter((c) => c.state === "unknown").length;
  const failed = view.report.checks.filter((c) => c.state === "failed").length;
  const trusted = verdictOfTrust === "established" && whole;
  const again = view.report.checks.some((c) => c.check === "again" && c.state === "not_checked") ? " Nothing was decided again." : "";
  const rest = again + (unknown ? ` ${unknown} lines are unknown: what they take was withheld, or is gone.` : "");
  if (!whole) verdict("integrity", "failed", "Broken", failed ? `${failed} checks failed; see below.` : "A check could not be made; see below.");
  else verdict("integrity", trusted ? "good" : "open", "Consistent", `Everything that is here is consistent with the keys that the pack names.${rest}`);
  if (verdictOfTrust === "refused") verdict("trust", "failed", "Refused", "A key that you entered is not that of a log here, or a witness has not cosigned. Do not rely on this pack.");
  else if (verdictOfTrust !== "established") verdict("trust", "open", "Not established", "Enter the decision log's key, as you have it from somebody you believe. Anybody can make a consistent pack with a key of their own.");
  else if (!whole) verdict("trust", "open", "The key is yours", "The key is the one that you entered, but the pack is not consistent with it.");
  else verdict("trust", "good", "Established", "The pack's key is the one that you entered.");
  document.documentElement.dataset.integrity = whole ? "consistent" : "broken";
  document.documentElement.dataset.trust = verdictOfTrust;
  document.documentElement.dataset.green = trusted ? "yes" : "no";
}

async function compare(event) {
  event?.preventDefault();
  const words = (id) => $(id).value.split(/\s+/).filter(Boolean);
  $("key-error").textContent = "";
  try {
    const t = await trust(view, words("keys"), words("witnesses"));
    verdictOfTrust = t.verdict;
    trustChecks = t.checks;
  } catch (err) {
    verdictOfTrust = "not_established";
    trustChecks = [];
    $("key-error").textContent = err.message;
  }
  showVerdicts();
  showChecks();
  document.documentElement.dataset.compared = String(Number(document.documentElement.dataset.compared ?? 0) + 1);
}

const checksOf = (dir) => view.report.checks.filter((c) => c.file.startsWith(dir + "/"));

function showDecisions() {
  const list = $("list"), byDir = new Map();
  for (const c of view.report.checks) {
    const dir = c.file.split("/").slice(0, 2).join("/");
    byDir.has(dir) ? byDir.get(dir).push(c) : byDir.set(dir, [c]);
  }
  for (const d of view.predicate.decisions) {
    const dir = entryDir("decisions", d.index), e = view.entries.decisions.get(d.index), record = e?.payload;
    const checks = byDir.get(dir) ?? [], state = e ? worst(checks) : "failed";
    const q = record?.request, actor = record ? `${record.decision.actor.type}:${record.decision.actor.id}` : "";
    const title = record ? `${actor} ${q?.action?.name ?? ""} ${q?.resource?.type ?? ""}:${q?.resource?.id ?? ""}` : `record not here (${d.evaluation_id})`;
    const outcome = e?.leaf.outcome ?? "unknown";
    const body = element("div"), details = element("details", { class: "decision", "data-state": state, id: `d-${d.evaluation_id}` }, element("summary", {},
      mark(state), " ", element("strong", { class: "outcome" }, outcome.replaceAll("_", " ")), ` ${title} `, element("small", {}, e?.leaf.time ?? "")), body);
    details.dataset.text = [outcome, title, d.evaluation_id, e?.leaf.time, q && JSON.stringify(q), record?.decision && JSON.stringify(record.decision)].join(" ").toLowerCase();
    details.addEventListener("toggle", () => { if (details.open && !body.childElementCount) body.append(...decisionBody(d, e)); });
    list.append(details);
  }
  filter();
}

function decisionBody(d, e) {
  const out = [], read = (name) => view.files.has(name) ? text8.decode(view.files.get(name)) : "", dir = entryDir("decisions", d.index);
  const why = read(`reports/why/${d.evaluation_id}.txt`);
  out.push(element("h4", {}, "Why"), why ? element("pre", {}, why) : element("p", {}, "There is no explanation here: something that the decision rests on is withheld, or gone."));
  if (why) out.push(element("p", { class: "note" }, "The explanation is the operator's program's, from the record below. The manifest vouches for it, the log does not."));
  out.push(element("h4", {}, "Checks"), element("ul", {}, ...checksOf(dir).map((c) => element("li", { "data-state": c.state }, mark(c.state), ` ${c.what}${c.detail ? `: ${c.detail}` : ""}`))));
  for (const i of d.activities ?? []) {
    const a = view.entries.decisions.get(i)?.payload, c = a?.continuity;
    out.push(element("p", {}, element("strong", {}, `Activity ${a?.status ?? "?"}`), a ? ` ${a.event_time ?? a.time}; authority ${c ? c.state : "was not given"}` : " not here",
      (a?.findings ?? []).map((f) => `; found: ${f.code}`).join("")));
  }
  const raw = element("details", {}, element("summary", {}, "The record, as the log has it"), element("pre", {}, e?.recorded ? JSON.stringify(e.recorded, null, 1) : "It is not here."));
  const events = [...(e?.payload?.facts?.events ?? [])].map((i) => view.entries.authority.get(i)).filter(Boolean);
  out.push(raw, ...events.map((x) => element("details", {}, element("summary", {}, `Event ${x.index}: ${x.leaf.type}`), element("pre", {}, x.payload ? JSON.stringify(x.payload, null, 1) : "Its payload is not here."))));
  return out;
}

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const d of $("list").children) {
    d.hidden = !words.every((w) => d.dataset.text.includes(w));
    if (!d.hidden) shown++;
  }
  $("shown").textContent = `${shown} of ${view.predicate.decisions.length} decisions`;
}

function showAbout() {
  const p = view.predicate, rows = [["Purpose", p.purpose?.text], ["Question", p.question], ["Query", p.query], ["Made", p.made], ["By", p.program],
    ["Decisions", String(p.decisions.length) + (p.truncated ? `; the query matches ${p.truncated} more, which are not here` : "")],
    ["Authority", p.authority === "whole" ? "the whole authority log up to the last state cited" : "the events that decisions cite"],
    ["Withheld", (p.redacted ?? []).join(", ")], ["Population", view.files.has("population.json") ? "population.json says what the decisions were drawn from" : ""],
    ["Decision log", p.logs.decisions.origin], ["Authority log", p.logs.authority.origin]];
  for (const [k, t] of rows) if (t) $("about").append(element("dt", {}, k), element("dd", {}, t));
}

// loadEngine starts the engine, or says why it does not start. An engine that is another one than was published is a
// failure, not something that is lacking.
async function loadEngine() {
  const data = $("engine");
  if (!data) return "this page does not have the engine (aver pack --with-engine)";
  let engine, wrong = "";
  try {
    engine = await unpack(fromBase64(data.textContent.trim()), "gzip", 1 << 28);
    if (hex(sha256(engine)) !== engineDigest) wrong = "its SHA-256 is another one";
  } catch (err) {
    wrong = err.message;
  }
  if (wrong) {
    view.report.add("again", "failed", "", "the engine in this page is the one that it was made with", wrong);
    return "the engine in this page is not used";
  }
  try {
    await Cedar.init({ module_or_path: engine });
    return "";
  } catch (err) {
    return `the engine does not start here: ${err.message}`;
  }
}

async function main() {
  document.documentElement.dataset.scripts = "ran";
  $("static").remove();
  $("app").hidden = false;
  try {
    await pause();
    view = await verify(await unzip(await unpack(fromBase64($("pack").textContent.trim()), "gzip", limits.content)), progress);
    showAbout();
    const lacks = await loadEngine();
    if (!lacks) await decideAgain(view, progress);
    else view.report.add("again", "not_checked", "", "decisions come out as recorded when they are decided again", `${lacks}; aver verify does it`);
    $("engine-name").textContent = lacks ? "" : `Cedar ${Cedar.getCedarSDKVersion()} (Rust, WebAssembly) decided again.`;
    $("now").textContent = "All checks were made.";
    $("progress").hidden = true;
    $("key-form").addEventListener("submit", compare);
    $("filter").addEventListener("input", filter);
    await compare();
    showDecisions();
  } catch (err) {
    $("now").textContent = `Not verified: ${err.message}.`;
    verdict("integrity", "failed", "Not verified", err.message);
    document.documentElement.dataset.integrity = "broken";
    document.documentElement.dataset.green = "no";
  }
  document.documentElement.dataset.done = "yes";
}

main();
