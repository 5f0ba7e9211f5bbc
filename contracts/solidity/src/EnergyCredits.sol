// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IQuorum} from "./IQuorum.sol";

/// @title Credits for energy that was produced locally, as the validators certified
/// @notice One unit is one Wh, and one token of three decimals one kWh. They are minted once for each batch that the
/// registry holds, to one account of the community, and may be passed on, or burned by whoever uses them up.
/// @dev Minting to households one by one would publish what each of them produced.
contract EnergyCredits is ERC20, ERC20Burnable, EIP712 {
    /// @notice Credits were minted for a batch.
    event Certified(
        bytes32 indexed microgrid, uint64 indexed number, address indexed account, uint256 energyWh, bytes32 batchHash
    );

    /// @notice Credits were minted for this batch before.
    error AlreadyMinted(bytes32 microgrid, uint64 number);

    /// @notice The registry holds no such batch.
    error NotAnchored(bytes32 microgrid, uint64 number);

    bytes32 private constant _MINT_TYPEHASH =
        keccak256("Mint(bytes32 microgrid,uint64 number,bytes32 batchHash,address account,uint256 energyWh)");

    /// @notice Who holds the batches and knows the validators.
    IQuorum public immutable registry;

    /// @notice Whether credits were minted for a batch.
    mapping(bytes32 microgrid => mapping(uint64 number => bool)) public minted;

    /// @param registry_ Who holds the batches and knows the validators.
    constructor(IQuorum registry_) ERC20("Gridpact Energy Credit", "GEC") EIP712("GridpactEnergyCredits", "1") {
        registry = registry_;
    }

    /// @notice Mints the credits of a batch, once.
    /// @param number Place of the batch among the microgrid's.
    /// @param account Whose they are.
    /// @param energyWh Energy produced locally in the batch's windows, Wh.
    /// @param signatures As for the registry, over this contract's domain and the batch's hash.
    function mint(bytes32 microgrid, uint64 number, address account, uint256 energyWh, bytes calldata signatures)
        external
    {
        if (minted[microgrid][number]) revert AlreadyMinted(microgrid, number);
        bytes32 batch = registry.batchHash(microgrid, number);
        if (batch == bytes32(0)) revert NotAnchored(microgrid, number);
        bytes32 hash = keccak256(abi.encode(_MINT_TYPEHASH, microgrid, number, batch, account, energyWh));
        registry.requireQuorum(_hashTypedDataV4(hash), signatures);
        minted[microgrid][number] = true;
        emit Certified(microgrid, number, account, energyWh, batch);
        _mint(account, energyWh);
    }

    /// @notice Three: a unit is one Wh, a token one kWh.
    function decimals() public pure override returns (uint8) {
        return 3;
    }
}
