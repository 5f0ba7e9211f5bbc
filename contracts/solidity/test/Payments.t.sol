// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {GridpactRegistry} from "../src/GridpactRegistry.sol";
import {NetPayments} from "../src/NetPayments.sol";
import {Community} from "./Community.sol";
import {CallingToken, GreedyToken, RefusingToken, TestToken} from "./TestToken.sol";
import {vm} from "./Vm.sol";

/// @notice Accounts are paid what the validators stated, once, out of their own microgrid's funds.
contract PaymentsTest is Community {
    bytes32 private constant MICROGRID = keccak256("microgrids/village");
    bytes32 private constant SIBLING = keccak256("another account");

    function testFuzz_AClaimPaysTheDifference(address account, uint128[3] memory owed, bool[3] memory claims) public {
        (NetPayments payments, TestToken token) = _funded(new TestToken(), type(uint128).max);
        _reachable(account, payments);
        uint256 cumulative = 0;
        uint256 got = 0;
        for (uint64 k = 0; k < 3; ++k) {
            cumulative += 1 + owed[k] / 4;
            _state(payments, k + 1, account, cumulative);
            if (!claims[k]) continue;
            payments.claim(MICROGRID, account, cumulative, _one(SIBLING));
            got = cumulative;
            require(token.balanceOf(account) == got && payments.paid(MICROGRID, account) == got, "paid another sum");
        }
        require(payments.funds(MICROGRID) == type(uint128).max - got, "other funds are left");
        require(token.balanceOf(address(payments)) == type(uint128).max - got, "another balance is left");
    }

    function testFuzz_AClaimIsPaidOnce(address account, uint128 owed) public {
        (NetPayments payments,) = _funded(new TestToken(), type(uint128).max);
        _reachable(account, payments);
        uint256 cumulative = 1 + uint256(owed) / 2;
        _state(payments, 1, account, cumulative);
        bytes memory data = abi.encodeCall(NetPayments.claim, (MICROGRID, account, cumulative, _one(SIBLING)));
        payments.claim(MICROGRID, account, cumulative, _one(SIBLING));
        bytes4 nothing = NetPayments.NothingToClaim.selector;
        _refused(address(payments), data, abi.encodeWithSelector(nothing, MICROGRID, account, cumulative, cumulative));
        _state(payments, 2, account, cumulative - 1);
        data = abi.encodeCall(NetPayments.claim, (MICROGRID, account, cumulative - 1, _one(SIBLING)));
        _refused(address(payments), data, abi.encodeWithSelector(nothing, MICROGRID, account, cumulative - 1, cumulative));
    }

    function testFuzz_WhatIsNotStatedIsNotOwed(address account, address other, uint128 owed, uint128 more, bytes32 path)
        public
    {
        vm.assume(account != other && more != 0 && path != SIBLING);
        (NetPayments payments,) = _funded(new TestToken(), type(uint256).max);
        _notOwed(payments, MICROGRID, account, 0, path);
        _state(payments, 1, account, owed);
        _notOwed(payments, MICROGRID, other, owed, SIBLING);
        _notOwed(payments, MICROGRID, account, uint256(owed) + more, SIBLING);
        _notOwed(payments, MICROGRID, account, owed, path);
        _notOwed(payments, keccak256("another"), account, owed, SIBLING);
    }

    function testFuzz_AnotherMicrogridsFundsAreOutOfReach(address account, uint128 owed, uint128 funds) public {
        (NetPayments payments, TestToken token) = _funded(new TestToken(), funds);
        token.mint(address(payments), type(uint128).max);
        uint256 cumulative = uint256(funds) + 1 + owed;
        _state(payments, 1, account, cumulative);
        bytes memory data = abi.encodeCall(NetPayments.claim, (MICROGRID, account, cumulative, _one(SIBLING)));
        bytes4 few = NetPayments.TooFewFunds.selector;
        _refused(address(payments), data, abi.encodeWithSelector(few, MICROGRID, funds, cumulative));
    }

    function testFuzz_StatementsAreNumberedAndSigned(uint64 number, bytes32 root, bytes32 fork) public {
        vm.assume(root != fork && number != 1);
        (NetPayments payments,) = _funded(new TestToken(), 1);
        bytes memory data = abi.encodeCall(NetPayments.state, (MICROGRID, number, root, _signed(payments, number, root)));
        bytes4 wrong = NetPayments.WrongNumber.selector;
        _refused(address(payments), data, abi.encodeWithSelector(wrong, MICROGRID, number, 1));
        bytes memory good = _signed(payments, 1, root);
        _noStatement(payments, fork, good);
        _noStatement(payments, root, "");
        _noStatement(payments, root, _sign(_first(keys, THRESHOLD), _hash(1, root)));
        _noStatement(payments, root, _quorum(_hash(1, root)));
        payments.state(MICROGRID, 1, root, good);
        data = abi.encodeCall(NetPayments.state, (MICROGRID, 1, root, good));
        _refused(address(payments), data, abi.encodeWithSelector(wrong, MICROGRID, 1, 2));
        (bytes32 held, uint64 last) = payments.statements(MICROGRID);
        require(held == root && last == 1, "another statement is held");
    }

    function testFuzz_WhatArrivesIsWhatCounts(uint128 amount) public {
        (NetPayments payments, TestToken token) = _funded(new GreedyToken(), amount);
        require(payments.funds(MICROGRID) == amount - amount / 10, "what the token kept was counted");
        require(token.balanceOf(address(payments)) == payments.funds(MICROGRID), "funds are not what is there");
    }

    function test_AClaimWithinFundingIsRefused() public {
        (NetPayments payments, CallingToken token) = _callable();
        token.callNext(
            address(payments), abi.encodeCall(NetPayments.claim, (MICROGRID, address(this), 5, _one(SIBLING)))
        );
        bytes memory data = abi.encodeCall(NetPayments.fund, (MICROGRID, 10));
        _refusedAs(address(payments), data, ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
    }

    function test_FundingWithinAClaimIsRefused() public {
        (NetPayments payments, CallingToken token) = _callable();
        token.callNext(address(payments), abi.encodeCall(NetPayments.fund, (MICROGRID, 0)));
        bytes memory data = abi.encodeCall(NetPayments.claim, (MICROGRID, address(this), 5, _one(SIBLING)));
        _refusedAs(address(payments), data, ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
    }

    function test_MoneyThatIsNotMovedIsNoPayment() public {
        (NetPayments payments,) = _funded(new RefusingToken(), 10);
        _state(payments, 1, address(this), 5);
        bytes memory data = abi.encodeCall(NetPayments.claim, (MICROGRID, address(this), 5, _one(SIBLING)));
        _refusedAs(address(payments), data, SafeERC20.SafeERC20FailedOperation.selector);
        require(payments.paid(MICROGRID, address(this)) == 0, "said to be paid");
    }

    function _callable() private returns (NetPayments payments, CallingToken token) {
        token = new CallingToken();
        (payments,) = _funded(token, 100);
        token.mint(address(this), 10);
        token.approve(address(payments), 10);
        _state(payments, 1, address(this), 5);
    }

    function _funded(TestToken token, uint256 amount) private returns (NetPayments, TestToken) {
        NetPayments payments = NetPayments(_deploy("NetPayments", abi.encode(registry, token)));
        token.mint(address(this), amount);
        token.approve(address(payments), amount);
        payments.fund(MICROGRID, amount);
        return (payments, token);
    }

    function _state(NetPayments payments, uint64 number, address account, uint256 cumulative) private {
        bytes32 root = _pair(_twice(abi.encode("gridpact.payment.v1", MICROGRID, account, cumulative)), SIBLING);
        payments.state(MICROGRID, number, root, _signed(payments, number, root));
    }

    function _hash(uint64 number, bytes32 root) private pure returns (bytes32) {
        bytes32 kind = keccak256("Statement(bytes32 microgrid,uint64 number,bytes32 root)");
        return keccak256(abi.encode(kind, MICROGRID, number, root));
    }

    function _signed(NetPayments payments, uint64 number, bytes32 root) private view returns (bytes memory) {
        bytes32 digest = _digest("GridpactNetPayments", address(payments), _hash(number, root));
        return _sign(_first(keys, THRESHOLD), digest);
    }

    function _noStatement(NetPayments payments, bytes32 root, bytes memory signed) private {
        (bool done,) = address(payments).call(abi.encodeCall(NetPayments.state, (MICROGRID, 1, root, signed)));
        (, uint64 number) = payments.statements(MICROGRID);
        require(!done && number == 0, "stated by signatures over something else");
    }

    function _notOwed(NetPayments payments, bytes32 microgrid, address account, uint256 cumulative, bytes32 sibling) private {
        bytes memory data = abi.encodeCall(NetPayments.claim, (microgrid, account, cumulative, _one(sibling)));
        bytes memory wanted = abi.encodeWithSelector(NetPayments.NotOwed.selector, microgrid, account, cumulative);
        _refused(address(payments), data, wanted);
    }

    function _reachable(address account, NetPayments payments) private pure {
        vm.assume(account != address(0) && account != address(payments));
    }
}
