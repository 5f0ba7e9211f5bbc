// Compiles the contracts with the solc and the OpenZeppelin library that package.json pins.
//
//   node compile.mjs           writes standard-input.json and one artefact for each contract
//   node compile.mjs --check   writes nothing; exits 1 where the committed files are not what it would write

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const FOLDER = dirname(fileURLToPath(import.meta.url));
const CONTRACTS = ["GridpactRegistry", "NetPayments", "EnergyCredits"];
const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 1_000_000 },
  viaIR: true,
};
// A warning that whoever uses transient storage must clear it after the call, which OpenZeppelin's guard does.
const TRANSIENT_STORAGE = "2394";

const read = (name) => readFileSync(join(FOLDER, name), "utf8");
const render = (value) => JSON.stringify(value, null, 2) + "\n";
const fileOf = (contract) => `src/${contract}.sol`;

function readImport(name) {
  try {
    return { contents: read(name.startsWith("@") ? join("node_modules", name) : name) };
  } catch (error) {
    return { error: `${name}: ${error.message}` };
  }
}

function compile(sources, outputSelection) {
  const needed = {};
  const find = (name) => {
    const found = readImport(name);
    if (found.contents !== undefined) needed[name] = { content: found.contents };
    return found;
  };
  const input = { language: "Solidity", sources, settings: { ...SETTINGS, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: find }));
  const said = (output.errors ?? []).filter(({ errorCode }) => errorCode !== TRANSIENT_STORAGE);
  for (const { formattedMessage } of said) console.error(formattedMessage);
  if (said.length) process.exit(1);
  return { input, output, needed };
}

function inOrder(sources) {
  return Object.fromEntries(Object.entries(sources).sort(([one], [other]) => (one < other ? -1 : 1)));
}

// Our own sources, and whatever they import: the committed input is whole, so that it compiles anywhere.
function collect() {
  const own = readdirSync(join(FOLDER, "src")).map((name) => `src/${name}`);
  const sources = Object.fromEntries(own.map((name) => [name, { content: read(name) }]));
  const { needed } = compile(sources, { "*": { "": ["ast"] } });
  return inOrder({ ...sources, ...needed });
}

// The compiler names immutables by the numbers of their declarations.
function nameImmutables(references, output) {
  const names = new Map();
  const visit = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.nodeType === "VariableDeclaration" && node.mutability === "immutable") names.set(String(node.id), node.name);
    Object.values(node).forEach(visit);
  };
  Object.values(output.sources).forEach((source) => visit(source.ast));
  const starts = ([id, places]) => [names.get(id), places.map(({ start }) => start).sort((one, other) => one - other)];
  return Object.fromEntries(Object.entries(references).map(starts).sort(([one], [other]) => (one < other ? -1 : 1)));
}

function renderArtefact(contract, output) {
  const { abi, evm, metadata } = output.contracts[fileOf(contract)][contract];
  return render({
    contractName: contract,
    sourceName: fileOf(contract),
    abi,
    bytecode: "0x" + evm.bytecode.object,
    deployedBytecode: "0x" + evm.deployedBytecode.object,
    immutableReferences: nameImmutables(evm.deployedBytecode.immutableReferences, output),
    metadata,
  });
}

const wanted = ["abi", "evm.bytecode", "evm.deployedBytecode", "metadata"];
const selection = Object.fromEntries(CONTRACTS.map((contract) => [fileOf(contract), { [contract]: wanted, "": ["ast"] }]));
selection["*"] = { "": ["ast"] };
const { input, output } = compile(collect(), selection);
const outputs = {
  "standard-input.json": render(input),
  ...Object.fromEntries(CONTRACTS.map((contract) => [`${contract}.json`, renderArtefact(contract, output)])),
};

function differs([name, text]) {
  try {
    return read(name) !== text;
  } catch (error) {
    if (error.code === "ENOENT") return true;
    throw error;
  }
}

if (process.argv.includes("--check")) {
  const stale = Object.entries(outputs).filter(differs).map(([name]) => name);
  if (stale.length > 0) {
    console.error(`stale: ${stale.join(", ")}; run: node compile.mjs`);
    process.exit(1);
  }
  console.log("the committed artefacts are what the compiler makes of the sources");
} else {
  for (const [name, text] of Object.entries(outputs)) writeFileSync(join(FOLDER, name), text);
}
