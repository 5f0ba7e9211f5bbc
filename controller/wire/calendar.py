"""The calendar of a microgrid: when windows open, close, are decided and settled, and what energy costs."""

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration

from controller.microgrid import AHEAD_MINUTES, Microgrid, TariffPeriod, TimingPreset, Window, WindowTiming
from controller.refusals import invalid, not_now
from controller.store.market import WindowRow
from controller.wire import fields
from gridpact.v1 import dispatch_pb2, operator_pb2

MAX_MTUS = 192
MAX_AHEAD_MINUTES = 7 * 1440
MAX_PERIODS = 10_000
PRESETS = {
    TimingPreset.BIDDING_60_10_2_3: (60, 2, WindowTiming(bidding_minutes=10, settlement_minutes=3)),
    TimingPreset.NEGOTIATION_55_5: (60, 5, WindowTiming(bidding_minutes=55)),
}
"""Of each published practice: the window's length, the gate's lead, and the rest."""


def read_timing(message: operator_pb2.Microgrid, at: str) -> tuple[int, int, WindowTiming]:
    """A window's length and its gate's lead in minutes, and when its other steps happen."""
    stated = message.timing
    if stated.preset not in operator_pb2.TimingPreset.values():
        raise invalid(f"{at}.timing.preset", got=str(stated.preset), wanted="a TimingPreset")
    name = operator_pb2.TimingPreset.Name(stated.preset).removeprefix("TIMING_PRESET_")
    preset = TimingPreset.CUSTOM if name == "UNSPECIFIED" else TimingPreset(name)
    if preset is not TimingPreset.CUSTOM:
        return _of_preset(message, at, preset)
    window = fields.minutes(f"{at}.window", message.window)
    lead = fields.minutes(f"{at}.gate_closure_lead", message.gate_closure_lead, lower=1)
    bidding = None
    if stated.HasField("bidding"):
        bidding = fields.minutes(f"{at}.timing.bidding", stated.bidding, lower=1, upper=MAX_AHEAD_MINUTES)
    timing = WindowTiming(
        bidding_minutes=bidding,
        deadline_minutes=fields.minutes(f"{at}.timing.decision_lead", stated.decision_lead, upper=lead - 1),
        settlement_minutes=fields.minutes(f"{at}.timing.settlement_wait", stated.settlement_wait),
    )
    return window, lead, timing


def _of_preset(message: operator_pb2.Microgrid, at: str, preset: TimingPreset) -> tuple[int, int, WindowTiming]:
    """What a preset says; whoever says something else beside it means something else."""
    window, lead, known = PRESETS[preset]
    stated = message.timing
    for field, got, minutes in (
        ("window", message.window if message.HasField("window") else None, window),
        ("gate_closure_lead", message.gate_closure_lead if message.HasField("gate_closure_lead") else None, lead),
        ("timing.bidding", stated.bidding if stated.HasField("bidding") else None, known.bidding_minutes or 0),
        ("timing.decision_lead", stated.decision_lead if stated.HasField("decision_lead") else None, 0),
        (
            "timing.settlement_wait",
            stated.settlement_wait if stated.HasField("settlement_wait") else None,
            known.settlement_minutes,
        ),
    ):
        if got is not None and (got.seconds, got.nanos) != (minutes * 60, 0):
            raise invalid(
                f"{at}.{field}", got=f"{got.seconds} s", wanted=f"{minutes} min, as {preset.value} says, or none"
            )
    timing = WindowTiming(
        preset=preset,
        bidding_minutes=known.bidding_minutes,
        deadline_minutes=known.deadline_minutes,
        settlement_minutes=known.settlement_minutes,
    )
    return window, lead, timing


