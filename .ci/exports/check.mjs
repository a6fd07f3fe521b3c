// Loads an export in DuckDB, which nobody here wrote: every file of the CSV and
// of the Parquet export has the rows that its manifest says, and both say the same.
//   node check.mjs CSV_DIR PARQUET_DIR
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";

const [csvDir, parquetDir] = process.argv.slice(2);
const db = await (await DuckDBInstance.create(":memory:")).connect();
const rows = async (sql) => (await db.runAndReadAll(sql)).getRowsJson();
const text = (s) => `'${s.replaceAll("'", "''")}'`;
const reader = {
  csv: (file) => `read_csv(${text(file)}, header = true, all_varchar = true)`,
  parquet: (file) => `read_parquet(${text(file)})`,
};

let wrong = 0;
const expect = (what, got, want) => {
  if (String(got) !== String(want)) {
    console.error(`${what}: ${got}, not ${want}`);
    wrong++;
  }
};

const counted = {};
for (const [format, dir] of [["csv", csvDir], ["parquet", parquetDir]]) {
  const manifest = JSON.parse(readFileSync(join(dir, "manifest.json"), "utf8"));
  for (const f of manifest.files) {
    const [[n]] = await rows(`select count(*) from ${reader[format](join(dir, f.name))}`);
    expect(`rows of ${format}/${f.name}`, n, f.rows);
  }
  const all = (table) => `(${manifest.files.filter((f) => f.table === table).map((f) => `select * from ${reader[format](join(dir, f.name))}`).join(" union all ")})`;
  counted[format] = {
    outcomes: await rows(`select outcome, count(*) from ${all("decisions")} group by outcome order by outcome`),
    actors: await rows(`select actor_type, count(distinct actor_id) from ${all("decisions")} group by actor_type order by actor_type`),
    hashes: await rows(`select count(distinct payload_sha256), min(payload_sha256), max(payload_sha256) from ${all("decisions")}`),
    types: await rows(`select type, count(*) from ${all("events")} group by type order by type`),
    twice: await rows(`select count(*) - count(distinct "index") from ${all("decisions")}`),
  };
  expect(`${format}: decisions that stand there twice`, counted[format].twice, "0");
}
for (const what of Object.keys(counted.csv)) expect(what, JSON.stringify(counted.parquet[what]), JSON.stringify(counted.csv[what]));

const [[type]] = await rows(`select typeof(time) from ${reader.parquet(join(parquetDir, "decisions-000000000000.parquet"))} limit 1`);
if (!type.startsWith("TIMESTAMP")) {
  console.error(`time is ${type} in Parquet`);
  wrong++;
}
console.log(`DuckDB: ${JSON.stringify(counted.parquet.outcomes)}, ${wrong} wrong`);
process.exit(wrong ? 1 : 0);
