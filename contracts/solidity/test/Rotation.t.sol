// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GridpactRegistry} from "../src/GridpactRegistry.sol";
import {Community} from "./Community.sol";
import {vm} from "./Vm.sol";

/// @notice How validators are appointed, and who may sign before and after.
contract RotationTest is Community {
    function testFuzz_TheNextValidatorsSignAndTheOldOnesNoMore(bytes32 microgrid, bytes32 root, uint256 seed, uint64 count)
        public
    {
        seed = seed == 0 ? 1 : seed;
        count = 1 + count % 8;
        uint256[] memory old = keys;
        uint256[] memory next = _keys(seed, count);
        address[] memory appointed = _addresses(next);
        registry.rotate(appointed, count, _quorum(_rotationHash(1, count, appointed)));
        require(registry.epoch() == 1 && registry.threshold() == count, "not appointed");
        require(keccak256(abi.encode(registry.validators())) == keccak256(abi.encode(appointed)), "others appointed");
        for (uint256 k = 0; k < old.length; ++k) {
            require(!registry.isValidator(vm.addr(old[k])), "an old one still may sign");
        }
        for (uint256 k = 0; k < count; ++k) {
            require(registry.isValidator(appointed[k]), "a new one may not sign");
        }
        bytes32 hash = _batchHash(microgrid, 0, 0, root);
        bytes memory signed = _sign(_first(_more(old, count), count), _registryDigest(hash));
        bytes memory data = abi.encodeCall(GridpactRegistry.anchor, (microgrid, 0, 0, root, signed));
        _refusedAs(address(registry), data, GridpactRegistry.NotValidator.selector);
        keys = next;
        _anchor(microgrid, 0, 0, root);
    }

    function testFuzz_WhoReturnsMaySignAgain(bytes32 microgrid, bytes32 root) public {
        uint256[] memory old = keys;
        uint256[] memory between = _keys(1, COUNT);
        _rotate(1, between);
        _rotate(2, old);
        _anchor(microgrid, 0, 0, root);
    }

    function testFuzz_ARotationCountsOnceAndInItsTurn(uint64 epoch) public {
        address[] memory same = _addresses(keys);
        if (epoch != 1) _noRotation(same, THRESHOLD, _quorum(_rotationHash(epoch, THRESHOLD, same)));
        bytes memory signed = _quorum(_rotationHash(1, THRESHOLD, same));
        registry.rotate(same, THRESHOLD, signed);
        _noRotation(same, THRESHOLD, signed);
    }

    function testFuzz_ASignatureCountsForNoOtherRotation(uint256 seed, uint64 threshold, address target) public {
        seed = seed == 0 ? 1 : seed;
        threshold = 1 + threshold % uint64(COUNT);
        vm.assume(target != address(registry) && threshold != THRESHOLD);
        address[] memory same = _addresses(keys);
        address[] memory others = _addresses(_keys(seed, COUNT));
        bytes32 hash = _rotationHash(1, THRESHOLD, same);
        bytes memory signed = _quorum(hash);
        _noRotation(others, THRESHOLD, signed);
        _noRotation(same, threshold, signed);
        uint256[] memory by = _first(keys, THRESHOLD);
        _noRotation(same, THRESHOLD, _sign(by, hash));
        _noRotation(same, THRESHOLD, _sign(by, _digest("GridpactRegistry", target, hash)));
        _noRotation(same, THRESHOLD, _sign(_first(keys, THRESHOLD - 1), _registryDigest(hash)));
        _noRotation(same, THRESHOLD, "");
    }

    function testFuzz_ASetOfAnotherSizeIsRefused(uint8 more) public {
        address[] memory none = new address[](0);
        _refusedSet(none, 1, abi.encodeWithSelector(GridpactRegistry.WrongValidatorsCount.selector, 0, 32));
        uint256 count = 33 + uint256(more) % 8;
        address[] memory many = _ascending(count);
        _refusedSet(many, 1, abi.encodeWithSelector(GridpactRegistry.WrongValidatorsCount.selector, count, 32));
        require(_rotated(_ascending(32), 32), "thirty-two are refused");
    }

    function testFuzz_AThresholdOutOfBoundsIsRefused(uint64 threshold, uint256 count) public {
        count = 1 + count % 8;
        threshold = threshold <= count ? 0 : threshold;
        bytes memory wanted = abi.encodeWithSelector(GridpactRegistry.WrongThreshold.selector, threshold, count);
        _refusedSet(_ascending(count), threshold, wanted);
    }

    function testFuzz_ValidatorsTwiceOutOfOrderOrZeroAreRefused(uint256 one, uint256 two) public {
        (one, two) = (one % 4, two % 4);
        vm.assume(one < two);
        bytes4 wanted = GridpactRegistry.ValidatorsNotAscending.selector;
        address[] memory list = _ascending(4);
        (list[one], list[two]) = (list[two], list[one]);
        _refusedSet(list, 1, abi.encodeWithSelector(wanted, list[one + 1], list[one]));
        list = _ascending(4);
        list[two] = list[two - 1];
        _refusedSet(list, 1, abi.encodeWithSelector(wanted, list[two], list[two]));
        list = _ascending(4);
        list[0] = address(0);
        _refusedSet(list, 1, abi.encodeWithSelector(wanted, address(0), address(0)));
    }

    /// @dev Refused in a rotation although signed, and in a deployment.
    function _refusedSet(address[] memory list, uint64 threshold, bytes memory wanted) private {
        bytes memory signed = _quorum(_rotationHash(1, threshold, list));
        _refused(address(registry), abi.encodeCall(GridpactRegistry.rotate, (list, threshold, signed)), wanted);
        require(registry.epoch() == 0, "rotated");
        require(_deploy("GridpactRegistry", abi.encode(list, threshold)) == address(0), "deployed");
    }

    function _rotate(uint64 epoch, uint256[] memory next) private {
        address[] memory list = _addresses(next);
        registry.rotate(list, THRESHOLD, _quorum(_rotationHash(epoch, THRESHOLD, list)));
        keys = next;
    }

    function _rotated(address[] memory list, uint64 threshold) private returns (bool done) {
        bytes memory signed = _quorum(_rotationHash(1, threshold, list));
        (done,) = address(registry).call(abi.encodeCall(GridpactRegistry.rotate, (list, threshold, signed)));
    }

    function _noRotation(address[] memory list, uint64 threshold, bytes memory signed) private {
        uint64 before = registry.epoch();
        (bool done,) = address(registry).call(abi.encodeCall(GridpactRegistry.rotate, (list, threshold, signed)));
        require(!done && registry.epoch() == before, "rotated by signatures over something else");
    }

    function _registryDigest(bytes32 hash) private view returns (bytes32) {
        return _digest("GridpactRegistry", address(registry), hash);
    }

    /// @dev As many keys as wanted, these first: to fill up what is refused anyway.
    function _more(uint256[] memory some, uint256 count) private pure returns (uint256[] memory made) {
        made = count <= some.length ? some : _keys(0, count);
    }

    function _ascending(uint256 count) private pure returns (address[] memory made) {
        made = new address[](count);
        for (uint256 k = 0; k < count; ++k) {
            made[k] = address(uint160(k + 1));
        }
    }
}