def read_planning(message: operator_pb2.Microgrid, at: str, *, mtu: int, window: int) -> int:
    """How many minutes the planning of a window without an end of all looks ahead."""
    longest = MAX_MTUS * mtu
    if not message.HasField("planning_horizon"):
        minutes = max(window, min(1440, longest) // mtu * mtu)
    else:
        minutes = fields.minutes(f"{at}.planning_horizon", message.planning_horizon, upper=longest)
    if minutes % mtu or not window <= minutes <= longest:
        raise invalid(
            f"{at}.planning_horizon",
            got=f"{minutes} min",
            wanted=f"whole MTUs of {mtu} min, at least the window's {window} min, at most {MAX_MTUS} MTUs",
        )
    return minutes


def read_ahead(message: operator_pb2.Microgrid, at: str, *, lead: int, timing: WindowTiming) -> int:
    """How many minutes before their start windows are opened."""
    least = lead + (timing.bidding_minutes or 1)
    if not message.HasField("order_ahead"):
        return max(AHEAD_MINUTES, least)
    return fields.minutes(f"{at}.order_ahead", message.order_ahead, lower=least, upper=MAX_AHEAD_MINUTES)


def read_tariff(
    messages: Sequence[operator_pb2.TariffPeriod], field: str, *, start: int, mtu: int
) -> tuple[TariffPeriod, ...]:
    """Periods of whole MTUs without gaps from an instant on."""
    if len(messages) > MAX_PERIODS:
        raise invalid(field, got=f"{len(messages)} periods", wanted=f"at most {MAX_PERIODS}")
    periods = []
    reached = start
    for k, period in enumerate(messages):
        at = f"{field}[{k}]"
        first, last = fields.interval(f"{at}.interval", period.interval)
        if first != reached or (last - first) % mtu:
            raise invalid(f"{at}.interval", got=f"{first} to {last}", wanted=f"whole MTUs from {reached} on")
        most = fields.MAX_PRICE_MICRO_PER_KWH
        imported = fields.number(
            f"{at}.import_price_micro_per_kwh", period.import_price_micro_per_kwh, lower=-most, upper=most
        )
        exported = fields.number(
            f"{at}.export_price_micro_per_kwh", period.export_price_micro_per_kwh, lower=-most, upper=most
        )
        if exported > imported:
            raise invalid(
                f"{at}.export_price_micro_per_kwh", got=str(exported), wanted=f"at most the import price {imported}"
            )
        periods.append(
            TariffPeriod(
                start=first, end=last, import_price_micro_per_kwh=imported, export_price_micro_per_kwh=exported
            )
        )
        reached = last
    return tuple(periods)


def timing_message(timing: WindowTiming) -> operator_pb2.WindowTiming:
    """The message of a timing."""
    message = operator_pb2.WindowTiming(
        preset=operator_pb2.TimingPreset.Value(f"TIMING_PRESET_{timing.preset.value}"),
        decision_lead=Duration(seconds=timing.deadline_minutes * 60),
        settlement_wait=Duration(seconds=timing.settlement_minutes * 60),
    )
    if timing.bidding_minutes is not None:
        message.bidding.seconds = timing.bidding_minutes * 60
    return message


def window_message(row: WindowRow, microgrid: Microgrid) -> operator_pb2.Window:
    """The message of a window; amendments are for whom they concern, and left out."""
    return operator_pb2.Window(
        name=row.name,
        interval=fields.interval_message(row.start, row.end),
        state=dispatch_pb2.WindowState.Value(f"WINDOW_STATE_{row.state}"),
        gate_open_time=fields.timestamp(row.opens) if row.opens else None,
        gate_close_time=fields.timestamp(row.closes),
        decision_deadline=fields.timestamp(row.deadline),
        settlement_time=fields.timestamp(row.settles),
        failure=row.failure,
        source=row.source,
        tariff_known=microgrid.priced_until(row.start) >= row.end,
    )


def require_open_gate(row: WindowRow, now: float) -> None:
    """Refuse an order before the window's gate opens, and after it has closed.

    Raises
    ------
    Refusal
        FAILED_PRECONDITION, with the instant.
    """
    if row.state != "OPEN" or now >= row.closes:
        raise not_now("GATE_CLOSED", f"{row.name}: its gate has closed")
    if now < row.opens:
        opens = datetime.fromtimestamp(row.opens, UTC).isoformat()
        raise not_now("GATE_NOT_OPEN", f"{row.name}: its gate opens at {opens}")


def order_mtus(microgrid: Microgrid, window: Window) -> tuple[int | None, int]:
    """How many MTUs an order for a window has at least and at most; None for exactly the most."""
    most = len(microgrid.mtus(window.start, microgrid.planning_end(window.start)))
    return (len(microgrid.mtus(window.start, window.end)) if microgrid.rolling else None), most
