r"""The network simplex method for flows between peers and a grid that takes and gives any amount.

It keeps a spanning tree rooted at the grid, in which each peer hangs on its parent by one arc. The tree gives the flows
(what a subtree needs passes its arc) and the prices (:math:`p_m = p_n + c_{nm}` along its arcs); an arc that breaks
:math:`p_m \le p_n + c_{nm}` enters, and one that the flow then empties leaves.

Many peers need nothing, many arcs of the tree carry nothing, and pivots that move nothing could cycle. They do not
where every empty arc points to the root: among the arcs that empty, the last one after the apex of the cycle leaves.

References
----------
W. H. Cunningham (1976), "A network simplex method", Mathematical Programming 11: strongly feasible trees.
"""

import numpy as np
from numba import njit

TOLERANCE = 1e-12
"""Relative to the largest price: how far an arc may break its inequality before it enters the tree."""

_PIVOTS_PER_ARC = 200
"""Far more than ever counted; reaching it means that rounding keeps the method from ending."""


@njit(cache=True, error_model="numpy")
def network_simplex(need, tail, head, cost, links):  # type: ignore[no-untyped-def]
    """A cheapest tree of arcs for N peers; node N is the grid, arcs from ``links`` on are N imports, then N exports.

    Parameters
    ----------
    need : (N,) kWh, negative for what is to spare
    tail, head, cost : (A,) ends of each arc and its currency/kWh; no cycle of negative cost
    links : number of arcs between peers

    Returns
    -------
    price : (N + 1,) currency/kWh, 0 for the grid
    arc, flow : (N,) the arc of each peer in the tree and its kWh
    ended : whether it is optimal
    """
    peers = need.size
    arcs = tail.size
    parent = np.full(peers + 1, peers)
    arc = np.empty(peers, dtype=np.int64)
    flow = np.empty(peers)
    upwards = np.empty(peers, dtype=np.bool_)
    depth = np.ones(peers + 1, dtype=np.int64)
    price = np.zeros(peers + 1)
    family = (np.full(peers + 1, -1), np.arange(1, peers + 2), np.arange(-1, peers))
    first_child, after, _ = family
    first_child[peers] = 0 if peers else -1
    if peers:
        after[peers - 1] = -1
    depth[peers] = 0
    # Every peer begins at the grid. One that needs nothing exports nothing: empty arcs point to the root.
    for n in range(peers):
        upwards[n] = need[n] <= 0.0
        arc[n] = links + n + (peers if upwards[n] else 0)
        flow[n] = abs(need[n])
        price[n] = -cost[arc[n]] if upwards[n] else cost[arc[n]]
    tolerance = TOLERANCE * max(1.0, np.abs(cost).max()) if arcs else 0.0
    block = max(16, int(np.sqrt(arcs)))
    position = 0
    for _ in range(_PIVOTS_PER_ARC * arcs + 1):
        entering, position = _entering(tail, head, cost, price, position, block, tolerance)
        if entering < 0:
            _settle_flows(need, parent, upwards, first_child, after, flow)
            return price, arc, flow, True
        giver, taker = tail[entering], head[entering]
        leaving, by_tail = _push(giver, taker, parent, depth, upwards, flow)
        if leaving < 0:
            break
        moved, anchor = (giver, taker) if by_tail else (taker, giver)
        _regraft(moved, anchor, leaving, entering, by_tail, (parent, arc, upwards, flow), family)
        _reprice(moved, parent, arc, upwards, depth, price, cost, first_child, after)
    return price, arc, flow, False


@njit(cache=True, error_model="numpy")
def _entering(tail, head, cost, price, position, block, tolerance):  # type: ignore[no-untyped-def]
    """The arc that breaks its inequality most in the next block that has one, or -1; where the next search begins."""
    arcs = tail.size
    worst, best, left = -tolerance, -1, block
    for _ in range(arcs):
        reduced = cost[position] + price[tail[position]] - price[head[position]]
        if reduced < worst:
            worst, best = reduced, position
        position += 1
        if position == arcs:
            position = 0
        left -= 1
        if left == 0:
            if best >= 0:
                return best, position
            left = block
    return best, position


