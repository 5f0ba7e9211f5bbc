"""Messages of meters: what is declared of them, what happened to readings, what feeders lost."""

from controller.estimating import Estimation, EstimationRule
from controller.feeders import FeederSum
from controller.meter_events import KeptEvent
from controller.microgrid import target_of
from controller.refusals import invalid, out_of_range
from controller.registers import MeterChange, Registers
from controller.wire import fields
from gridpact.v1 import metering_pb2 as pb

LEAST_ROLLOVER_WH = 1000
AFTER_MINUTES = 31 * 1440
RULES: dict[int, EstimationRule] = {
    pb.ESTIMATION_RULE_NONE: EstimationRule.NONE,
    pb.ESTIMATION_RULE_LINEAR: EstimationRule.LINEAR,
    pb.ESTIMATION_RULE_PROFILE: EstimationRule.PROFILE,
}
DECISIONS: dict[int, str] = {
    pb.METER_EVENT_DECISION_KEPT: "KEPT",
    pb.METER_EVENT_DECISION_ACCEPTED: "ACCEPTED",
}


def read_change(message: pb.MeterChange, *, latest: float) -> MeterChange:
    """What is declared of a meter, from an instant on that is not later than ``latest``."""
    at = "change"
    instant = fields.instant(f"{at}.effective_time", message.effective_time)
    if instant > latest:
        raise out_of_range(f"{at}.effective_time", got=str(instant), wanted=f"at most {latest:.0f}")
    rollover = fields.number(f"{at}.rollover_wh", message.rollover_wh, upper=fields.MAX_WH)
    if 0 < rollover < LEAST_ROLLOVER_WH:
        wanted = f"0 for never, or {LEAST_ROLLOVER_WH} to {fields.MAX_WH}"
        raise out_of_range(f"{at}.rollover_wh", got=str(rollover), wanted=wanted)
    for name, other in (("final", "first"), ("first", "final")):
        if message.HasField(other) and not message.HasField(name):  # type: ignore[arg-type]  # both are fields
            raise invalid(f"{at}.{name}", got="none", wanted=f"the {name} registers of a replacement, beside {other}")
    replaced = message.HasField("final")
    return MeterChange(
        instant=instant,
        rollover_wh=rollover or None,
        final=_read_registers(f"{at}.final", message.final) if replaced else None,
        first=_read_registers(f"{at}.first", message.first) if replaced else None,
    )


def _read_registers(field: str, message: pb.MeterRegisters) -> Registers:
    return Registers(
        import_wh=fields.number(f"{field}.import_wh", message.import_wh, upper=fields.MAX_WH),
        export_wh=fields.number(f"{field}.export_wh", message.export_wh, upper=fields.MAX_WH),
    )


def _registers_message(registers: Registers | None) -> pb.MeterRegisters | None:
    if registers is None:
        return None
    return pb.MeterRegisters(import_wh=registers.import_wh, export_wh=registers.export_wh)


def change_message(microgrid: str, place: str, change: MeterChange) -> pb.MeterChange:
    """The message of what was declared of a meter."""
    return pb.MeterChange(
        meter=target_of(f"microgrids/{microgrid}", place),
        effective_time=fields.timestamp(change.instant),
        rollover_wh=change.rollover_wh or 0,
        final=_registers_message(change.final),
        first=_registers_message(change.first),
    )


def read_rules(message: pb.MeteringRules) -> Estimation:
    """What a microgrid declares about missing readings and losses."""
    at = "rules"
    if message.estimation not in RULES:
        wanted = "ESTIMATION_RULE_NONE, _LINEAR or _PROFILE"
        raise invalid(f"{at}.estimation", got=str(message.estimation), wanted=wanted)
    limit = None
    if message.HasField("loss_limit_permille"):
        limit = fields.number(f"{at}.loss_limit_permille", message.loss_limit_permille, upper=1000)
    return Estimation(
        rule=RULES[message.estimation],
        after_minutes=fields.minutes(f"{at}.estimate_after", message.estimate_after, upper=AFTER_MINUTES),
        loss_permille=limit,
    )


def rules_message(rules: Estimation) -> pb.MeteringRules:
    """The message of them."""
    message = pb.MeteringRules(
        estimation=pb.EstimationRule.Value(f"ESTIMATION_RULE_{rules.rule.value}"),
        loss_limit_permille=rules.loss_permille,
    )
    message.estimate_after.seconds = rules.after_minutes * 60
    return message


def event_name(microgrid: str, number: int) -> str:
    """The resource name of an event."""
    return f"microgrids/{microgrid}/meter-events/e{number}"


def event_message(microgrid: str, kept: KeptEvent, *, registers: bool) -> pb.MeterEvent:
    """The message of an event; without its registers where these are not the caller's to read."""
    event = kept.event
    message = pb.MeterEvent(
        name=event_name(microgrid, kept.number),
        create_time=fields.timestamp(kept.created),
        kind=pb.MeterEventKind.Value(f"METER_EVENT_KIND_{event.kind.value}"),
        meter=target_of(f"microgrids/{microgrid}", event.member) if event.member else "",
        reporter=event.reporter,
        sequence=event.sequence,
        decision=pb.MeterEventDecision.Value(f"METER_EVENT_DECISION_{kept.decision or 'UNSPECIFIED'}"),
        reason=kept.reason,
    )
    if event.instant is not None:
        message.instant.CopyFrom(fields.timestamp(event.instant))
    if event.known_instant is not None:
        message.known_time.CopyFrom(fields.timestamp(event.known_instant))
    if registers:
        message.note = event.note
        for name, value in (("reported", event.reported), ("known", event.known)):
            stated = _registers_message(value)
            if stated is not None:
                getattr(message, name).CopyFrom(stated)
    return message


def sum_message(microgrid: str, one: FeederSum, *, mtu_seconds: int) -> pb.FeederSum:
    """The message of what a feeder's meter counted beside its members'."""
    return pb.FeederSum(
        target=target_of(f"microgrids/{microgrid}", one.place),
        interval=fields.interval_message(one.mtu_start, one.mtu_start + mtu_seconds),
        metered_wh=one.metered_wh,
        members_wh=one.members_wh,
        loss_wh=one.loss_wh,
    )
