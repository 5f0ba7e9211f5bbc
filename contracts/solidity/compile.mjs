// Compiles the registry with the solc that package.json pins.
//
//   node compile.mjs           writes standard-input.json and GridpactRegistry.json
//   node compile.mjs --check   writes nothing; exits 1 where the committed files are not what it would write

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const FOLDER = dirname(fileURLToPath(import.meta.url));
const SOURCE = "src/GridpactRegistry.sol";
const CONTRACT = "GridpactRegistry";

const read = (name) => readFileSync(join(FOLDER, name), "utf8");
const render = (value) => JSON.stringify(value, null, 2) + "\n";

const input = {
  language: "Solidity",
  sources: { [SOURCE]: { content: read(SOURCE) } },
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    outputSelection: {
      [SOURCE]: { [CONTRACT]: ["abi", "evm.bytecode", "evm.deployedBytecode", "metadata"] },
    },
  },
};

function compile() {
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  for (const { formattedMessage } of output.errors ?? []) console.error(formattedMessage);
  if (output.errors?.length) process.exit(1);
  const { abi, evm, metadata } = output.contracts[SOURCE][CONTRACT];
  return {
    contractName: CONTRACT,
    sourceName: SOURCE,
    abi,
    bytecode: "0x" + evm.bytecode.object,
    deployedBytecode: "0x" + evm.deployedBytecode.object,
    immutableReferences: Object.values(evm.deployedBytecode.immutableReferences).flat(),
    metadata,
  };
}

const outputs = {
  "standard-input.json": render(input),
  [`${CONTRACT}.json`]: render(compile()),
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
  console.log("the committed artefact is what the compiler makes of the source");
} else {
  for (const [name, text] of Object.entries(outputs)) writeFileSync(join(FOLDER, name), text);
}
