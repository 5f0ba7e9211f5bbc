r"""Piecewise-linear functions of one number, convex or not: what value functions of stores are made of.

A function is two arrays, its breakpoints :math:`x_0 \le x_1 \le \dots` and its values there; outside it is infinite.
Two breakpoints at one place are a jump, where the lower value holds. In a gap of its domain it is ``NOWHERE``.

The operation that dynamic programming needs is the infimal convolution with a convex cost :math:`c`,

.. math::

    (f \mathbin{\square} c)(x) = \min_u\ f(x - u) + c(u)

Of two convex functions its graph is made of the pieces of both in the order of their slopes. Any other f is the least
of its convex runs, and the convolution with the least of functions is the least of the convolutions: exact, without a
grid.

References
----------
R. T. Rockafellar (1970), "Convex Analysis", theorem 5.4 and section 16: infimal convolution.
"""

import numpy as np
from numba import njit

FLAT = 1e-13
"""A breakpoint this near to the line between its neighbours, relative to one and its value, is none."""

NOWHERE = 1e15
"""What a function is taken to be in a gap of its domain: far above any cost."""

_CONCAVE = 1e-12
"""A bend by less than this, relative to one and the value, does not end a convex run: it is rounding."""


@njit(cache=True, error_model="numpy")
def append(x, y, xs, ys, count):  # type: ignore[no-untyped-def]
    """Appends a breakpoint to a function, without those that say nothing; the number of breakpoints."""
    flat = FLAT * (1.0 + abs(y))
    # Both ends of a gap stay however narrow it is: a piece from one of them to a value would be steep beyond counting.
    near = count > 0 and y < 0.5 * NOWHERE and x - xs[count - 1] <= FLAT * (1.0 + abs(x))
    if near and abs(y - ys[count - 1]) <= flat:
        return count
    if count > 1:
        before = xs[count - 1] - xs[count - 2]
        width = x - xs[count - 2]
        bend = (y - ys[count - 2]) * before - (ys[count - 1] - ys[count - 2]) * width
        if before > 0.0 and x > xs[count - 1] and abs(bend) <= flat * width:
            xs[count - 1] = x
            ys[count - 1] = y
            return count
    xs[count] = x
    ys[count] = y
    return count + 1


@njit(cache=True, error_model="numpy")
def convex_run(xs, ys, count, start):  # type: ignore[no-untyped-def]
    """The last breakpoint of the convex run that begins at a breakpoint."""
    end = start
    while end + 1 < count:
        width = xs[end + 1] - xs[end]
        if width <= 0.0:
            break
        if end > start:
            before = xs[end] - xs[end - 1]
            bend = (ys[end] - ys[end - 1]) * width - (ys[end + 1] - ys[end]) * before
            if bend > _CONCAVE * (1.0 + abs(ys[end])) * (width + before):
                break
        end += 1
    return end


@njit(cache=True, error_model="numpy")
def convolved(xs, ys, start, end, us, cs, pieces, lower, upper, out_x, out_y):  # type: ignore[no-untyped-def]
    """Writes a convex run convolved with a convex cost, as far as it lies within bounds; the number of breakpoints."""
    if xs[start] + us[0] > upper or xs[end] + us[pieces - 1] < lower:
        return 0
    i = start
    j = 0
    x = xs[start] + us[0]
    y = ys[start] + cs[0]
    count = 0
    if x >= lower:
        out_x[0] = x
        out_y[0] = y
        count = 1
    while i < end or j < pieces - 1:
        if j == pieces - 1:
            run = True
        elif i == end:
            run = False
        else:
            dy = ys[i + 1] - ys[i]
            dc = cs[j + 1] - cs[j]
            run = dy * (us[j + 1] - us[j]) <= dc * (xs[i + 1] - xs[i])
        if run:
            i += 1
        else:
            j += 1
        next_x = xs[i] + us[j]
        next_y = ys[i] + cs[j]
        if next_x > lower:
            if x <= lower:
                out_x[0] = lower
                out_y[0] = y + (next_y - y) * ((lower - x) / (next_x - x))
                count = 1
            if next_x >= upper:
                share = (upper - x) / (next_x - x) if next_x > x else 1.0
                return append(upper, y + (next_y - y) * share, out_x, out_y, count)
            count = append(next_x, next_y, out_x, out_y, count)
        x = next_x
        y = next_y
    if count == 0:
        out_x[0] = x
        out_y[0] = y
        count = 1
    return count


@njit(cache=True, error_model="numpy")
def _on_piece(xs, ys, i, x):  # type: ignore[no-untyped-def]
    """The value at a place on or between a breakpoint and the next."""
    if x == xs[i]:
        return ys[i]
    if x >= xs[i + 1]:
        return ys[i + 1]
    return ys[i] + (ys[i + 1] - ys[i]) * ((x - xs[i]) / (xs[i + 1] - xs[i]))


@njit(cache=True, error_model="numpy")
def moved(xs, ys, count, by, cost, lower, upper, out_x, out_y):  # type: ignore[no-untyped-def]
    """Writes a function moved by a distance at a cost, as far as it lies within bounds; the number of breakpoints."""
    n = 0
    for i in range(count):
        x = xs[i] + by
        if x < lower and (i + 1 == count or xs[i + 1] + by <= lower):
            continue
        if x < lower:
            n = append(lower, _on_piece(xs, ys, i, lower - by) + cost, out_x, out_y, n)
        elif x > upper:
            if n > 0 and out_x[n - 1] < upper:
                n = append(upper, _on_piece(xs, ys, i - 1, upper - by) + cost, out_x, out_y, n)
            break
        else:
            n = append(x, ys[i] + cost, out_x, out_y, n)
    return n


