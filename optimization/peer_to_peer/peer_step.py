r"""What a peer does in a round: its exact answer to the trades and prices last heard, batched over peers and MTUs.

In one MTU a peer with the proposals' targets :math:`s_e` and penalties :math:`\rho_e` of its links solves

.. math::

    \min_{p, x}\ \sum_k \tfrac12 a_k p_k^2 + b_k p_k + \sum_e \beta_e x_e^+ + \sigma_e x_e^-
        + \tfrac{\rho_e}{2} (x_e - s_e)^2 + \pi^i i - \pi^x o + \tfrac R2 (q - \bar s)^2
    \quad\text{s.t.}\quad q = \sum_k p_k = \sum_e x_e + i - o

with bounds on p and x; x is what it buys over a link, negative where it sells. The last term holds its copies of the
sums that limits bound, R = 0 without limits. Given the price :math:`\mu` of its balance every part has a closed form:
:math:`x_e = \mathrm{clip}(\mathrm{soft}(s_e + \mu/\rho_e;\ \beta_e/\rho_e, \sigma_e/\rho_e))` rises with the price,
:math:`p_k = \mathrm{clip}(-(\mu + b_k)/a_k)` falls, and the root of their difference, monotone and piecewise linear, is
found by Newton steps kept in a bracket (Moret et al. 2018 solve this step as a quadratic program). Pieces with
:math:`a_k = 0` are jumps; the root on a jump shares it among them in proportion to their widths. The grid holds the
price between its own two.

References
----------
F. Moret, T. Baroche, E. Sorin, P. Pinson (2018), "Negotiation algorithms for peer-to-peer electricity markets:
computational properties", Power Systems Computation Conference.
"""

from typing import Any

import numpy as np
from numba import njit, prange

from optimization.community import Floats
from optimization.market import Indices
from optimization.peer_to_peer.chunks import CHUNKS, SMALL

MOST_STEPS = 400
"""Newton steps before the search for a price gives up, far more than any market tried has taken.

The proposals of that round then miss the peer's balance. That is no answer yet: what rounds come to is balanced anew,
and refused where that fails (``recovery.GOOD_ENOUGH``).
"""

FARTHEST = 1e12
"""Price beyond which nothing moves any more: what is missed then is what rounding left of a balance at its bounds."""


@njit(cache=True, error_model="numpy")
def _bought(price, target, step, buying, selling, least, most, proposal, first, last):  # type: ignore[no-untyped-def]
    """Sum of the proposals at a price and its derivative; the proposals are written."""
    total = 0.0
    slope = 0.0
    for e in range(first, last):
        v = target[e] + step[e] * price
        soft = max(v - buying[e], 0.0) + min(v + selling[e], 0.0)
        x = min(max(soft, least[e]), most[e])
        proposal[e] = x
        total += x
        slope += step[e] if x == soft and soft != 0.0 else 0.0
    return total, slope


@njit(cache=True, error_model="numpy")
def _slope_beside(price, target, step, buying, selling, least, most, first, last, up):  # type: ignore[no-untyped-def]
    """One-sided derivative of the sum of proposals, to tell a kink from a flat."""
    slope = 0.0
    for e in range(first, last):
        v = target[e] + step[e] * price
        soft = max(v - buying[e], 0.0) + min(v + selling[e], 0.0)
        if up:
            if least[e] <= soft < most[e] and (v >= buying[e] or v < -selling[e]):
                slope += step[e]
        elif least[e] < soft <= most[e] and (v > buying[e] or v <= -selling[e]):
            slope += step[e]
    return slope


@njit(cache=True, error_model="numpy")
def _nearer(best, value, price, up):  # type: ignore[no-untyped-def]
    """The kink next to a price in a direction, of the best so far and one more."""
    if up:
        return value if price < value < best else best
    return value if best < value < price else best


@njit(cache=True, error_model="numpy")
def _next_kink(  # type: ignore[no-untyped-def]
    price, shift, target, step, buying, selling, least, most, first, last, low, high, slope, curve, start, end, up
):
    """Where one of a peer's parts next begins or ends to move with the price; infinite where none does.

    The shift is what the assets' price is above that of trade.
    """
    best = np.inf if up else -np.inf
    for e in range(first, last):
        best = _nearer(best, (buying[e] - target[e]) / step[e], price, up)
        best = _nearer(best, (-selling[e] - target[e]) / step[e], price, up)
        for bound in (least[e], most[e]):
            if np.isfinite(bound):
                offset = buying[e] if bound > 0.0 else -selling[e]
                best = _nearer(best, (bound + offset - target[e]) / step[e], price, up)
    for k in range(start, end):
        best = _nearer(best, -slope[k] - curve[k] * low[k] - shift, price, up)
        best = _nearer(best, -slope[k] - curve[k] * high[k] - shift, price, up)
    return best


