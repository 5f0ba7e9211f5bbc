// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Evidence} from "../src/Evidence.sol";
import {Community} from "./Community.sol";
import {vm} from "./Vm.sol";

/// @notice A trade and a header are proven where they stand, and nowhere else.
contract EvidenceTest is Community {
    string private constant MICROGRID = "microgrids/village";

    struct Shown {
        Evidence.Trade trade;
        bytes32[] tradePath;
        Evidence.Header header;
        Evidence.Place place;
    }

    function testFuzz_ATradeIsProvenAndNoOther(Evidence.Trade memory trade, bytes32[2] memory siblings, uint256 change)
        public
    {
        Shown memory shown = _anchored(trade, siblings, _header(trade.window, 900));
        require(_holds(shown), "a true proof is refused");
        _changeTrade(shown.trade, change % 8);
        require(!_holds(shown), "a changed trade is proven");
    }

    function testFuzz_AHeaderIsProvenAndNoOther(Evidence.Header memory header, bytes32[2] memory siblings, uint256 change)
        public
    {
        Evidence.Trade memory trade;
        trade.window = header.window;
        header.microgrid = MICROGRID;
        Shown memory shown = _anchored(trade, siblings, header);
        require(_holds(shown), "a true proof is refused");
        _changeHeader(shown.header, change % 15);
        require(!_holds(shown), "a changed header is proven");
    }

    function testFuzz_APlaceIsProvenAndNoOther(bytes32[2] memory siblings, uint256 change, bytes32 other) public {
        Evidence.Trade memory trade;
        Shown memory shown = _anchored(trade, siblings, _header("", 900));
        require(_holds(shown), "a true proof is refused");
        _anchor(shown.place.microgrid, 1, registry.batchHash(shown.place.microgrid, 0), other);
        vm.assume(other != shown.place.windowsRoot && other != 0 && other != siblings[1]);
        _changePlace(shown.place, change % 7, other);
        require(!registry.verifyWindow(shown.place, _hash(shown.header)), "another place is proven");
        require(!_holds(shown), "another place is proven");
    }

    function testFuzz_APathIsProvenAndNoOther(bytes32[2] memory siblings, bytes32 other) public {
        Evidence.Trade memory trade;
        Shown memory shown = _anchored(trade, siblings, _header("", 900));
        vm.assume(other != siblings[0]);
        shown.tradePath[0] = other;
        require(!_holds(shown), "another path is proven");
        shown.tradePath = new bytes32[](0);
        require(!_holds(shown), "no path is proven");
    }

    function testFuzz_ATradeOfAnotherWindowOrMicrogridIsNotProven(bytes32[2] memory siblings, string memory other) public {
        vm.assume(keccak256(bytes(other)) != keccak256("one"));
        vm.assume(keccak256(bytes(other)) != keccak256(bytes(MICROGRID)));
        Evidence.Trade memory trade;
        trade.window = "one";
        require(!_holds(_anchored(trade, siblings, _header(other, 900))), "a trade of another window is proven");
        Evidence.Header memory header = _header("one", 901);
        header.microgrid = other;
        Shown memory shown = _shown(trade, siblings, header);
        bytes32 last = registry.batchHash(keccak256(bytes(MICROGRID)), 0);
        (shown.place.number, shown.place.previous) = (1, last);
        _anchor(shown.place.microgrid, 1, last, shown.place.windowsRoot);
        require(!_holds(shown), "a header of another microgrid is proven");
    }

    function _anchored(Evidence.Trade memory trade, bytes32[2] memory siblings, Evidence.Header memory header)
        private
        returns (Shown memory shown)
    {
        shown = _shown(trade, siblings, header);
        _anchor(shown.place.microgrid, 0, 0, shown.place.windowsRoot);
    }

    /// @dev Sets the header's root of trades and the batch's root of windows to what the siblings make of them.
    function _shown(Evidence.Trade memory trade, bytes32[2] memory siblings, Evidence.Header memory header)
        private
        pure
        returns (Shown memory shown)
    {
        shown.trade = trade;
        shown.tradePath = _one(siblings[0]);
        shown.header = header;
        header.tradesRoot = _pair(_leaf(trade), siblings[0]);
        shown.place.microgrid = keccak256(bytes(MICROGRID));
        shown.place.position = 7;
        shown.place.path = _one(siblings[1]);
        bytes32 leaf = _twice(abi.encode("gridpact.window.v1", uint64(7), _hash(header)));
        shown.place.windowsRoot = _pair(leaf, siblings[1]);
    }

    function _holds(Shown memory shown) private view returns (bool) {
        return registry.verifyTrade(shown.trade, shown.tradePath, shown.header, shown.place);
    }

    function _header(string memory window, uint64 end) private pure returns (Evidence.Header memory header) {
        header.microgrid = MICROGRID;
        header.window = window;
        header.windowEnd = end;
    }

    function _leaf(Evidence.Trade memory t) private pure returns (bytes32) {
        return _twice(
            abi.encode(
                "gridpact.trade.v1", t.window, t.index, t.seller, t.buyer, t.mtuStart, t.energyWh, t.priceMicroPerKwh, t.salt
            )
        );
    }

    function _hash(Evidence.Header memory h) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                "gridpact.header.v1",
                h.schema,
                h.microgrid,
                h.window,
                h.windowStart,
                h.windowEnd,
                h.run,
                h.previous,
                h.inputsDigest,
                h.tradesRoot,
                h.tradesCount,
                h.settlementRoot,
                h.readingsCount,
                h.postingsCount,
                h.tradedEnergyWh,
                h.turnoverMicro
            )
        );
    }

    function _changeTrade(Evidence.Trade memory trade, uint256 field) private pure {
        if (field == 0) trade.window = string.concat(trade.window, "x");
        if (field == 1) trade.index ^= 1;
        if (field == 2) trade.seller = string.concat(trade.seller, "x");
        if (field == 3) trade.buyer = string.concat(trade.buyer, "x");
        if (field == 4) trade.mtuStart ^= 1;
        if (field == 5) trade.energyWh ^= 1;
        if (field == 6) trade.priceMicroPerKwh ^= 1;
        if (field == 7) trade.salt ^= bytes32(uint256(1));
    }

    function _changeHeader(Evidence.Header memory header, uint256 field) private pure {
        bytes32 one = bytes32(uint256(1));
        if (field == 0) header.schema ^= 1;
        if (field == 1) header.microgrid = string.concat(header.microgrid, "x");
        if (field == 2) header.window = string.concat(header.window, "x");
        if (field == 3) header.windowStart ^= 1;
        if (field == 4) header.windowEnd ^= 1;
        if (field == 5) header.run ^= 1;
        if (field == 6) header.previous ^= one;
        if (field == 7) header.inputsDigest ^= one;
        if (field == 8) header.tradesRoot ^= one;
        if (field == 9) header.tradesCount ^= 1;
        if (field == 10) header.settlementRoot ^= one;
        if (field == 11) header.readingsCount ^= 1;
        if (field == 12) header.postingsCount ^= 1;
        if (field == 13) header.tradedEnergyWh ^= 1;
        if (field == 14) header.turnoverMicro ^= 1;
    }

    function _changePlace(Evidence.Place memory place, uint256 field, bytes32 other) private pure {
        if (field == 0) place.microgrid = other;
        if (field == 1) place.number += 1;
        if (field == 2) place.previous = other;
        if (field == 3) place.windowsRoot = other;
        if (field == 4) place.position += 1;
        if (field == 5) place.path = _one(other);
        if (field == 6) place.path = new bytes32[](0);
    }
}
