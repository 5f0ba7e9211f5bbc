// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EnergyCredits} from "../src/EnergyCredits.sol";
import {GridpactRegistry} from "../src/GridpactRegistry.sol";
import {IQuorum} from "../src/IQuorum.sol";
import {NetPayments} from "../src/NetPayments.sol";
import {TestToken} from "./TestToken.sol";
import {vm} from "./Vm.sol";

struct Call {
    bytes32 microgrid;
    uint64 number;
    bytes32 previous;
    bytes32 root;
    bytes32 r;
    bytes32 s;
    uint8 v;
}

/// @notice For any calls whatever, and for any validator: halmos proves these for all arguments at once.
/// @dev One validator, so that a signature is one; that each of many is counted once is shown by the fuzz tests.
contract RegistrySymbolic {
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @dev What is held stays, whatever is relayed after.
    function check_WhatIsHeldStays(address validator, Call calldata one, Call calldata two, bytes32 microgrid, uint64 number)
        public
    {
        GridpactRegistry registry = _registry(validator);
        _anchor(registry, one);
        bytes32 held = registry.batchHash(microgrid, number);
        _anchor(registry, two);
        assert(held == 0 || registry.batchHash(microgrid, number) == held);
    }

    /// @dev Whatever is held for a batch follows what is held for the one before it.
    function check_ABatchFollowsTheOneBefore(address validator, Call calldata one, Call calldata two) public {
        GridpactRegistry registry = _registry(validator);
        _anchor(registry, one);
        bytes32 before = registry.batchHash(two.microgrid, two.number);
        _anchor(registry, two);
        if (before != 0 || registry.batchHash(two.microgrid, two.number) == 0) return;
        if (two.number == 0) assert(two.previous == 0);
        else assert(two.previous != 0 && registry.batchHash(two.microgrid, two.number - 1) == two.previous);
    }

    /// @dev Nothing is held that the validator did not sign, for this registry on this chain.
    function check_NothingIsHeldThatWasNotSigned(address validator, Call calldata one) public {
        GridpactRegistry registry = _registry(validator);
        _anchor(registry, one);
        bytes32 held = registry.batchHash(one.microgrid, one.number);
        if (held == 0) return;
        bytes32 kind = keccak256("Batch(bytes32 microgrid,uint64 number,bytes32 previous,bytes32 windowsRoot)");
        assert(held == keccak256(abi.encode(kind, one.microgrid, one.number, one.previous, one.root)));
        assert(ecrecover(_digest(address(registry), held), one.v, one.r, one.s) == validator);
        assert(uint256(one.s) <= HALF_ORDER); // which v the machine takes, halmos does not know
    }

    /// @dev The validators change only to whom the validator signed for, and by one epoch.
    function check_ARotationIsSigned(address validator, address next, uint64 threshold, bytes32 r, bytes32 s, uint8 v) public {
        GridpactRegistry registry = _registry(validator);
        address[] memory list = new address[](1);
        list[0] = next;
        try registry.rotate(list, threshold, abi.encodePacked(r, s, v)) {
            bytes32 kind = keccak256("Rotation(uint64 epoch,uint64 threshold,bytes32 validators)");
            bytes32 hash = keccak256(abi.encode(kind, uint64(1), threshold, keccak256(abi.encodePacked(list))));
            assert(ecrecover(_digest(address(registry), hash), v, r, s) == validator);
            assert(registry.epoch() == 1 && registry.isValidator(next) && next != address(0) && threshold == 1);
            assert(next == validator || !registry.isValidator(validator));
        } catch {
            assert(registry.epoch() == 0 && registry.isValidator(validator));
        }
    }

    function _registry(address validator) private returns (GridpactRegistry) {
        vm.assume(validator != address(0));
        address[] memory list = new address[](1);
        list[0] = validator;
        return new GridpactRegistry(list, 1);
    }

    function _anchor(GridpactRegistry registry, Call calldata c) private {
        try registry.anchor(c.microgrid, c.number, c.previous, c.root, abi.encodePacked(c.r, c.s, c.v)) {} catch {}
    }

    function _digest(address target, bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 name = keccak256("GridpactRegistry");
        bytes32 separator = keccak256(abi.encode(domain, name, keccak256("1"), block.chainid, target));
        return keccak256(abi.encodePacked("\x19\x01", separator, structHash));
    }
}

/// @notice Whoever asks is told that the validators signed, and that every batch is held.
contract WillingQuorum is IQuorum {
    function requireQuorum(bytes32, bytes calldata) external view {}

    function batchHash(bytes32, uint64) external pure returns (bytes32) {
        return bytes32(uint256(1));
    }
}

/// @notice What payments and credits keep although the validators sign anything.
contract MoneySymbolic {
    struct Claim {
        bytes32 microgrid;
        address account;
        uint256 cumulative;
    }

    TestToken private token;
    NetPayments private payments;
    EnergyCredits private credits;

    function setUp() public {
        IQuorum quorum = new WillingQuorum();
        token = new TestToken();
        payments = new NetPayments(quorum, token);
        credits = new EnergyCredits(quorum);
    }

    /// @dev An account has what it was paid, no more than it was owed, and the funds lack just that.
    function check_WhatIsPaidLeavesTheFunds(Claim calldata one, Claim calldata two, bytes32 microgrid, uint256 amount)
        public
    {
        vm.assume(one.account != address(this) && one.account != address(payments) && one.account != address(0));
        token.mint(address(this), amount);
        token.approve(address(payments), amount);
        payments.fund(microgrid, amount);
        uint256 had = token.balanceOf(one.account);
        _claim(one, 1);
        uint256 first = payments.paid(one.microgrid, one.account);
        assert(first == 0 || first == one.cumulative && one.microgrid == microgrid && first <= amount);
        assert(token.balanceOf(one.account) == had + first);
        assert(payments.funds(microgrid) == amount - first);
        vm.assume(two.account == one.account && two.microgrid == one.microgrid);
        _claim(two, 2);
        uint256 second = payments.paid(one.microgrid, one.account);
        assert(second >= first && token.balanceOf(one.account) == had + second);
        assert(payments.funds(microgrid) == amount - second && token.balanceOf(address(payments)) == amount - second);
    }

    /// @dev A batch has credits once.
    function check_ABatchHasCreditsOnce(bytes32 microgrid, uint64 number, address account, uint128 energy, uint128 more)
        public
    {
        try credits.mint(microgrid, number, account, energy, "") {
            assert(credits.balanceOf(account) == energy && credits.totalSupply() == energy);
            try credits.mint(microgrid, number, account, more, "") {
                assert(false);
            } catch {}
            assert(credits.totalSupply() == energy);
        } catch {
            assert(account == address(0));
        }
    }

    function _claim(Claim calldata claim, uint64 number) private {
        bytes32 leaf = keccak256(
            bytes.concat(keccak256(abi.encode("gridpact.payment.v1", claim.microgrid, claim.account, claim.cumulative)))
        );
        payments.state(claim.microgrid, number, leaf, "");
        try payments.claim(claim.microgrid, claim.account, claim.cumulative, new bytes32[](0)) {} catch {}
    }
}
