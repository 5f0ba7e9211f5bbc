"""Whether a window's trades follow from a clearing that keeps every rule of what was decided on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller import planning, problem, relaxing
from controller.errors import InputError
from controller.microgrid import Trade
from controller.sealing import trade_of
from controller.snapshot import Snapshot
from controller.uplifts import Uplift, uplifts_of
from controller.validating.evidence import DoubtError, Frozen, WindowEvidence
from controller.witness import Witness, unpack
from optimization.errors import OptimizationError
from optimization.regret import standing

ALIKE_MICRO = 10
"""Another processor adds floats up in another order: what members have ahead of them alone may differ by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """A clearing that was computed again.

    Attributes
    ----------
    snapshot : what it was decided on, with the limits relaxed as it says
    witness : what the solver answered
    decision : what follows from that
    relaxed_further : targets of limits that gave more than each MTU by itself shows; the solver's word alone
    """

    snapshot: Snapshot
    witness: Witness
    decision: planning.Decision
    relaxed_further: tuple[str, ...]


def recompute(frozen: Frozen, packed: bytes) -> Recomputed:
    """What a solver's answer means, checked without any of its code and rounded again.

    Raises
    ------
    DoubtError
        If the answer cannot be read, is for another problem, or breaks a rule of it.
    """
    what = f"clearing {frozen.number}"
    try:
        witness = unpack(packed)
        simple = relaxing.relaxed(frozen.snapshot)
        snapshot = replace(frozen.snapshot, relaxed=witness.relaxed)
        decision = planning.decide(snapshot, problem.build(snapshot), witness.clearing)
    except (OptimizationError, InputError) as err:
        raise DoubtError(f"{what}: {err}") from err
    except (LookupError, ValueError, TypeError) as err:
        raise DoubtError(f"{what}: got {type(err).__name__}: {err}, wanted an answer to the window's inputs") from err
    further = tuple(target for target, periods in witness.relaxed.items() if periods != simple.relaxed.get(target, ()))
    return Recomputed(snapshot=snapshot, witness=witness, decision=decision, relaxed_further=further)


def check_trades(evidence: WindowEvidence) -> dict[int, Recomputed]:
    """Each clearing of the window that made trades, or could have, computed again, by its number.

    Raises
    ------
    DoubtError
        If a trade is another than follows, or one is missing or too many.
    """
    found: dict[int, Recomputed] = {}
    first = 0
    leaves = evidence.books.trades
    for frozen in evidence.frozen():
        count = len(leaves) if frozen.trades is None else frozen.trades
        own = [trade_of(leaf) for leaf in leaves[first : first + count]]
        packed = evidence.clearings.get(frozen.number)
        if packed is not None:
            found[frozen.number] = recompute(frozen, packed)
            _compare(own, found[frozen.number].decision.trades, first)
        elif own:
            raise DoubtError(f"trade {first}: got one of clearing {frozen.number}, of which there is no answer")
        first += count
    if first != len(leaves):
        raise DoubtError(f"trades: got {len(leaves)}, the window's clearings made {first}")
    return found


def _compare(stated: Sequence[Trade], computed: Sequence[Trade], first: int) -> None:
    for place, (got, wanted) in enumerate(zip(stated, computed, strict=False), start=first):
        if got != wanted:
            raise DoubtError(f"trade {place}: got {_text(got)}, the clearing gives {_text(wanted)}")
    if len(stated) != len(computed):
        raise DoubtError(f"trades: got {len(stated)}, the clearing gives {len(computed)}")


def _text(trade: Trade) -> str:
    parties = f"{trade.seller} to {trade.buyer} at {trade.mtu_start}"
    return f"{trade.energy_wh} Wh from {parties} for {trade.price_micro_per_kwh} micro/kWh"


def check_positions(snapshot: Snapshot, trades: Sequence[Trade], done: Recomputed) -> None:
    """Refuse trades that do not sum up to what each member was scheduled to take: counted here once more, plainly.

    Raises
    ------
    DoubtError
        If energy was made or lost.
    """
    net: defaultdict[tuple[str, int], int] = defaultdict(int)
    for trade in trades:
        net[trade.buyer, trade.mtu_start] += trade.energy_wh
        net[trade.seller, trade.mtu_start] -= trade.energy_wh
    places = {mtu: k for k, mtu in enumerate(snapshot.window_mtus())}
    for (member, mtu), position in done.decision.positions.items():
        before = snapshot.bought_wh.get(member, ()), snapshot.grid_wh.get(member, ())
        earlier = sum(series[places[mtu]] for series in before if series)
        if net[member, mtu] + earlier != position:
            got = f"{net[member, mtu] + earlier} Wh of {member} at {mtu}"
            raise DoubtError(f"trades: got {got}, its position is {position} Wh")


def check_uplifts(evidence: WindowEvidence, done: Recomputed | None) -> None:
    """Refuse uplifts that the clearing does not give.

    Raises
    ------
    DoubtError
        If one differs.
    """
    stated = evidence.uplifts
    if not stated:
        return
    if done is None:
        raise DoubtError(f"uplifts: got {len(stated)} of a window without a clearing, wanted none")
    community = problem.build(done.snapshot)
    found = standing(community, done.witness.clearing.device_kw, len(done.snapshot.window_mtus()))
    computed = uplifts_of(done.snapshot, [peer.id for peer in community.peers], done.decision.trades, found)
    if [each.member for each in stated] != [each.member for each in computed]:
        raise DoubtError(f"uplifts: got those of {len(stated)} members, wanted each member's once")
    for got, wanted in zip(stated, computed, strict=True):
        if not _alike(got, wanted):
            raise DoubtError(f"uplift of {got.member}: got {got}, the clearing gives {wanted}")


def _alike(got: Uplift, wanted: Uplift) -> bool:
    exact = got.paid_micro == wanted.paid_micro
    near = ("alone_micro", "ahead_micro", "regret_micro", "received_micro", "uplift_micro")
    return exact and all(abs(getattr(got, name) - getattr(wanted, name)) <= ALIKE_MICRO for name in near)
