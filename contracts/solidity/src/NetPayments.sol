// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IQuorum} from "./IQuorum.sol";

/// @title Payments of what accounts are owed on balance, for communities that pay on a chain
/// @notice The validators sign, from time to time, the root of a tree that says for each account what it was owed in
/// all so far. An account claims the difference to what it was paid already. As the sums only grow, a new root loses
/// nothing that was not claimed under the one before.
/// @dev What a microgrid pays comes from its own funds here; another microgrid's are out of its reach.
contract NetPayments is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice The state of a microgrid's payments.
    struct Statement {
        bytes32 root;
        uint64 number;
    }

    /// @notice Somebody added to a microgrid's funds.
    event Funded(bytes32 indexed microgrid, address indexed from, uint256 amount);

    /// @notice The validators signed a new statement.
    event Stated(bytes32 indexed microgrid, uint64 indexed number, bytes32 root);

    /// @notice An account was paid.
    event Paid(bytes32 indexed microgrid, address indexed account, uint256 amount);

    /// @notice Statements are numbered without a gap, from one.
    error WrongNumber(bytes32 microgrid, uint64 got, uint64 wanted);

    /// @notice The account is not owed this sum by the present statement.
    error NotOwed(bytes32 microgrid, address account, uint256 cumulative);

    /// @notice The account was paid all of it.
    error NothingToClaim(bytes32 microgrid, address account, uint256 cumulative, uint256 paid);

    /// @notice The microgrid's funds do not suffice; the claim stays for when they do.
    error TooFewFunds(bytes32 microgrid, uint256 got, uint256 wanted);

    bytes32 private constant _STATEMENT_TYPEHASH =
        keccak256("Statement(bytes32 microgrid,uint64 number,bytes32 root)");

    /// @notice Who knows the validators.
    IQuorum public immutable registry;

    /// @notice What is paid.
    IERC20 public immutable token;

    /// @notice The present statement of a microgrid.
    mapping(bytes32 microgrid => Statement) public statements;

    /// @notice What a microgrid can still pay.
    mapping(bytes32 microgrid => uint256) public funds;

    /// @notice What an account was paid in all.
    mapping(bytes32 microgrid => mapping(address account => uint256)) public paid;

    /// @param registry_ Who knows the validators.
    /// @param token_ What is paid.
    constructor(IQuorum registry_, IERC20 token_) EIP712("GridpactNetPayments", "1") {
        registry = registry_;
        token = token_;
    }

    /// @notice Adds to a microgrid's funds, out of the caller's allowance. What arrives counts, should the token keep
    /// a fee.
    function fund(bytes32 microgrid, uint256 amount) external nonReentrant {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 arrived = token.balanceOf(address(this)) - before;
        funds[microgrid] += arrived;
        emit Funded(microgrid, msg.sender, arrived);
    }

    /// @notice Replaces a microgrid's statement by the next, which enough of the validators signed.
    /// @param number One more than the present statement's; the first is 1.
    /// @param root Root of the tree of what accounts are owed in all.
    /// @param signatures As for the registry, over this contract's domain.
    function state(bytes32 microgrid, uint64 number, bytes32 root, bytes calldata signatures) external {
        Statement storage present = statements[microgrid];
        uint64 wanted = present.number + 1;
        if (number != wanted) revert WrongNumber(microgrid, number, wanted);
        bytes32 hash = keccak256(abi.encode(_STATEMENT_TYPEHASH, microgrid, number, root));
        registry.requireQuorum(_hashTypedDataV4(hash), signatures);
        present.root = root;
        present.number = number;
        emit Stated(microgrid, number, root);
    }

    /// @notice Pays an account what it is owed and was not paid yet. Anybody may ask for it.
    /// @param cumulative What the account is owed in all, by the present statement.
    /// @param path Siblings on the way from the account's leaf up to the statement's root.
    function claim(bytes32 microgrid, address account, uint256 cumulative, bytes32[] calldata path)
        external
        nonReentrant
    {
        bytes32 leaf = _hashClaim(microgrid, account, cumulative);
        if (!MerkleProof.verifyCalldata(path, statements[microgrid].root, leaf)) {
            revert NotOwed(microgrid, account, cumulative);
        }
        uint256 before = paid[microgrid][account];
        if (cumulative <= before) revert NothingToClaim(microgrid, account, cumulative, before);
        uint256 amount = cumulative - before;
        uint256 available = funds[microgrid];
        if (available < amount) revert TooFewFunds(microgrid, available, amount);
        paid[microgrid][account] = cumulative;
        funds[microgrid] = available - amount;
        emit Paid(microgrid, account, amount);
        token.safeTransfer(account, amount);
    }

    /// @dev The second hash keeps leaves apart from inner nodes: none can be shown as the other.
    function _hashClaim(bytes32 microgrid, address account, uint256 cumulative) private pure returns (bytes32) {
        bytes32 inner = keccak256(abi.encode("gridpact.payment.v1", microgrid, account, cumulative));
        return keccak256(bytes.concat(inner));
    }
}