@njit(cache=True, error_model="numpy")
def _consumed(price, low, high, slope, curve, power, start, end):  # type: ignore[no-untyped-def]
    """What assets consume just above and just below a price, the derivative, the jumps beside it and a magnitude."""
    above = 0.0
    below = 0.0
    fall = 0.0
    size = 0.0
    jump_down = -np.inf
    jump_up = np.inf
    for k in range(start, end):
        a = curve[k]
        if a > 0.0:
            p = -(price + slope[k]) / a
            if p < low[k]:
                p = low[k]
            elif p > high[k]:
                p = high[k]
            else:
                fall += 1.0 / a
            power[k] = p
            above += p
            below += p
            size += abs(p)
            continue
        jump = -slope[k]
        size += max(abs(low[k]), abs(high[k]))
        if price < jump:
            power[k] = high[k]
            above += high[k]
            below += high[k]
            jump_up = min(jump_up, jump)
        elif price > jump:
            power[k] = low[k]
            above += low[k]
            below += low[k]
            jump_down = max(jump_down, jump)
        else:
            power[k] = low[k]
            above += low[k]
            below += high[k]
    return above, below, fall, jump_down, jump_up, size


@njit(cache=True, error_model="numpy")
def _share_jump(price, rest, width, low, high, slope, curve, power, start, end):  # type: ignore[no-untyped-def]
    """Gives what is left of a balance to the linear pieces whose jump is at the price."""
    if width <= 0.0:
        return
    share = min(max(rest / width, 0.0), 1.0)
    for k in range(start, end):
        if curve[k] == 0.0 and price == -slope[k]:
            power[k] = low[k] + share * (high[k] - low[k])


@njit(cache=True, error_model="numpy")
def _consumed_limited(price, weight, aim, low, high, slope, curve, power, start, end):  # type: ignore[no-untyped-def]
    """What a peer under limits consumes at its price of trade, the derivative, and the price its assets see.

    That price nu is the root of (nu - price) / R + aim - Q(nu), strictly increasing, and makes q continuous in price.
    """
    nu = price
    floor = -np.inf
    ceiling = np.inf
    for _ in range(MOST_STEPS):
        above, below, fall, jump_down, jump_up, size = _consumed(nu, low, high, slope, curve, power, start, end)
        wanted = (nu - price) / weight + aim
        eps = 4e-15 * (size + abs(wanted) + abs(aim))
        if wanted >= above - eps and wanted <= below + eps:
            _share_jump(nu, wanted - above, below - above, low, high, slope, curve, power, start, end)
            # On a jump the assets take whatever q is wanted: there q follows the price alone.
            return wanted, 1.0 / weight if below > above else fall / (1.0 + weight * fall), nu
        if wanted < above:
            floor = nu
            new = min(nu + (above - wanted) / (fall + 1.0 / weight), jump_up)
        else:
            ceiling = nu
            new = max(nu + (below - wanted) / (fall + 1.0 / weight), jump_down)
        if abs(new - nu) <= 1e-15 * abs(nu) and new not in (jump_up, jump_down):
            break
        if not floor < new < ceiling:
            new = 0.5 * (floor + ceiling)
            if not floor < new < ceiling:
                break
        nu = new
    return above, fall / (1.0 + weight * fall), nu


