// Each guard of each contract, and what the source says without it.
//
// A guard that stands in a line of its own is deleted; one that is part of an expression is replaced by what it would
// be if it were not there. `text` occurs once in the contract's source: mutate.mjs sees to that.

const drop = (text) => ({ text, instead: "" });

export const MUTATIONS = {
  GridpactRegistry: {
    "a repeat does nothing": drop("if (held == hash) return;"),
    "what is held stays": drop("if (held != bytes32(0)) revert AlreadyAnchored(microgrid, number, hash, held);"),
    "the batch before is held": drop("if (number != 0 && wanted == bytes32(0)) revert NoPrevious(microgrid, number);"),
    "a batch follows the one before": drop(
      "if (previous != wanted) revert WrongPrevious(microgrid, number, previous, wanted);",
    ),
    "the first batch follows zero": {
      text: "bytes32 wanted = number == 0 ? bytes32(0) : ofMicrogrid[number - 1];",
      instead: "bytes32 wanted = number == 0 ? previous : ofMicrogrid[number - 1];",
    },
    "validators signed the batch": {
      text: "requireQuorum(_hashTypedDataV4(hash), signatures);\n        ofMicrogrid[number] = hash;",
      instead: "ofMicrogrid[number] = hash;",
    },
    "validators signed for this contract and chain": {
      text: "requireQuorum(_hashTypedDataV4(hash), signatures);\n        ofMicrogrid[number] = hash;",
      instead: "requireQuorum(hash, signatures);\n        ofMicrogrid[number] = hash;",
    },
    "microgrids are apart": {
      text: "ofMicrogrid = batchHash[microgrid];",
      instead: "ofMicrogrid = batchHash[bytes32(0)];",
    },
    "validators signed the rotation": {
      text: "requireQuorum(_hashTypedDataV4(hash), signatures);\n        _appoint(",
      instead: "_appoint(",
    },
    "validators signed the rotation for this contract and chain": {
      text: "requireQuorum(_hashTypedDataV4(hash), signatures);\n        _appoint(",
      instead: "requireQuorum(hash, signatures);\n        _appoint(",
    },
    "a rotation counts for the next epoch alone": {
      text: "_ROTATION_TYPEHASH, next, threshold_, list",
      instead: "_ROTATION_TYPEHASH, uint64(1), threshold_, list",
    },
    "a rotation is to the threshold that was signed": {
      text: "_ROTATION_TYPEHASH, next, threshold_, list",
      instead: `_ROTATION_TYPEHASH, next, uint64(3), list`,
    },
    "a rotation is to the validators that were signed": {
      text: "bytes32 list = keccak256(abi.encodePacked(validators_));",
      instead: "bytes32 list = keccak256(abi.encodePacked(_validators));",
    },
    "a rotation ends the epoch": {
      text: "_appoint(next, threshold_, validators_);",
      instead: "_appoint(epoch, threshold_, validators_);",
    },
    "signatures are of 65 bytes": drop(
      "if (count * _SIGNATURE_BYTES != signatures.length) revert WrongSignaturesLength(signatures.length);",
    ),
    "signatures are as many as it takes": drop("if (count < threshold) revert TooFewSignatures(count, threshold);"),
    "each signer counts once": drop("if (signer <= previous) revert SignersNotAscending(signer, previous);"),
    "each signer ascends": {
      text: "if (signer <= previous) revert SignersNotAscending(signer, previous);",
      instead: "if (signer == previous) revert SignersNotAscending(signer, previous);",
    },
    "each signer is a validator": drop("if (_validUntil[signer] != current + 1) revert NotValidator(signer, current);"),
    "each signer is a validator of this epoch": {
      text: "if (_validUntil[signer] != current + 1)",
      instead: "if (_validUntil[signer] == 0)",
    },
    "each signature is one": drop("if (problem != ECDSA.RecoverError.NoError) revert MalformedSignature(place);"),
    "s is in the lower half": {
      text: "(address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecover(",
      instead: `address signer = ecrecover(digest, uint8(signatures[start + 64]), bytes32(signatures[start:start + 32]),
          bytes32(signatures[start + 32:start + 64]));
        if (signer != address(0)) return signer;
        (, ECDSA.RecoverError problem,) = ECDSA.tryRecover(`,
    },
    "validators are not too many": {
      text: "if (count == 0 || count > MAX_VALIDATORS)",
      instead: "if (count == 0)",
    },
    "validators are some": { text: "if (count == 0 || count > MAX_VALIDATORS)", instead: "if (count > MAX_VALIDATORS)" },
    "a threshold is not zero": { text: "if (threshold_ == 0 || threshold_ > count)", instead: "if (threshold_ > count)" },
    "a threshold can be reached": { text: "if (threshold_ == 0 || threshold_ > count)", instead: "if (threshold_ == 0)" },
    "validators ascend": drop("if (validator <= previous) revert ValidatorsNotAscending(validator, previous);"),
    "who may sign is of this epoch": {
      text: "return _validUntil[account] == epoch + 1;",
      instead: "return _validUntil[account] != 0;",
    },
    "a header is of the batch's microgrid": {
      text: "keccak256(bytes(header.microgrid)) == place.microgrid",
      instead: "true",
    },
    "a trade is of the header's window": {
      text: "keccak256(bytes(header.window)) == keccak256(bytes(trade.window))",
      instead: "true",
    },
    "a trade stands in the header": {
      text: "Evidence.leads(tradePath, Evidence.hashTrade(trade), header.tradesRoot)",
      instead: "true",
    },
    "a trade's header stands in the batch": {
      text: "verifyWindow(place, Evidence.hashHeader(header))",
      instead: "true",
    },
    "a header's batch is held": {
      text: "batchHash[place.microgrid][place.number] == hash",
      instead: "hash != 0",
    },
    "a header stands in the batch": {
      text: "Evidence.leads(place.path, Evidence.hashWindow(place.position, headerHash), place.windowsRoot)",
      instead: "headerHash == headerHash",
    },
  },
  NetPayments: {
    "statements follow each other": drop("if (number != wanted) revert WrongNumber(microgrid, number, wanted);"),
    "validators signed the statement": drop("registry.requireQuorum(_hashTypedDataV4(hash), signatures);"),
    "validators signed for this contract": {
      text: "registry.requireQuorum(_hashTypedDataV4(hash), signatures);",
      instead: "registry.requireQuorum(hash, signatures);",
    },
    "a claim is stated": {
      text: "if (!MerkleProof.verifyCalldata(path, statements[microgrid].root, leaf)) {",
      instead: "if (path.length == 0 || leaf == 0) {",
    },
    "a claim is for more than was paid": drop(
      "if (cumulative <= before) revert NothingToClaim(microgrid, account, cumulative, before);",
    ),
    "a claim is within the funds": drop(
      "if (available < amount) revert TooFewFunds(microgrid, available, amount);",
    ),
    "a payment is counted": drop("paid[microgrid][account] = cumulative;"),
    "a payment is taken from the funds": drop("funds[microgrid] = available - amount;"),
    "funding is not entered again": {
      text: "function fund(bytes32 microgrid, uint256 amount) external nonReentrant {",
      instead: "function fund(bytes32 microgrid, uint256 amount) external {",
    },
    "a claim is not entered again": { text: "external\n        nonReentrant\n    {", instead: "external\n    {" },
    "what arrives counts": {
      text: "uint256 arrived = token.balanceOf(address(this)) - before;",
      instead: "uint256 arrived = before >= 0 ? amount : 0;",
    },
    "money that is not moved is no payment": {
      text: "token.safeTransfer(account, amount);",
      instead: "token.transfer(account, amount);",
    },
  },
  EnergyCredits: {
    "a batch has credits once": drop("if (minted[microgrid][number]) revert AlreadyMinted(microgrid, number);"),
    "a batch that has credits is remembered": drop("minted[microgrid][number] = true;"),
    "a batch is held": drop("if (batch == bytes32(0)) revert NotAnchored(microgrid, number);"),
    "validators signed the credits": drop("registry.requireQuorum(_hashTypedDataV4(hash), signatures);"),
    "validators signed for this contract": {
      text: "registry.requireQuorum(_hashTypedDataV4(hash), signatures);",
      instead: "registry.requireQuorum(hash, signatures);",
    },
    "credits are of the batch that is held": {
      text: "_MINT_TYPEHASH, microgrid, number, batch, account, energyWh",
      instead: "_MINT_TYPEHASH, microgrid, number, bytes32(0), account, energyWh",
    },
  },
};
