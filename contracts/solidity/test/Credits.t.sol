// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EnergyCredits} from "../src/EnergyCredits.sol";
import {Community} from "./Community.sol";
import {vm} from "./Vm.sol";

/// @notice Credits are minted once for a batch that is held, as the validators certified, and burned by their owner.
contract CreditsTest is Community {
    bytes32 private constant MICROGRID = keccak256("microgrids/village");

    EnergyCredits private credits;

    function setUp() public override {
        super.setUp();
        credits = EnergyCredits(_deploy("EnergyCredits", abi.encode(registry)));
    }

    function testFuzz_CreditsAreMintedOnceForABatch(address account, uint128 energy, uint128 burned, bytes32 root) public {
        vm.assume(account != address(0) && burned <= energy);
        bytes32 batch = _anchor(MICROGRID, 0, 0, root);
        require(!credits.minted(MICROGRID, 0), "minted before");
        bytes memory signed = _signed(0, batch, account, energy);
        credits.mint(MICROGRID, 0, account, energy, signed);
        require(credits.minted(MICROGRID, 0) && credits.balanceOf(account) == energy, "another sum");
        bytes memory data = abi.encodeCall(EnergyCredits.mint, (MICROGRID, 0, account, energy, signed));
        _refused(address(credits), data, abi.encodeWithSelector(EnergyCredits.AlreadyMinted.selector, MICROGRID, 0));
        vm.prank(account);
        credits.burn(burned);
        require(credits.totalSupply() == energy - burned && credits.decimals() == 3, "another supply");
    }

    function testFuzz_ABatchThatIsNotHeldHasNoCredits(address account, uint64 number, uint128 energy) public {
        bytes memory signed = _signed(number, 0, account, energy);
        bytes memory data = abi.encodeCall(EnergyCredits.mint, (MICROGRID, number, account, energy, signed));
        _refused(address(credits), data, abi.encodeWithSelector(EnergyCredits.NotAnchored.selector, MICROGRID, number));
    }

    function testFuzz_CreditsOtherThanSignedAreNotMinted(address account, address other, uint128 energy, uint128 more)
        public
    {
        vm.assume(account != other && account != address(0) && other != address(0) && more != 0);
        bytes32 batch = _anchor(MICROGRID, 0, 0, keccak256("root"));
        bytes memory signed = _signed(0, batch, account, energy);
        _noMint(other, energy, signed);
        _noMint(account, uint256(energy) + more, signed);
        _noMint(account, energy, "");
        _noMint(account, energy, _signed(0, keccak256("another batch"), account, energy));
        bytes32 hash = _hash(0, batch, account, energy);
        _noMint(account, energy, _quorum(hash));
        _noMint(account, energy, _sign(_first(keys, THRESHOLD), hash));
    }

    function _noMint(address account, uint256 energy, bytes memory signed) private {
        (bool done,) =
            address(credits).call(abi.encodeCall(EnergyCredits.mint, (MICROGRID, 0, account, energy, signed)));
        require(!done && credits.totalSupply() == 0, "minted by signatures over something else");
    }

    function _hash(uint64 number, bytes32 batch, address account, uint256 energy) private pure returns (bytes32) {
        bytes32 kind =
            keccak256("Mint(bytes32 microgrid,uint64 number,bytes32 batchHash,address account,uint256 energyWh)");
        return keccak256(abi.encode(kind, MICROGRID, number, batch, account, energy));
    }

    function _signed(uint64 number, bytes32 batch, address account, uint256 energy) private view returns (bytes memory) {
        bytes32 hash = _hash(number, batch, account, energy);
        return _sign(_first(keys, THRESHOLD), _digest("GridpactEnergyCredits", address(credits), hash));
    }
}
