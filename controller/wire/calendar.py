"""The calendar of a microgrid: when windows open, close, are decided and settled, and what energy costs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration

from controller.microgrid import AHEAD_MINUTES, Microgrid, TariffPeriod, TimingPreset, Window, WindowTiming
from controller.refusals import invalid, not_now
from controller.store.adjustments import AdjustmentRow
from controller.store.market import WindowRow
from controller.wire import fields
from gridpact.v1 import dispatch_pb2, operator_pb2

MAX_MTUS = 192
MAX_AHEAD_MINUTES = 7 * 1440
MAX_PERIODS = 10_000
QUARTER_MINUTES = 15
PRESETS = {
    TimingPreset.BIDDING_60_10_2_3: (60, 2, WindowTiming(bidding_minutes=10, settlement_minutes=3)),
    TimingPreset.NEGOTIATION_55_5: (60, 5, WindowTiming(bidding_minutes=55)),
    TimingPreset.HOURLY_FUTURES: (
        60,
        60,
        WindowTiming(deadline_minutes=50, adjustment_minutes=QUARTER_MINUTES, adjustment_lead_minutes=5),
    ),
}
"""Of each published practice: the window's length, the gate's lead, and the rest. Where market time units are longer
than a quarter of an hour, each is adjusted by itself."""


def read_timing(message: operator_pb2.Microgrid, at: str, *, mtu: int) -> tuple[int, int, WindowTiming]:
    """A window's length and its gate's lead in minutes, and when its other steps happen; ``mtu`` in minutes too."""
    stated = message.timing
    if stated.preset not in operator_pb2.TimingPreset.values():
        raise invalid(f"{at}.timing.preset", got=str(stated.preset), wanted="a TimingPreset")
    name = operator_pb2.TimingPreset.Name(stated.preset).removeprefix("TIMING_PRESET_")
    preset = TimingPreset.CUSTOM if name == "UNSPECIFIED" else TimingPreset(name)
    if preset is not TimingPreset.CUSTOM:
        return _of_preset(message, at, preset, mtu)
    window = fields.minutes(f"{at}.window", message.window)
    lead = fields.minutes(f"{at}.gate_closure_lead", message.gate_closure_lead, lower=1)
    bidding = None
    if stated.HasField("bidding"):
        bidding = fields.minutes(f"{at}.timing.bidding", stated.bidding, lower=1, upper=MAX_AHEAD_MINUTES)
    adjusted, adjusted_lead = _read_adjustments(stated, f"{at}.timing", mtu=mtu, window=window)
    timing = WindowTiming(
        bidding_minutes=bidding,
        deadline_minutes=fields.minutes(
            f"{at}.timing.decision_lead", stated.decision_lead, lower=adjusted_lead, upper=lead - 1
        ),
        settlement_minutes=fields.minutes(f"{at}.timing.settlement_wait", stated.settlement_wait),
        adjustment_minutes=adjusted,
        adjustment_lead_minutes=adjusted_lead,
    )
    return window, lead, timing


def _read_adjustments(stated: operator_pb2.WindowTiming, at: str, *, mtu: int, window: int) -> tuple[int | None, int]:
    """How long the parts of a window are that are adjusted, and how long before each its gate closes."""
    if not stated.HasField("adjustment_interval"):
        if stated.HasField("adjustment_lead"):
            raise invalid(f"{at}.adjustment_lead", got="one without an interval", wanted="adjustment_interval as well")
        return None, 0
    interval = fields.minutes(f"{at}.adjustment_interval", stated.adjustment_interval, lower=mtu)
    if interval % mtu or window % interval:
        raise invalid(
            f"{at}.adjustment_interval",
            got=f"{interval} min",
            wanted=f"whole MTUs of {mtu} min, of which as many make the window's {window} min",
        )
    # The gate of each closes when the one before it is decided, or later.
    return interval, fields.minutes(f"{at}.adjustment_lead", stated.adjustment_lead, lower=1, upper=interval)


def _of_preset(
    message: operator_pb2.Microgrid, at: str, preset: TimingPreset, mtu: int
) -> tuple[int, int, WindowTiming]:
    """What a preset says; whoever says something else beside it means something else."""
    window, lead, known = PRESETS[preset]
    if known.adjustment_minutes is not None:
        known = replace(known, adjustment_minutes=max(known.adjustment_minutes, mtu))
    timing = replace(known, preset=preset)
    stated = message.timing
    for field, owner, minutes in (
        ("window", message, window),
        ("gate_closure_lead", message, lead),
        ("bidding", stated, known.bidding_minutes),
        ("decision_lead", stated, known.deadline_minutes),
        ("settlement_wait", stated, known.settlement_minutes),
        ("adjustment_interval", stated, known.adjustment_minutes),
        ("adjustment_lead", stated, known.adjustment_lead_minutes if known.adjustment_minutes else None),
    ):
        if not owner.HasField(field):  # type: ignore[arg-type]  # one of the durations
            continue
        got: Duration = getattr(owner, field)
        if minutes is None or (got.seconds, got.nanos) != (minutes * 60, 0):
            place = f"{at}.{field}" if owner is message else f"{at}.timing.{field}"
            wanted = "none" if minutes is None else f"{minutes} min, as {preset.value} says, or none"
            raise invalid(place, got=f"{got.seconds} s", wanted=wanted)
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
    if timing.adjustment_minutes is not None:
        message.adjustment_interval.seconds = timing.adjustment_minutes * 60
        message.adjustment_lead.seconds = timing.adjustment_lead_minutes * 60
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


def open_clearing(row: WindowRow, adjustments: Sequence[AdjustmentRow], now: float) -> int:
    """The first clearing of a window that an order of now counts for: 0 its own, else the adjustment's number.

    Raises
    ------
    Refusal
        FAILED_PRECONDITION before the window's gate opens, with the instant, and after its last one has closed.
    """
    if now < row.opens:
        opens = datetime.fromtimestamp(row.opens, UTC).isoformat()
        raise not_now("GATE_NOT_OPEN", f"{row.name}: its gate opens at {opens}")
    if row.state == "OPEN" and now < row.closes:
        return 0
    for adjustment in adjustments:
        if adjustment.state == "OPEN" and now < adjustment.closes:
            return adjustment.number
    raise not_now("GATE_CLOSED", f"{row.name}: its gate has closed")


def order_mtus(microgrid: Microgrid, window: Window) -> tuple[int | None, int]:
    """How many MTUs an order for a window has at least and at most; None for exactly the most."""
    most = len(microgrid.mtus(window.start, microgrid.planning_end(window.start)))
    return (len(microgrid.mtus(window.start, window.end)) if microgrid.rolling else None), most