@njit(cache=True, error_model="numpy")
def _push(giver, taker, parent, depth, upwards, flow):  # type: ignore[no-untyped-def]
    """Sends along the arc giver -> taker what the cycle through the tree bears.

    Returns the peer whose arc empties, -1 for none; and whether it lies on the way to the arc's tail. The new arc's
    flow is left in the flow of that peer.
    """
    amount, leaving, by_tail = np.inf, -1, True
    a, b = giver, taker
    # Flow turns the cycle from the apex down to the giver, over the arc, and up from the taker to the apex again.
    while a != b:
        if depth[a] >= depth[b]:
            if upwards[a] and flow[a] < amount:
                amount, leaving, by_tail = flow[a], a, True
            a = parent[a]
        else:
            b = parent[b]
    apex = a
    b = taker
    while b != apex:
        if not upwards[b] and flow[b] <= amount:
            amount, leaving, by_tail = flow[b], b, False
        b = parent[b]
    if leaving < 0:
        return leaving, by_tail
    a, b = giver, taker
    while a != apex:
        flow[a] += -amount if upwards[a] else amount
        a = parent[a]
    while b != apex:
        flow[b] += amount if upwards[b] else -amount
        b = parent[b]
    flow[leaving] = amount
    return leaving, by_tail


@njit(cache=True, error_model="numpy")
def _regraft(moved, anchor, leaving, entering, by_tail, tree, family):  # type: ignore[no-untyped-def]
    """Hangs the subtree that the leaving arc cuts off on the entering arc, with ``moved`` at its top."""
    parent, arc, upwards, flow = tree
    first_child, after, before = family
    new_parent, new_arc, new_upwards, new_flow = anchor, entering, by_tail, flow[leaving]
    node = moved
    while True:
        old_parent, old_arc, old_upwards, old_flow = parent[node], arc[node], upwards[node], flow[node]
        if before[node] >= 0:
            after[before[node]] = after[node]
        else:
            first_child[old_parent] = after[node]
        if after[node] >= 0:
            before[after[node]] = before[node]
        parent[node], arc[node], upwards[node], flow[node] = new_parent, new_arc, new_upwards, new_flow
        before[node], after[node] = -1, first_child[new_parent]
        if after[node] >= 0:
            before[after[node]] = node
        first_child[new_parent] = node
        if node == leaving:
            return
        new_parent, new_arc, new_upwards, new_flow = node, old_arc, not old_upwards, old_flow
        node = old_parent


@njit(cache=True, error_model="numpy")
def _next(node, top, parent, first_child, after):  # type: ignore[no-untyped-def]
    """The node after another one where parents come first, or -1 at the end of a subtree."""
    if first_child[node] >= 0:
        return first_child[node]
    while node != top and after[node] < 0:
        node = parent[node]
    return -1 if node == top else after[node]


@njit(cache=True, error_model="numpy")
def _reprice(top, parent, arc, upwards, depth, price, cost, first_child, after):  # type: ignore[no-untyped-def]
    """Prices and depths of a subtree, afresh from its parent, so that rounding does not add up."""
    node = top
    while node >= 0:
        above = parent[node]
        depth[node] = depth[above] + 1
        price[node] = price[above] + (-cost[arc[node]] if upwards[node] else cost[arc[node]])
        node = _next(node, top, parent, first_child, after)


@njit(cache=True, error_model="numpy")
def _settle_flows(need, parent, upwards, first_child, after, flow):  # type: ignore[no-untyped-def]
    """Flows afresh from the tree: what a subtree needs passes its arc."""
    peers = need.size
    order = np.empty(peers, dtype=np.int64)
    node, count = first_child[peers], 0
    while count < peers:
        order[count] = node
        count += 1
        node = _next(node, peers, parent, first_child, after)
    through = np.zeros(peers + 1)
    through[:peers] = need
    for position in range(peers - 1, -1, -1):
        node = order[position]
        flow[node] = max(0.0, -through[node] if upwards[node] else through[node])
        through[parent[node]] += through[node]