@njit(cache=True, error_model="numpy")
def _balance(  # type: ignore[no-untyped-def]  # noqa: PLR0911, PLR0912, PLR0915
    price, weight, aim, importing, exporting,
    target, step, buying, selling, least, most, proposal, first, last,
    low, high, slope, curve, power, start, end,
):  # fmt: skip
    """Root of what a peer buys less what it consumes: its price, what its assets see, and its import."""
    floor = -np.inf
    ceiling = np.inf
    price = min(max(price if np.isfinite(price) else 0.0, exporting), importing)
    nu = price
    far = 1e-6 * (1.0 + abs(price))
    edge = np.nan
    for turn in range(MOST_STEPS):
        bought, rise = _bought(price, target, step, buying, selling, least, most, proposal, first, last)
        jump_down = -np.inf
        jump_up = np.inf
        if weight > 0.0:
            above, fall, nu = _consumed_limited(price, weight, aim, low, high, slope, curve, power, start, end)
            below = above
            size = abs(above)
        else:
            nu = price
            above, below, fall, jump_down, jump_up, size = _consumed(price, low, high, slope, curve, power, start, end)
        eps = 4e-15 * (size + abs(bought))
        short = above - bought
        spare = bought - below
        if short <= eps and spare <= eps:
            rest = bought
            if below > above:
                _share_jump(price, rest - above, below - above, low, high, slope, curve, power, start, end)
            return price, nu, 0.0
        up = short > 0.0
        if up and price >= importing:
            return price, nu, short
        if not up and price <= exporting:
            if below > above:
                _share_jump(price, 1.0, 1.0, low, high, slope, curve, power, start, end)
            return price, nu, -spare
        along = rise + fall
        if along == 0.0:
            along = _slope_beside(price, target, step, buying, selling, least, most, first, last, up)
        if along > 0.0:
            new = price + (short if up else -spare) / along
        else:
            new = _next_kink(
                price, nu - price, target, step, buying, selling, least, most, first, last,
                low, high, slope, curve, start, end, up,
            )  # fmt: skip
            if not np.isfinite(new) or abs(new - price) <= 1e-15 * abs(price):
                # Rounding may hide the last kink just behind the price: look ever further.
                if far > FARTHEST:
                    return edge, edge + nu - price, 0.0
                edge = edge if np.isfinite(edge) else price
                far *= 8.0
                new = price + (far if up else -far)
        if up:
            floor = price
            new = min(new, jump_up, importing)
        else:
            ceiling = price
            new = max(new, jump_down, exporting)
        # A jump, however near, is stepped on: only there can it be shared.
        if abs(new - price) <= 1e-15 * abs(price) and new not in (jump_up, jump_down):
            return price, nu, 0.0
        if not floor < new < ceiling or (turn > 40 and turn % 2 and np.isfinite(floor) and np.isfinite(ceiling)):
            new = 0.5 * (floor + ceiling)
            if not floor < new < ceiling:
                return price, nu, 0.0
        price = new
    return price, nu, 0.0


@njit(cache=True, error_model="numpy")
def _answer(  # type: ignore[no-untyped-def]
    begin, stop, links_from, pieces_from, copies_from, copy_slot,
    target, step, buying, selling, least, most, proposal,
    low, high, slope, curve, power,
    price, seen, imported, import_price, export_price,
):  # fmt: skip
    """The answers of some peers, counted through all MTUs."""
    peers = price.shape[1]
    for node in range(begin, stop):
        t = node // peers
        n = node % peers
        weight = 0.0
        aim = 0.0
        for c in range(copies_from[n], copies_from[n + 1]):
            e = copy_slot[c]
            weight += 1.0 / step[e]
            aim += target[t, e] / step[e]
        if weight > 0.0:
            aim /= weight
        price[t, n], seen[t, n], imported[t, n] = _balance(
            price[t, n], weight, aim, import_price[t, n], export_price[t, n],
            target[t], step, buying, selling, least, most, proposal[t], links_from[n], links_from[n + 1],
            low[t], high[t], slope[t], curve[t], power[t], pieces_from[n], pieces_from[n + 1],
        )  # fmt: skip
        if copies_from[n] < copies_from[n + 1]:
            net = imported[t, n]
            for e in range(links_from[n], links_from[n + 1]):
                net += proposal[t, e]
            for c in range(copies_from[n], copies_from[n + 1]):
                proposal[t, copy_slot[c]] = net


@njit(cache=True, parallel=True, error_model="numpy")
def _answer_in_chunks(count, *rest):  # type: ignore[no-untyped-def]
    for chunk in prange(CHUNKS):
        _answer(chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS, *rest)


def answer_all(
    links_from: Indices, pieces_from: Indices, copies_from: Indices, copy_slot: Indices,
    target: Floats, step: Floats, buying: Floats, selling: Floats, least: Floats, most: Floats, proposal: Floats,
    low: Floats, high: Floats, slope: Floats, curve: Floats, power: Floats,
    price: Floats, seen: Floats, imported: Floats, import_price: Floats, export_price: Floats,
) -> None:  # fmt: skip
    """Writes every peer's answer in every MTU: proposals, powers, prices and import.

    Parameters
    ----------
    links_from, pieces_from, copies_from : (N + 1,) where each peer's links, pieces and copies for limits begin
    copy_slot : (C,) slot of each copy
    target, proposal : (T, W) kW
    step : (W,) kW per currency/kWh, inverses of the penalties
    buying, selling : (W,) kW, costs times step
    least, most : (W,) kW
    low, high, slope, curve, power : (T, K) pieces of the assets, sorted by peer
    price, seen, imported, import_price, export_price : (T, N); a negative import is an export, and the price
        that a peer's assets see is that of its trades plus those of its limits. Prices are where the search begins.
    """
    rest: tuple[Any, ...] = (
        links_from, pieces_from, copies_from, copy_slot, target, step, buying, selling, least, most, proposal,
        low, high, slope, curve, power, price, seen, imported, import_price, export_price,
    )  # fmt: skip
    # An answer takes some ten operations for each slot.
    if 10 * target.size < SMALL:
        _answer(0, price.size, *rest)
    else:
        _answer_in_chunks(price.size, *rest)
