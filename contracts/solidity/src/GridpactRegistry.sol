// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Evidence} from "./Evidence.sol";
import {IQuorum} from "./IQuorum.sol";

/// @title Gridpact's registry of settled dispatch windows
/// @notice Holds one 32-byte hash for each batch of windows of each microgrid, for ever, once enough of the validators
/// signed it. The windows' headers, trades, readings and postings stay with the microgrid; whoever is shown them can
/// check them against the hash kept here.
/// @dev A batch carries the hash of the batch before, so that a microgrid's history cannot fork. Anybody may relay
/// what the validators signed: who sends a transaction never matters.
contract GridpactRegistry is EIP712, IQuorum {
    /// @notice A batch was anchored.
    /// @param microgrid Keccak-256 of the microgrid's resource name.
    /// @param number Place of the batch among the microgrid's, from zero.
    /// @param batchHash What is held for it.
    event Anchored(bytes32 indexed microgrid, uint64 indexed number, bytes32 batchHash);

    /// @notice The validators are others now.
    /// @param epoch How often they were changed.
    /// @param threshold How many signatures it takes.
    /// @param validators Who may sign.
    event Rotated(uint64 indexed epoch, uint64 threshold, address[] validators);

    /// @notice The batch is held with another hash, which stays.
    error AlreadyAnchored(bytes32 microgrid, uint64 number, bytes32 got, bytes32 held);

    /// @notice The batch before is not held: batches are anchored in order.
    error NoPrevious(bytes32 microgrid, uint64 number);

    /// @notice The batch does not follow the one that is held; the first follows zero.
    error WrongPrevious(bytes32 microgrid, uint64 number, bytes32 got, bytes32 wanted);

    /// @notice Fewer signatures than the threshold.
    error TooFewSignatures(uint256 got, uint256 wanted);

    /// @notice The signatures are not a whole number of 65 bytes.
    error WrongSignaturesLength(uint256 got);

    /// @notice A signature is none: s in the upper half, v other than 27 and 28, or of nobody.
    /// @param place Which of the signatures, from zero.
    error MalformedSignature(uint256 place);

    /// @notice A signer comes twice or out of order: they ascend.
    error SignersNotAscending(address got, address previous);

    /// @notice A signer is no validator of the epoch.
    error NotValidator(address got, uint64 epoch);

    /// @notice A set of validators of this size cannot be.
    error WrongValidatorsCount(uint256 got, uint256 most);

    /// @notice A validator comes twice or out of order, or is zero: they ascend from above zero.
    error ValidatorsNotAscending(address got, address previous);

    /// @notice A threshold lies between one and the number of validators.
    error WrongThreshold(uint64 got, uint256 most);

    /// @notice As many validators there may be.
    uint256 public constant MAX_VALIDATORS = 32;

    uint256 private constant _SIGNATURE_BYTES = 65;
    bytes32 private constant _BATCH_TYPEHASH =
        keccak256("Batch(bytes32 microgrid,uint64 number,bytes32 previous,bytes32 windowsRoot)");
    bytes32 private constant _ROTATION_TYPEHASH =
        keccak256("Rotation(uint64 epoch,uint64 threshold,bytes32 validators)");

    /// @notice How often the validators were changed.
    uint64 public epoch;

    /// @notice How many signatures it takes.
    uint64 public threshold;

    /// @notice What is held for a batch; zero where nothing is.
    mapping(bytes32 microgrid => mapping(uint64 number => bytes32 hash)) public batchHash;

    /// @dev One more than the last epoch in which an address was a validator, so that a rotation writes the new ones
    /// and need not delete the old.
    mapping(address validator => uint64 epochPlusOne) private _validUntil;

    address[] private _validators;

    /// @param validators_ Who may sign: 1 to `MAX_VALIDATORS` addresses, ascending from above zero.
    /// @param threshold_ How many of them must.
    constructor(address[] memory validators_, uint64 threshold_) EIP712("GridpactRegistry", "1") {
        _appoint(0, threshold_, validators_);
    }

    /// @notice Holds a batch from now on. The same batch again has no effect, so that a repeated transaction does no
    /// harm; another one in its place is refused.
    /// @param microgrid Keccak-256 of the microgrid's resource name.
    /// @param number Place of the batch among the microgrid's, from zero.
    /// @param previous Hash of the batch before; zero for the first.
    /// @param windowsRoot Root of the tree of the batch's windows.
    /// @param signatures r, s and v of `threshold` or more validators, in ascending order of their addresses.
    function anchor(
        bytes32 microgrid,
        uint64 number,
        bytes32 previous,
        bytes32 windowsRoot,
        bytes calldata signatures
    ) external {
        bytes32 hash = _hashBatch(microgrid, number, previous, windowsRoot);
        mapping(uint64 number => bytes32 hash) storage ofMicrogrid = batchHash[microgrid];
        bytes32 held = ofMicrogrid[number];
        if (held == hash) return;
        if (held != bytes32(0)) revert AlreadyAnchored(microgrid, number, hash, held);
        bytes32 wanted = number == 0 ? bytes32(0) : ofMicrogrid[number - 1];
        if (number != 0 && wanted == bytes32(0)) revert NoPrevious(microgrid, number);
        if (previous != wanted) revert WrongPrevious(microgrid, number, previous, wanted);
        requireQuorum(_hashTypedDataV4(hash), signatures);
        ofMicrogrid[number] = hash;
        emit Anchored(microgrid, number, hash);
    }

    /// @notice Replaces the validators by those that enough of the present ones signed.
    /// @param validators_ Who may sign: 1 to `MAX_VALIDATORS` addresses, ascending from above zero.
    /// @param threshold_ How many of them must.
    /// @param signatures As for `anchor`, over the next epoch with its threshold and validators.
    function rotate(address[] calldata validators_, uint64 threshold_, bytes calldata signatures) external {
        uint64 next = epoch + 1;
        bytes32 list = keccak256(abi.encodePacked(validators_));
        bytes32 hash = keccak256(abi.encode(_ROTATION_TYPEHASH, next, threshold_, list));
        requireQuorum(_hashTypedDataV4(hash), signatures);
        _appoint(next, threshold_, validators_);
    }

    /// @notice Who may sign, in ascending order.
    function validators() external view returns (address[] memory) {
        return _validators;
    }

    /// @notice Whether a trade stands in a window's header, and that header in a batch that is held.
    /// @param trade The trade's record.
    /// @param tradePath Siblings on the way from the trade's leaf up to the header's `tradesRoot`.
    /// @param header The window's header, whose microgrid's name hashes to the batch's.
    /// @param place Where the header stands.
    function verifyTrade(
        Evidence.Trade calldata trade,
        bytes32[] calldata tradePath,
        Evidence.Header calldata header,
        Evidence.Place calldata place
    ) external view returns (bool) {
        return keccak256(bytes(header.microgrid)) == place.microgrid
            && keccak256(bytes(header.window)) == keccak256(bytes(trade.window))
            && Evidence.leads(tradePath, Evidence.hashTrade(trade), header.tradesRoot)
            && verifyWindow(place, Evidence.hashHeader(header));
    }

    /// @notice Whether an address may sign now.
    function isValidator(address account) public view returns (bool) {
        return _validUntil[account] == epoch + 1;
    }

    /// @notice Whether a window's header stands in a batch that is held.
    /// @param place Where it should stand.
    /// @param headerHash The header's hash.
    function verifyWindow(Evidence.Place calldata place, bytes32 headerHash) public view returns (bool) {
        bytes32 hash = _hashBatch(place.microgrid, place.number, place.previous, place.windowsRoot);
        return batchHash[place.microgrid][place.number] == hash
            && Evidence.leads(place.path, Evidence.hashWindow(place.position, headerHash), place.windowsRoot);
    }

    /// @inheritdoc IQuorum
    function requireQuorum(bytes32 digest, bytes calldata signatures) public view {
        uint256 count = signatures.length / _SIGNATURE_BYTES;
        if (count * _SIGNATURE_BYTES != signatures.length) revert WrongSignaturesLength(signatures.length);
        uint64 current = epoch;
        if (count < threshold) revert TooFewSignatures(count, threshold);
        address previous = address(0);
        for (uint256 place = 0; place < count; ++place) {
            address signer = _recover(digest, signatures, place);
            if (signer <= previous) revert SignersNotAscending(signer, previous);
            if (_validUntil[signer] != current + 1) revert NotValidator(signer, current);
            previous = signer;
        }
    }

    function _appoint(uint64 epoch_, uint64 threshold_, address[] memory validators_) private {
        uint256 count = validators_.length;
        if (count == 0 || count > MAX_VALIDATORS) revert WrongValidatorsCount(count, MAX_VALIDATORS);
        if (threshold_ == 0 || threshold_ > count) revert WrongThreshold(threshold_, count);
        address previous = address(0);
        for (uint256 place = 0; place < count; ++place) {
            address validator = validators_[place];
            if (validator <= previous) revert ValidatorsNotAscending(validator, previous);
            _validUntil[validator] = epoch_ + 1;
            previous = validator;
        }
        epoch = epoch_;
        threshold = threshold_;
        _validators = validators_;
        emit Rotated(epoch_, threshold_, validators_);
    }

    function _recover(bytes32 digest, bytes calldata signatures, uint256 place) private pure returns (address) {
        uint256 start = place * _SIGNATURE_BYTES;
        (address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecover(
            digest,
            uint8(signatures[start + 64]),
            bytes32(signatures[start:start + 32]),
            bytes32(signatures[start + 32:start + 64])
        );
        if (problem != ECDSA.RecoverError.NoError) revert MalformedSignature(place);
        return signer;
    }

    function _hashBatch(bytes32 microgrid, uint64 number, bytes32 previous, bytes32 windowsRoot)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(_BATCH_TYPEHASH, microgrid, number, previous, windowsRoot));
    }
}
