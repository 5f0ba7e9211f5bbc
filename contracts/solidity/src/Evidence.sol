// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title The records behind a batch, hashed as the microgrid's controller hashes them
library Evidence {
    /// @notice One cleared trade; energy in Wh, price in micro-currency per kWh, instants in Unix seconds.
    struct Trade {
        string window;
        uint64 index;
        string seller;
        string buyer;
        uint64 mtuStart;
        uint64 energyWh;
        int64 priceMicroPerKwh;
        bytes32 salt;
    }

    /// @notice What commits to one settlement run of one dispatch window.
    struct Header {
        uint64 schema;
        string microgrid;
        string window;
        uint64 windowStart;
        uint64 windowEnd;
        uint64 run;
        bytes32 previous;
        bytes32 inputsDigest;
        bytes32 tradesRoot;
        uint64 tradesCount;
        bytes32 settlementRoot;
        uint64 readingsCount;
        uint64 postingsCount;
        uint64 tradedEnergyWh;
        int64 turnoverMicro;
    }

    /// @notice Where a header stands: its batch, its place among all headers of the microgrid, and the siblings on
    /// the way from its leaf up to the root of the batch's windows.
    struct Place {
        bytes32 microgrid;
        uint64 number;
        bytes32 previous;
        bytes32 windowsRoot;
        uint64 position;
        bytes32[] path;
    }

    /// @notice Leaf of a trade in its window's tree.
    function hashTrade(Trade calldata trade) internal pure returns (bytes32) {
        return _twice(
            abi.encode(
                "gridpact.trade.v1",
                trade.window,
                trade.index,
                trade.seller,
                trade.buyer,
                trade.mtuStart,
                trade.energyWh,
                trade.priceMicroPerKwh,
                trade.salt
            )
        );
    }

    /// @notice Hash of a header.
    function hashHeader(Header calldata header) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                "gridpact.header.v1",
                header.schema,
                header.microgrid,
                header.window,
                header.windowStart,
                header.windowEnd,
                header.run,
                header.previous,
                header.inputsDigest,
                header.tradesRoot,
                header.tradesCount,
                header.settlementRoot,
                header.readingsCount,
                header.postingsCount,
                header.tradedEnergyWh,
                header.turnoverMicro
            )
        );
    }

    /// @notice Leaf of a header in its batch's tree.
    function hashWindow(uint64 position, bytes32 headerHash) internal pure returns (bytes32) {
        return _twice(abi.encode("gridpact.window.v1", position, headerHash));
    }

    /// @notice Whether a path leads from a leaf up to a root.
    function leads(bytes32[] calldata path, bytes32 leaf, bytes32 root) internal pure returns (bool) {
        return MerkleProof.verifyCalldata(path, root, leaf);
    }

    /// @dev The second hash keeps leaves apart from inner nodes: none can be shown as the other.
    function _twice(bytes memory encoded) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(encoded)));
    }
}
