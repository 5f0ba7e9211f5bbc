// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Whoever knows the validators
interface IQuorum {
    /// @notice Returns where enough of the present validators signed, and reverts with the reason where not.
    /// @param digest EIP-712 digest that was signed.
    /// @param signatures r, s and v of as many validators as it takes or more, in ascending order of their addresses.
    function requireQuorum(bytes32 digest, bytes calldata signatures) external view;

    /// @notice What is held for a batch; zero where nothing is.
    /// @param microgrid Keccak-256 of the microgrid's resource name.
    /// @param number Place of the batch among the microgrid's, from zero.
    function batchHash(bytes32 microgrid, uint64 number) external view returns (bytes32);
}
