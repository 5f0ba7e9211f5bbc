// Takes each guard of each contract away in turn and runs the tests against what is left: some test must fail.
//
//   node mutate.mjs [PART/PARTS]     every mutant, or one part of them, such as 1/3; exits 1 where one survives
//
// Wants forge on the path, and what "forge build" made.

import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";
import { MUTATIONS } from "./mutations.mjs";

const FOLDER = dirname(fileURLToPath(import.meta.url));
const MUTANTS = "build/mutants";
const TESTS = {
  GridpactRegistry: "RegistryTest|RotationTest|EvidenceTest|InvariantsTest",
  NetPayments: "PaymentsTest",
  EnergyCredits: "CreditsTest",
};
const CONTRACTS = Object.keys(MUTATIONS);

const input = JSON.parse(readFileSync(join(FOLDER, "standard-input.json"), "utf8"));

function compile(contract, content) {
  const file = `src/${contract}.sol`;
  const changed = { ...input, sources: { ...input.sources, [file]: { content } } };
  changed.settings = { ...input.settings, outputSelection: { [file]: { [contract]: ["evm.bytecode.object"] } } };
  const output = JSON.parse(solc.compile(JSON.stringify(changed)));
  const errors = (output.errors ?? []).filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new Error(errors.map(({ formattedMessage }) => formattedMessage).join("\n"));
  return "0x" + output.contracts[file][contract].evm.bytecode.object;
}

// The mutant of one contract beside the other contracts as they stand.
function save(folder, bytecodes) {
  mkdirSync(join(FOLDER, folder), { recursive: true });
  for (const [contract, bytecode] of Object.entries(bytecodes)) {
    writeFileSync(join(FOLDER, folder, `${contract}.json`), JSON.stringify({ abi: [], bytecode }));
  }
}

// The name of a test that fails, or null where none does.
function failingTest(contract, folder) {
  const environment = {
    ...process.env,
    GRIDPACT_ARTEFACTS: folder,
    FOUNDRY_FUZZ_FAILURE_PERSIST_DIR: folder,
    FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR: folder,
  };
  const options = ["test", "--json", "--fail-fast", "--match-contract", `^(${TESTS[contract]})$`];
  return new Promise((resolve, reject) => {
    const forge = spawn("forge", options, { cwd: FOLDER, env: environment, stdio: ["ignore", "pipe", "pipe"] });
    let [said, complained] = ["", ""];
    forge.stdout.on("data", (text) => (said += text));
    forge.stderr.on("data", (text) => (complained += text));
    forge.on("error", reject);
    forge.on("close", (code) => {
      const failed = said.startsWith("{") ? nameFailing(JSON.parse(said.split("\n")[0])) : null;
      if (said.startsWith("{") && (code === 0) === (failed === null)) resolve(failed);
      else reject(new Error(`no verdict of forge on ${folder}: it exits ${code}\n${said}${complained}`));
    });
  });
}

function nameFailing(suites) {
  const results = Object.values(suites).flatMap((suite) => Object.entries(suite.test_results));
  const failing = results.find(([, { status }]) => status === "Failure");
  return failing === undefined ? null : failing[0].split("(")[0];
}

const [part, parts] = (process.argv[2] ?? "1/1").split("/").map(Number);
if (!(part >= 1 && part <= parts)) {
  console.error(`got ${process.argv[2]}, wanted PART/PARTS such as 1/3`);
  process.exit(2);
}

const sources = Object.fromEntries(CONTRACTS.map((contract) => [contract, input.sources[`src/${contract}.sol`].content]));
for (const contract of CONTRACTS) {
  const texts = Object.values(MUTATIONS[contract]).map(({ text }) => text);
  const guards = sources[contract].split("\n").map((line) => line.trim()).filter((line) => line.startsWith("if ("));
  const missing = guards.filter((guard) => !texts.some((text) => guard.includes(text) || text.includes(guard)));
  if (missing.length > 0) throw new Error(`${contract}: mutations.mjs does not list ${missing.join("; ")}`);
}
rmSync(join(FOLDER, MUTANTS), { recursive: true, force: true });
const whole = Object.fromEntries(CONTRACTS.map((contract) => [contract, compile(contract, sources[contract])]));
save(`${MUTANTS}/none`, whole);
for (const contract of CONTRACTS) {
  const failed = await failingTest(contract, `${MUTANTS}/none`);
  if (failed !== null) throw new Error(`${contract}: ${failed} fails although no guard is gone`);
}

const all = CONTRACTS.flatMap((contract) =>
  Object.entries(MUTATIONS[contract]).map(([guard, mutation]) => ({ contract, guard, ...mutation })),
);
const chosen = all.filter((_, place) => place % parts === part - 1);
const survivors = [];
let running = Promise.resolve();
for (const [place, { contract, guard, text, instead }] of chosen.entries()) {
  const places = sources[contract].split(text).length - 1;
  if (places !== 1) throw new Error(`${contract}, ${guard}: got ${places} places of its text, wanted 1`);
  const folder = `${MUTANTS}/${place}`;
  save(folder, { ...whole, [contract]: compile(contract, sources[contract].replace(text, () => instead)) });
  await running; // One forge runs while the next mutant is compiled.
  running = failingTest(contract, folder).then((failed) => {
    console.log(`${contract}: without "${guard}" ${failed === null ? "NO TEST FAILS" : `fails ${failed}`}`);
    if (failed === null) survivors.push(guard);
  });
  await new Promise(setImmediate);
}
await running;
console.log(`${chosen.length - survivors.length} of ${chosen.length} guards are missed when they are gone`);
process.exit(survivors.length > 0 ? 1 : 0);
