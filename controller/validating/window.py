"""Everything that a validator computes again of a window before it signs."""

from collections.abc import Sequence
from dataclasses import dataclass

from controller.sealing import trade_of
from controller.validating.books import check_books
from controller.validating.clearing import check_positions, check_trades, check_uplifts
from controller.validating.evidence import DoubtError, SealedRun, WindowEvidence
from controller.validating.settlement import check_postings, check_readings, facts_of
from controller.validating.signatures import check_limits, check_orders, check_vetoes

TAKEN = (
    "who is a member, with what devices, and at what tariff: the operator's word",
    "what devices said of their states: drivers sign nothing",
    "that no order, limit, veto or reading was left out",
    "the lower bound of the clearing's cost: the solver's word, it labels and gates nothing",
)
"""What no window's evidence can show: a validator's signature does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a window's check came to.

    Attributes
    ----------
    window, run : which
    taken : what was taken as it was stated, beside what always is
    """

    window: str
    run: int
    taken: tuple[str, ...]


def check_window(evidence: WindowEvidence, *, previous: bytes, before: Sequence[SealedRun] = ()) -> Checked:
    """What could not be computed again of a run of a window, everything else of which is right.

    Parameters
    ----------
    evidence : of the run
    previous : hash of the header before it
    before : the window's runs so far, in order

    Raises
    ------
    DoubtError
        With the first thing that does not follow from the rest, by window and record.
    """
    header = evidence.header
    try:
        return Checked(window=header.window, run=header.run, taken=_check(evidence, previous, before))
    except DoubtError as err:
        raise DoubtError(f"{header.window} run {header.run}: {err}") from err


def _check(evidence: WindowEvidence, previous: bytes, before: Sequence[SealedRun]) -> tuple[str, ...]:
    check_books(evidence, previous=previous, before=before)
    own = evidence.frozen()[0].snapshot
    taken = list(_decided(evidence) if not evidence.earlier else ())
    facts = facts_of(evidence)
    registers, unsigned = check_readings(evidence, own.microgrid.id, facts)
    taken += unsigned
    taken += check_postings(evidence, own, registers, facts)
    return tuple(dict.fromkeys(taken))


def _decided(evidence: WindowEvidence) -> tuple[str, ...]:
    """Check what was decided on and what followed from that; a correction changes nothing of it."""
    taken: list[str] = []
    frozen = evidence.frozen()
    for each in frozen:
        check_orders(evidence, each.snapshot)
        taken += [f"limit {id_}: signed by nobody" for id_ in check_limits(evidence, each.snapshot)]
        check_vetoes(evidence, each.snapshot)
    done = check_trades(evidence)
    first = 0
    for each in frozen:
        count = len(evidence.books.trades) if each.trades is None else each.trades
        if each.number in done:
            made = [trade_of(leaf) for leaf in evidence.books.trades[first : first + count]]
            check_positions(each.snapshot, made, done[each.number])
            taken += [f"limit of {target}: that it cannot be kept" for target in done[each.number].relaxed_further]
        first += count
    check_uplifts(evidence, done.get(0))
    if evidence.failure:
        taken.append(f"that the clearing failed: {evidence.failure}")
    return tuple(taken)
