// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GridpactRegistry} from "../src/GridpactRegistry.sol";
import {Community} from "./Community.sol";
import {vm} from "./Vm.sol";

/// @notice Somebody who relays batches and rotations in any order, signed by some of those who ever were validators.
/// @dev It keeps its own books, and stops where the registry does what they do not allow.
contract Relay is Community {
    uint256 private constant SETS = 3;
    bytes32[2] private microgrids = [keccak256("microgrids/one"), keccak256("microgrids/two")];

    mapping(bytes32 microgrid => bytes32[]) private _held;

    uint64 public epoch;
    uint256 public anchored;
    uint256 private _present;
    uint256[][SETS] private _sets;
    mapping(uint256 set => address[]) private _lists;

    function setUp() public override {
        super.setUp();
        for (uint256 set = 0; set < SETS; ++set) {
            _sets[set] = _keys(set, COUNT);
            _lists[set] = _addresses(_sets[set]);
        }
    }

    /// @notice Relays a batch: the next or another one, after the one before or after another, signed or not.
    function anchor(uint256 seed, uint8 ahead, bool follows, uint8 signers, uint8 by) external {
        bytes32 microgrid = microgrids[seed % 2];
        bytes32[] storage held = _held[microgrid];
        uint64 number = uint64(ahead % 8 < 6 ? held.length : ahead % (held.length + 2));
        bytes32 root = keccak256(abi.encode(seed % 16));
        bytes32 before = number == 0 || number > held.length ? bytes32(0) : held[number - 1];
        bytes32 previous = follows ? before : keccak256(abi.encode(seed));
        bytes32 hash = _batchHash(microgrid, number, previous, root);
        bytes memory signed = _some(signers, by, hash);
        bool allowed = number == held.length && follows && _counts(signers, by);
        bool repeated = number < held.length && held[number] == hash;
        (bool done,) =
            address(registry).call(abi.encodeCall(GridpactRegistry.anchor, (microgrid, number, previous, root, signed)));
        require(done == (allowed || repeated), done ? "anchored against the rules" : "refused against the rules");
        if (allowed) {
            held.push(hash);
            ++anchored;
        }
    }

    /// @notice Relays a rotation to one of three sets, for this epoch or another, signed or not.
    function rotate(uint8 set, uint8 ahead, uint8 signers, uint8 by, uint64 threshold) external {
        address[] memory list = _lists[set % SETS];
        threshold %= uint64(list.length) + 2;
        uint64 next = ahead % 4 < 3 ? epoch + 1 : ahead;
        bytes memory signed = _some(signers, by, _rotationHash(next, threshold, list));
        bool allowed = next == epoch + 1 && _counts(signers, by) && threshold > 0 && threshold <= list.length;
        (bool done,) = address(registry).call(abi.encodeCall(GridpactRegistry.rotate, (list, threshold, signed)));
        require(done == allowed, done ? "rotated against the rules" : "refused against the rules");
        if (!done) return;
        ++epoch;
        _present = set % SETS;
    }

    /// @notice Whether the registry holds what these books hold, and nothing in the next place.
    function agrees() external view returns (bool) {
        for (uint256 m = 0; m < microgrids.length; ++m) {
            bytes32[] storage held = _held[microgrids[m]];
            for (uint64 number = 0; number < held.length; ++number) {
                if (registry.batchHash(microgrids[m], number) != held[number]) return false;
            }
            if (registry.batchHash(microgrids[m], uint64(held.length)) != 0) return false;
        }
        for (uint256 set = 0; set < SETS; ++set) {
            address[] memory list = _lists[set];
            for (uint256 k = 0; k < list.length; ++k) {
                if (registry.isValidator(list[k]) != (set == _present)) return false;
            }
        }
        return registry.epoch() == epoch && registry.threshold() <= registry.validators().length;
    }

    /// @dev Half of the time as many of the present validators as it takes; else any number of any set's.
    function _some(uint8 signers, uint8 by, bytes32 hash) private view returns (bytes memory) {
        uint256[] memory mine = _sets[_setOf(by)];
        return _sign(_first(mine, _number(signers)), _digest("GridpactRegistry", address(registry), hash));
    }

    function _counts(uint8 signers, uint8 by) private view returns (bool) {
        return _number(signers) >= registry.threshold() && _setOf(by) == _present;
    }

    function _number(uint8 signers) private view returns (uint256) {
        return signers % 2 == 0 ? registry.threshold() : (signers / 2) % (COUNT + 1);
    }

    function _setOf(uint8 by) private view returns (uint256) {
        return by % 2 == 0 ? _present : (by / 2) % SETS;
    }
}

/// @notice Whatever is relayed, in whatever order: the registry holds what the rules allow, for ever.
contract InvariantsTest {
    Relay private relay;

    function setUp() public {
        relay = new Relay();
        relay.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(relay);
    }

    function targetSelectors() public view returns (Selectors[] memory chosen) {
        chosen = new Selectors[](1);
        chosen[0].target = address(relay);
        chosen[0].selectors = new bytes4[](2);
        chosen[0].selectors[0] = Relay.anchor.selector;
        chosen[0].selectors[1] = Relay.rotate.selector;
    }

    struct Selectors {
        address target;
        bytes4[] selectors;
    }

    function invariant_TheRegistryHoldsWhatTheRulesAllow() public view {
        require(relay.agrees(), "the registry and the books differ");
    }

    function afterInvariant() public view {
        require(relay.anchored() > 0, "nothing was anchored: this run shows nothing");
    }
}
