// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GridpactRegistry} from "../src/GridpactRegistry.sol";
import {Evidence} from "../src/Evidence.sol";
import {vm} from "./Vm.sol";

/// @notice Five validators of whom three must sign, and the committed registry that they were appointed in.
/// @dev What is signed is put together here once more, apart from the contracts.
abstract contract Community {
    uint256 internal constant COUNT = 5;
    uint64 internal constant THRESHOLD = 3;
    uint256 internal constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    GridpactRegistry internal registry;

    /// @notice Private keys of the present validators, in the order of their addresses.
    uint256[] internal keys;

    function setUp() public virtual {
        keys = _keys(0, COUNT);
        registry = GridpactRegistry(_deploy("GridpactRegistry", abi.encode(_addresses(keys), THRESHOLD)));
    }

    /// @dev Deploys what is committed, or a mutant of it; zero where the constructor refused.
    function _deploy(string memory contractName, bytes memory arguments) internal returns (address made) {
        string memory folder = vm.envOr("GRIDPACT_ARTEFACTS", ".");
        bytes memory code = vm.getCode(string.concat(folder, "/", contractName, ".json"));
        bytes memory whole = bytes.concat(code, arguments);
        assembly ("memory-safe") {
            made := create(0, add(whole, 32), mload(whole))
        }
    }

    function _keys(uint256 seed, uint256 count) internal pure returns (uint256[] memory made) {
        made = new uint256[](count);
        for (uint256 k = 0; k < count; ++k) {
            uint256 key = uint256(keccak256(abi.encode(seed, k))) % (ORDER - 1) + 1;
            uint256 place = k;
            for (; place > 0 && vm.addr(made[place - 1]) > vm.addr(key); --place) {
                made[place] = made[place - 1];
            }
            made[place] = key;
        }
    }

    function _addresses(uint256[] memory owners) internal pure returns (address[] memory made) {
        made = new address[](owners.length);
        for (uint256 k = 0; k < owners.length; ++k) {
            made[k] = vm.addr(owners[k]);
        }
    }

    function _first(uint256[] memory owners, uint256 count) internal pure returns (uint256[] memory made) {
        made = new uint256[](count);
        for (uint256 k = 0; k < count; ++k) {
            made[k] = owners[k];
        }
    }

    function _sign(uint256[] memory by, bytes32 digest) internal pure returns (bytes memory packed) {
        for (uint256 k = 0; k < by.length; ++k) {
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(by[k], digest);
            packed = bytes.concat(packed, r, s, bytes1(v));
        }
    }

    function _digest(string memory name, address target, bytes32 structHash) internal view returns (bytes32) {
        return _digest(name, target, block.chainid, structHash);
    }

    function _digest(string memory name, address target, uint256 chain, bytes32 structHash) internal pure returns (bytes32) {
        bytes32 domain = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 separator = keccak256(abi.encode(domain, keccak256(bytes(name)), keccak256("1"), chain, target));
        return keccak256(abi.encodePacked("\x19\x01", separator, structHash));
    }

    function _batchHash(bytes32 microgrid, uint64 number, bytes32 previous, bytes32 root) internal pure returns (bytes32) {
        bytes32 kind = keccak256("Batch(bytes32 microgrid,uint64 number,bytes32 previous,bytes32 windowsRoot)");
        return keccak256(abi.encode(kind, microgrid, number, previous, root));
    }

    function _rotationHash(uint64 epoch, uint64 threshold, address[] memory validators) internal pure returns (bytes32) {
        bytes32 kind = keccak256("Rotation(uint64 epoch,uint64 threshold,bytes32 validators)");
        return keccak256(abi.encode(kind, epoch, threshold, keccak256(abi.encodePacked(validators))));
    }

    /// @dev Signatures of as many of the present validators as it takes.
    function _quorum(bytes32 structHash) internal view returns (bytes memory) {
        bytes32 digest = _digest("GridpactRegistry", address(registry), structHash);
        return _sign(_first(keys, registry.threshold()), digest);
    }

    function _anchor(bytes32 microgrid, uint64 number, bytes32 previous, bytes32 root) internal returns (bytes32 hash) {
        hash = _batchHash(microgrid, number, previous, root);
        registry.anchor(microgrid, number, previous, root, _quorum(hash));
    }

    /// @dev The call must fail, and with this very error.
    function _refused(address target, bytes memory data, bytes memory wanted) internal {
        (bool done, bytes memory answer) = target.call(data);
        require(!done, "got a call that was done, wanted a refusal");
        require(keccak256(answer) == keccak256(wanted), string.concat("refused for another reason: ", string(answer)));
    }

    /// @dev The call must fail with an error of this name, whatever its arguments.
    function _refusedAs(address target, bytes memory data, bytes4 wanted) internal {
        (bool done, bytes memory answer) = target.call(data);
        require(!done, "got a call that was done, wanted a refusal");
        require(bytes4(answer) == wanted, string.concat("refused for another reason: ", string(answer)));
    }

    function _pair(bytes32 one, bytes32 other) internal pure returns (bytes32) {
        return one < other ? keccak256(bytes.concat(one, other)) : keccak256(bytes.concat(other, one));
    }

    function _twice(bytes memory encoded) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(encoded)));
    }

    function _one(bytes32 sibling) internal pure returns (bytes32[] memory path) {
        path = new bytes32[](1);
        path[0] = sibling;
    }
}
