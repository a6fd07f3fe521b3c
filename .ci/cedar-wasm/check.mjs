// Decides every frame in a file that replay.ExportFrames wrote once more, with
// Cedar's official engine (Rust, as WebAssembly), and compares decision, reasons
// and errors exactly.
//
//   node check.mjs FILE        "-" or nothing: standard input
//
// Exit status: 0 all frames agree, 1 some differ or could not be checked, 2 the
// input could not be read.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import cedar from "@cedar-policy/cedar-wasm/nodejs";

const mostShown = 5;

const file = process.argv[2] ?? "-";
const input = file === "-" ? process.stdin : createReadStream(file);
input.on("error", (err) => unreadable(err.message));

const counts = { decisions: 0, frames: 0, agree: 0, differ: 0, skipped: 0 };
const shown = [];
let policySets = 0;
let end = null;
let lineNumber = 0;

for await (const text of createInterface({ input, crlfDelay: Infinity })) {
  lineNumber++;
  if (end) unreadable("there is more after the last line");
  let line;
  try {
    line = JSON.parse(text);
  } catch (err) {
    unreadable(err.message);
  }
  if (line.policies?.static) {
    const answer = cedar.preparsePolicySet(line.policies.id, { staticPolicies: line.policies.static });
    if (answer.type !== "success") unreadable(`policies ${line.policies.id}: ${messages(answer.errors)}`);
    policySets++;
  } else if (line.expect) {
    check(line);
  } else if (line.skipped) {
    counts.skipped++;
    show(`${at(line)}: not checked: ${line.reason}`);
  } else if (line.end) {
    end = line.end;
  } else {
    unreadable("the line is none that an export has");
  }
}

if (!end) unreadable("the last line is missing: the export was cut short");
if (end.frames !== counts.frames || end.skipped !== counts.skipped) {
  unreadable(`${counts.frames} frames and ${counts.skipped} skipped were read, ${end.frames} and ${end.skipped} were written`);
}
for (const text of shown) console.log(text);
const hidden = counts.differ + counts.skipped - shown.length;
if (hidden > 0) console.log(`… and ${hidden} more`);
console.log(
  `Cedar ${cedar.getCedarSDKVersion()} (Rust): decisions ${end.decisions}  policy sets ${policySets}  ` +
    `frames ${counts.frames}  agree ${counts.agree}  differ ${counts.differ}  not checked ${counts.skipped}`,
);
if (counts.frames === 0) console.log("nothing was checked");
process.exitCode = counts.differ + counts.skipped > 0 || counts.frames === 0 ? 1 : 0;

function check(frame) {
  counts.frames++;
  const answer = cedar.statefulIsAuthorized({
    principal: frame.principal,
    action: frame.action,
    resource: frame.resource,
    context: frame.context,
    entities: frame.entities,
    preparsedPolicySetId: frame.policies,
  });
  let got = { failure: messages(answer.errors ?? []) };
  if (answer.type === "success") {
    const { decision, diagnostics } = answer.response;
    got = {
      decision,
      reasons: sorted(diagnostics.reason),
      errors: sorted(diagnostics.errors.map((e) => e.policyId)),
    };
  }
  const want = {
    decision: frame.expect.decision,
    reasons: sorted(frame.expect.reasons),
    errors: sorted(frame.expect.errors),
  };
  if (JSON.stringify(got) === JSON.stringify(want)) {
    counts.agree++;
    return;
  }
  counts.differ++;
  const details = answer.response?.diagnostics.errors.map((e) => `\n  ${e.policyId}: ${e.error.message}`) ?? [];
  show(`${at(frame)}: ours ${JSON.stringify(want)}, Rust's ${JSON.stringify(got)}${details.join("")}`);
}

function sorted(list) {
  return [...list].sort();
}

function at(line) {
  const part = line.part ? `, part ${line.part}` : "";
  const frame = line.frame ? `, frame ${line.frame}` : "";
  return `decision ${line.decision ?? line.skipped} (entry ${line.index}${frame}${part})`;
}

function messages(errors) {
  return errors.map((e) => e.message).join("; ");
}

function show(text) {
  if (shown.length < mostShown) shown.push(text);
}

function unreadable(why) {
  console.error(`${file}${lineNumber ? `, line ${lineNumber}` : ""}: ${why}`);
  process.exit(2);
}
