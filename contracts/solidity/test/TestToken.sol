// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice Money for tests, of which anybody may have as much as they like.
contract TestToken is ERC20("Test money", "TEST") {
    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }
}

/// @notice Money that keeps a tenth of each transfer.
contract GreedyToken is TestToken {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0) && to != address(0)) _burn(to, amount / 10);
    }
}

/// @notice Money that says no by its answer, not by a revert.
contract RefusingToken is TestToken {
    function transfer(address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// @notice Money that lets somebody call another contract in the midst of a transfer.
contract CallingToken is TestToken {
    address private _target;
    bytes private _data;

    function callNext(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        address target = _target;
        if (target == address(0)) return;
        _target = address(0);
        (bool done, bytes memory answer) = target.call(_data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}