@njit(cache=True, error_model="numpy")
def lessen(ax, ay, a_count, bx, by, b_count, out_x, out_y):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    """Lessens the first of two functions to the second; its number of breakpoints.

    Only what lies within reach of the second is looked at. ``out`` is room for three times the breakpoints of both; the
    first function needs room for those of its own and of ``out``.
    """
    first = max(0, np.searchsorted(ax[:a_count], bx[0]) - 1)
    last = min(a_count - 1, np.searchsorted(ax[:a_count], bx[b_count - 1], side="right"))
    i = first
    j = 0
    count = 0
    lessened = bx[0] < ax[0] or bx[b_count - 1] > ax[a_count - 1]
    x = min(ax[i], bx[0])
    while i < last and ax[i + 1] <= x:
        i += 1
    while j + 1 < b_count and bx[j + 1] <= x:
        j += 1
    if ax[first] < bx[0]:
        # What stands before is joined on as it is, its jumps too.
        i = first
    while i < last or j + 1 < b_count:
        has_a = i < last and ax[i] <= x
        has_b = j + 1 < b_count and bx[j] <= x
        step = np.inf
        if i < last:
            step = min(step, ax[i + 1] if has_a else ax[i])
        if j + 1 < b_count:
            step = min(step, bx[j + 1] if has_b else bx[j])
        if has_a and has_b:
            a0 = _on_piece(ax, ay, i, x)
            a1 = _on_piece(ax, ay, i, step)
            b0 = _on_piece(bx, by, j, x)
            b1 = _on_piece(bx, by, j, step)
            lessened = lessened or b0 < a0 or b1 < a1
            count = append(x, min(a0, b0), out_x, out_y, count)
            if (a0 - b0) * (a1 - b1) < 0.0:
                share = (a0 - b0) / ((a0 - b0) - (a1 - b1))
                count = append(x + (step - x) * share, a0 + (a1 - a0) * share, out_x, out_y, count)
            count = append(step, min(a1, b1), out_x, out_y, count)
        elif has_a:
            count = append(x, _on_piece(ax, ay, i, x), out_x, out_y, count)
            count = append(step, _on_piece(ax, ay, i, step), out_x, out_y, count)
        elif has_b:
            count = append(x, _on_piece(bx, by, j, x), out_x, out_y, count)
            count = append(step, _on_piece(bx, by, j, step), out_x, out_y, count)
        else:
            if count == 0:
                count = append(x, ay[i], out_x, out_y, count)
            count = append(x, NOWHERE, out_x, out_y, count)
            count = append(step, NOWHERE, out_x, out_y, count)
        x = step
        while i < last and ax[i + 1] <= x:
            i += 1
        while j + 1 < b_count and bx[j + 1] <= x:
            j += 1
    if not lessened:
        return a_count
    count = _joined(out_x, out_y, count, ax[last], ay[last])
    return _spliced(ax, ay, a_count, first, last, out_x, out_y, count)


@njit(cache=True, error_model="numpy")
def _joined(xs, ys, count, x, y):  # type: ignore[no-untyped-def]
    """Joins a breakpoint on to a function that may end before; the number of breakpoints."""
    if count > 0 and xs[count - 1] >= x:
        return count
    if count > 0:
        count = append(xs[count - 1], NOWHERE, xs, ys, count)
        count = append(x, NOWHERE, xs, ys, count)
    return append(x, y, xs, ys, count)


@njit(cache=True, error_model="numpy")
def _spliced(xs, ys, count, first, last, new_x, new_y, new_count):  # type: ignore[no-untyped-def]
    """Puts new breakpoints where those from the first to the last were; the number of all."""
    by = new_count - (last - first + 1)
    if by > 0:
        for k in range(count - 1, last, -1):
            xs[k + by] = xs[k]
            ys[k + by] = ys[k]
    elif by < 0:
        for k in range(last + 1, count):
            xs[k + by] = xs[k]
            ys[k + by] = ys[k]
    for k in range(new_count):
        xs[first + k] = new_x[k]
        ys[first + k] = new_y[k]
    return count + by


@njit(cache=True, error_model="numpy")
def settled(xs, ys, count, keep, drift, slope, under, lower, over, upper, out_x, out_y):  # type: ignore[no-untyped-def]
    r"""Writes :math:`f(\kappa s + d) + a s + b \max(0, l - s) + c \max(0, s - u)`; the number of breakpoints.

    Needs room for two breakpoints more.
    """
    n = 0
    last = 0.0
    for i in range(count):
        s = (xs[i] - drift) / keep
        if i > 0 and under > 0.0 and last < lower < s:
            y = ys[i - 1] + (ys[i] - ys[i - 1]) * ((lower - last) / (s - last))
            out_x[n] = lower
            out_y[n] = y + slope * lower
            n += 1
        if i > 0 and over > 0.0 and last < upper < s:
            y = ys[i - 1] + (ys[i] - ys[i - 1]) * ((upper - last) / (s - last))
            # A band that is a single point has had its breakpoint; a second one would look like a jump.
            if n == 0 or out_x[n - 1] < upper:
                out_x[n] = upper
                out_y[n] = y + slope * upper
                n += 1
        out_x[n] = s
        out_y[n] = ys[i] + slope * s + under * max(0.0, lower - s) + over * max(0.0, s - upper)
        n += 1
        last = s
    return n
