#!/usr/bin/env node
// The pinned npm solc behind the native compiler's command line, as forge asks for it: no binary is downloaded.
//
//   solc.mjs --version
//   solc.mjs --standard-json < input.json      paths are ignored: the input holds every source

import { readFileSync } from "node:fs";
import solc from "solc";

if (process.argv.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error(`got ${process.argv.slice(2).join(" ") || "nothing"}, wanted --version or --standard-json`);
  process.exit(2);
}
