// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GridpactRegistry} from "../src/GridpactRegistry.sol";
import {Community} from "./Community.sol";
import {vm} from "./Vm.sol";

/// @notice What the registry holds, and every refusal by its name and arguments.
contract RegistryTest is Community {
    function testFuzz_BatchesInOrderAreHeldAndRepeatsDoNothing(bytes32 microgrid, bytes32 other, bytes32[4] memory roots)
        public
    {
        vm.assume(microgrid != other);
        bytes32 previous = 0;
        for (uint64 number = 0; number < roots.length; ++number) {
            bytes32 hash = _anchor(microgrid, number, previous, roots[number]);
            require(registry.batchHash(microgrid, number) == hash, "not held");
            require(registry.batchHash(other, number) == 0, "held for another microgrid");
            registry.anchor(microgrid, number, previous, roots[number], "");
            require(registry.batchHash(microgrid, number) == hash, "lost by a repeat");
            previous = hash;
        }
    }

    function testFuzz_AnotherBatchInItsPlaceIsRefused(bytes32 microgrid, bytes32 root, bytes32 fork) public {
        vm.assume(root != fork);
        bytes32 held = _anchor(microgrid, 0, 0, root);
        bytes32 got = _batchHash(microgrid, 0, 0, fork);
        bytes memory data = _anchorCall(microgrid, 0, 0, fork, _quorum(got));
        _refusedBy(data, abi.encodeWithSelector(GridpactRegistry.AlreadyAnchored.selector, microgrid, 0, got, held));
        require(registry.batchHash(microgrid, 0) == held, "changed");
    }

    function testFuzz_ABatchBeforeItsTurnIsRefused(bytes32 microgrid, uint64 number, bytes32 previous, bytes32 root)
        public
    {
        if (number == 0) number = 1;
        for (uint256 k = 0; k < 2; ++k) {
            bytes memory signed = _quorum(_batchHash(microgrid, number, previous, root));
            bytes memory data = _anchorCall(microgrid, number, previous, root, signed);
            _refusedBy(data, abi.encodeWithSelector(GridpactRegistry.NoPrevious.selector, microgrid, number));
            previous = 0;
        }
    }

    function testFuzz_ABatchThatFollowsAnotherIsRefused(bytes32 microgrid, bytes32 previous, bytes32[2] memory roots) public {
        vm.assume(previous != 0);
        bytes memory signed = _quorum(_batchHash(microgrid, 0, previous, roots[0]));
        bytes memory data = _anchorCall(microgrid, 0, previous, roots[0], signed);
        bytes4 wrong = GridpactRegistry.WrongPrevious.selector;
        _refusedBy(data, abi.encodeWithSelector(wrong, microgrid, 0, previous, bytes32(0)));
        bytes32 held = _anchor(microgrid, 0, 0, roots[0]);
        vm.assume(previous != held);
        signed = _quorum(_batchHash(microgrid, 1, previous, roots[1]));
        data = _anchorCall(microgrid, 1, previous, roots[1], signed);
        _refusedBy(data, abi.encodeWithSelector(wrong, microgrid, 1, previous, held));
    }

    function testFuzz_TooFewSignaturesAreRefused(bytes32 microgrid, bytes32 root, uint256 count) public {
        count %= THRESHOLD;
        bytes memory signed = _sign(_first(keys, count), _batchDigest(microgrid, root));
        bytes memory wanted = abi.encodeWithSelector(GridpactRegistry.TooFewSignatures.selector, count, THRESHOLD);
        _refusedBy(_anchorCall(microgrid, 0, 0, root, signed), wanted);
    }

    function testFuzz_MoreSignaturesCount(bytes32 microgrid, bytes32 root, uint256 count) public {
        count = THRESHOLD + count % (COUNT - THRESHOLD + 1);
        bytes memory signed = _sign(_first(keys, count), _batchDigest(microgrid, root));
        registry.anchor(microgrid, 0, 0, root, signed);
        require(registry.batchHash(microgrid, 0) == _batchHash(microgrid, 0, 0, root), "not held");
    }

    function testFuzz_SignaturesOfAnOddLengthAreRefused(bytes32 microgrid, bytes32 root, uint8 more) public {
        vm.assume(more % 65 != 0);
        bytes memory signed = bytes.concat(_sign(keys, _batchDigest(microgrid, root)), new bytes(more));
        bytes memory wanted = abi.encodeWithSelector(GridpactRegistry.WrongSignaturesLength.selector, signed.length);
        _refusedBy(_anchorCall(microgrid, 0, 0, root, signed), wanted);
    }

    function testFuzz_SignersTwiceOrOutOfOrderAreRefused(bytes32 microgrid, bytes32 root, uint256 one, uint256 two) public {
        one %= THRESHOLD;
        two %= THRESHOLD;
        vm.assume(one < two);
        uint256[] memory by = _first(keys, THRESHOLD);
        (by[one], by[two]) = (by[two], by[one]);
        _refusedAs(by, microgrid, root, GridpactRegistry.SignersNotAscending.selector);
        by = _first(keys, THRESHOLD);
        by[two] = by[two - 1];
        _refusedAs(by, microgrid, root, GridpactRegistry.SignersNotAscending.selector);
    }

    function testFuzz_AStrangerIsRefused(bytes32 microgrid, bytes32 root, uint256 seed) public {
        seed = seed == 0 ? 1 : seed;
        uint256[] memory by = _keys(seed, THRESHOLD);
        bytes memory wanted = abi.encodeWithSelector(GridpactRegistry.NotValidator.selector, vm.addr(by[0]), 0);
        _refusedBy(_anchorCall(microgrid, 0, 0, root, _sign(by, _batchDigest(microgrid, root))), wanted);
    }

    function testFuzz_AMalformedSignatureIsRefused(bytes32 microgrid, bytes32 root, uint256 place, uint8 odd) public {
        place %= THRESHOLD;
        vm.assume(odd != 27 && odd != 28);
        bytes memory good = _sign(_first(keys, THRESHOLD), _batchDigest(microgrid, root));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[place], _batchDigest(microgrid, root));
        bytes memory wanted = abi.encodeWithSelector(GridpactRegistry.MalformedSignature.selector, place);
        bytes memory high = bytes.concat(r, bytes32(ORDER - uint256(s)), bytes1(v == 27 ? 28 : 27));
        _refusedBy(_anchorCall(microgrid, 0, 0, root, _with(good, place, high)), wanted);
        bytes memory ofNobody = bytes.concat(bytes32(0), s, bytes1(v));
        _refusedBy(_anchorCall(microgrid, 0, 0, root, _with(good, place, ofNobody)), wanted);
        bytes memory oddV = bytes.concat(r, s, bytes1(odd));
        _refusedBy(_anchorCall(microgrid, 0, 0, root, _with(good, place, oddV)), wanted);
    }

    function testFuzz_ASignatureCountsForNothingElse(bytes32 microgrid, bytes32 root, bytes32 fork, address target) public {
        vm.assume(root != fork && target != address(registry));
        bytes32 hash = _batchHash(microgrid, 0, 0, root);
        uint256[] memory by = _first(keys, THRESHOLD);
        _noAnchor(microgrid, root, _sign(by, hash));
        _noAnchor(microgrid, root, _sign(by, _digest("GridpactRegistry", target, hash)));
        _noAnchor(microgrid, root, _sign(by, _digest("GridpactRegistry", address(registry), block.chainid + 1, hash)));
        _noAnchor(microgrid, root, _sign(by, _digest("GridpactPayments", address(registry), hash)));
        _noAnchor(microgrid, root, _sign(by, _batchDigest(microgrid, fork)));
        bytes memory signed = _sign(by, _batchDigest(microgrid, root));
        vm.chainId(block.chainid + 1);
        _noAnchor(microgrid, root, signed);
    }

    function _noAnchor(bytes32 microgrid, bytes32 root, bytes memory signed) private {
        (bool done,) = address(registry).call(_anchorCall(microgrid, 0, 0, root, signed));
        require(!done && registry.batchHash(microgrid, 0) == 0, "held by signatures over something else");
    }

    function _refusedAs(uint256[] memory by, bytes32 microgrid, bytes32 root, bytes4 wanted) private {
        bytes memory signed = _sign(by, _batchDigest(microgrid, root));
        _refusedAs(address(registry), _anchorCall(microgrid, 0, 0, root, signed), wanted);
    }

    function _refusedBy(bytes memory data, bytes memory wanted) private {
        _refused(address(registry), data, wanted);
    }

    function _anchorCall(bytes32 microgrid, uint64 number, bytes32 previous, bytes32 root, bytes memory signed)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(GridpactRegistry.anchor, (microgrid, number, previous, root, signed));
    }

    function _batchDigest(bytes32 microgrid, bytes32 root) private view returns (bytes32) {
        return _digest("GridpactRegistry", address(registry), _batchHash(microgrid, 0, 0, root));
    }

    function _with(bytes memory signed, uint256 place, bytes memory one) private pure returns (bytes memory changed) {
        changed = bytes.concat(signed);
        for (uint256 k = 0; k < one.length; ++k) {
            changed[65 * place + k] = one[k];
        }
    }
}
