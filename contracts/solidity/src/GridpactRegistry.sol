// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Gridpact's registry of settled dispatch windows
/// @notice Holds one 32-byte header hash for each key, for ever. The header itself, its trades, readings and
/// postings stay with the microgrid; whoever is shown them can check them against the hash kept here.
/// @dev A key stands for one settlement run of one dispatch window of one microgrid:
/// keccak256(abi.encode("gridpact.anchor.v1", microgrid, windowStart, run)).
contract GridpactRegistry {
    /// @notice A header hash was written.
    /// @param key The settlement run that it belongs to.
    /// @param headerHash The hash of the run's header.
    event Anchored(bytes32 indexed key, bytes32 headerHash);

    /// @notice The caller is not the operator.
    /// @param caller Who called.
    error NotOperator(address caller);

    /// @notice The operator must not be the zero address: nobody could ever anchor.
    error ZeroOperator();

    /// @notice A header hash of zero says "nothing here" and cannot be written.
    /// @param key The key that it was meant for.
    error ZeroHeaderHash(bytes32 key);

    /// @notice The key already holds another header hash, which stays.
    /// @param key The key that was written before.
    /// @param stored The header hash that it holds.
    error AlreadyAnchored(bytes32 key, bytes32 stored);

    /// @notice The only account that may anchor.
    address public immutable operator;

    /// @notice The header hash held for a key; zero where none was written.
    mapping(bytes32 key => bytes32 hash) public headerHash;

    /// @param operator_ The only account that may anchor.
    constructor(address operator_) {
        if (operator_ == address(0)) revert ZeroOperator();
        operator = operator_;
    }

    /// @notice Writes a header hash once. Writing the same hash again has no effect, so that a repeated
    /// transaction does no harm; another hash is refused.
    /// @param key The settlement run that the header belongs to.
    /// @param newHeaderHash The hash of the run's header, not zero.
    function anchor(bytes32 key, bytes32 newHeaderHash) external {
        if (msg.sender != operator) revert NotOperator(msg.sender);
        if (newHeaderHash == bytes32(0)) revert ZeroHeaderHash(key);
        bytes32 stored = headerHash[key];
        if (stored == newHeaderHash) return;
        if (stored != bytes32(0)) revert AlreadyAnchored(key, stored);
        headerHash[key] = newHeaderHash;
        emit Anchored(key, newHeaderHash);
    }
}
