"""Wishes for a plan, and plans: messages to values and back."""

import json
from collections.abc import Callable, Collection

from controller.microgrid import Bounds, Device, Microgrid, TariffPeriod, Window
from controller.plan_search import Found, Origin
from controller.planning import Quality, stated
from controller.portfolio import Objective, Wish
from controller.refusals import invalid, not_found, out_of_range
from controller.snapshot import Limit
from controller.wire import fields
from controller.wire.market import certificate_message, read_bounds
from controller.wire.relaxation import relaxation_messages
from gridpact.v1 import dispatch_pb2 as pb
from gridpact.v1 import types_pb2

DEADLINE_S = (1, 240)
HYPOTHESES = 1000
OBJECTIVES = {
    pb.PLAN_OBJECTIVE_UNSPECIFIED: Objective.COST,
    pb.PLAN_OBJECTIVE_COST: Objective.COST,
    pb.PLAN_OBJECTIVE_PEAK: Objective.PEAK,
    pb.PLAN_OBJECTIVE_SELF_CONSUMPTION: Objective.SELF_CONSUMPTION,
}


def read_deadline(request: pb.RequestPlanRequest) -> int | None:
    """Seconds until the answer has to come; None where the request does not say."""
    if not request.HasField("deadline"):
        return None
    least, most = DEADLINE_S
    return fields.seconds("deadline", request.deadline, lower=least, upper=most)


def read_window(request: pb.RequestPlanRequest, windows: Collection[Window]) -> Window:
    """The open window with which the plan begins: the first, or the one that the request names by its start."""
    if not request.HasField("horizon"):
        return min(windows, key=lambda window: window.start)
    start, _ = fields.interval("horizon", request.horizon)
    for window in windows:
        if window.start == start:
            return window
    first, last = min(window.start for window in windows), max(window.start for window in windows)
    raise out_of_range(
        "horizon.start_time", got=f"{start} s", wanted=f"the start of an open window, {first} to {last} s"
    )


def read_wish(
    request: pb.RequestPlanRequest,
    *,
    microgrid: Microgrid,
    window: Window,
    mandated: frozenset[str],
    devices: Collection[Device],
    targets: Collection[str],
) -> Wish:
    """What a request asks of a plan.

    Parameters
    ----------
    request : as it came
    microgrid, window : what is plannable, and where the plan begins
    mandated : members who consented
    devices, targets : what there is, resource names of what can be limited

    Raises
    ------
    Refusal
        If a field is wrong, or names what is not there or not the caller's to plan: the same NOT_FOUND for both.
    """
    if request.objective not in OBJECTIVES:
        raise invalid("objective", got=str(request.objective), wanted="a PlanObjective")
    if request.HasField("what_if") and not request.validate_only:
        raise invalid("what_if", got="validate_only false", wanted="hypotheses with validate_only alone")
    members = _members(request, microgrid, mandated)
    what_if = request.what_if
    for name in ("limits", "tariff", "unavailable_devices"):
        if len(getattr(what_if, name)) > HYPOTHESES:
            raise invalid(f"what_if.{name}", got=f"{len(getattr(what_if, name))}", wanted=f"at most {HYPOTHESES}")
    return Wish(
        members=members,
        end=_end(request, microgrid, window),
        objective=OBJECTIVES[request.objective],
        limits=tuple(_limit(k, limit, microgrid, targets) for k, limit in enumerate(what_if.limits)),
        tariff=tuple(_tariff(k, period, microgrid) for k, period in enumerate(what_if.tariff)),
        unavailable=frozenset(
            _device(f"what_if.unavailable_devices[{k}]", name, microgrid, members, devices)
            for k, name in enumerate(what_if.unavailable_devices)
        ),
    )


def _members(request: pb.RequestPlanRequest, microgrid: Microgrid, mandated: frozenset[str]) -> frozenset[str]:
    if not request.members:
        return mandated
    found = set()
    for k, name in enumerate(request.members):
        grid, member = fields.resource(f"members[{k}]", name, "microgrids", "members")
        if grid != microgrid.id or member not in mandated:
            raise not_found(name)
        if member in found:
            raise invalid(f"members[{k}]", got=f"{name} twice", wanted="each member once")
        found.add(member)
    return frozenset(found)


def _end(request: pb.RequestPlanRequest, microgrid: Microgrid, window: Window) -> int | None:
    if not request.HasField("horizon"):
        return None
    _, end = fields.interval("horizon", request.horizon)
    if not window.end <= end <= microgrid.end:
        raise out_of_range("horizon.end_time", got=f"{end} s", wanted=f"{window.end} to {microgrid.end} s")
    if (end - window.start) % microgrid.mtu_seconds:
        raise invalid("horizon.end_time", got=f"{end} s", wanted="the end of a market time unit")
    return end


def _limit(k: int, limit: pb.HypotheticalLimit, microgrid: Microgrid, targets: Collection[str]) -> Limit:
    field = f"what_if.limits[{k}]"
    if limit.target not in targets:
        raise not_found(limit.target)
    start, end = _mtus(f"{field}.interval", limit.interval, microgrid)
    lower, upper = read_bounds(f"{field}.bounds", limit.bounds)
    period = Bounds(start=start, end=end, lower_w=lower, upper_w=upper)
    return Limit(id=f"what-if-{k}", target=limit.target, periods=(period,), digest="")


def _tariff(k: int, period: pb.HypotheticalTariff, microgrid: Microgrid) -> TariffPeriod:
    field = f"what_if.tariff[{k}]"
    start, end = _mtus(f"{field}.interval", period.interval, microgrid)
    most = fields.MAX_PRICE_MICRO_PER_KWH
    asked = fields.number(
        f"{field}.import_price_micro_per_kwh", period.import_price_micro_per_kwh, lower=-most, upper=most
    )
    paid = fields.number(
        f"{field}.export_price_micro_per_kwh", period.export_price_micro_per_kwh, lower=-most, upper=asked
    )
    return TariffPeriod(start=start, end=end, import_price_micro_per_kwh=asked, export_price_micro_per_kwh=paid)


def _mtus(field: str, message: types_pb2.Interval, microgrid: Microgrid) -> tuple[int, int]:
    start, end = fields.interval(field, message)
    if start % microgrid.mtu_seconds or end % microgrid.mtu_seconds:
        raise invalid(field, got="a part of an MTU", wanted=f"multiples of {microgrid.mtu_seconds} s")
    return start, end


def _device(field: str, name: str, microgrid: Microgrid, members: frozenset[str], devices: Collection[Device]) -> str:
    grid, member, device = fields.device_id(field, name)
    if grid != microgrid.id or member not in members or all(known.id != device for known in devices):
        raise not_found(name)
    return device


def plan_message(
    found: Found, wish: Wish, *, name: str, microgrid: Microgrid, start: int, may_see: Callable[[str], bool]
) -> pb.Plan:
    """The message of a plan, without the digest of its inputs: of devices those that were to be planned.

    ``may_see`` says of which limits' targets the reader may know what nobody could keep.
    """
    end = start + found.mtus * microgrid.mtu_seconds if found.mtus else microgrid.end
    message = pb.Plan(
        name=name,
        quality=QUALITIES[found.quality],
        horizon=fields.interval_message(start, end),
        net_power_w=found.net_w,
        conflict=found.conflict,
        objective=pb.PlanObjective.Value(f"PLAN_OBJECTIVE_{wish.objective.value}"),
        origin=_ORIGINS[found.origin],
        reason=found.reason,
        peak_power_w=max(found.net_w, default=0),
        limit_relaxations=relaxation_messages(found.relaxations, may_see),
    )
    if found.certificate is not None:
        message.certificate.CopyFrom(certificate_message(json.dumps(stated(found.certificate))))
    for device, power in sorted(found.power_w.items()):
        if device.partition("/")[0] not in wish.members:
            continue
        shortfall, discomfort = found.shortfall_wh.get(device, 0), found.discomfort_milli_k_h.get(device, 0)
        resource = fields.device_name(microgrid.id, device)
        message.schedules.append(
            pb.DeviceSchedule(device=resource, power_w=power, shortfall_wh=shortfall, discomfort_milli_k_h=discomfort)
        )
        if shortfall or discomfort:
            message.relaxations.append(
                pb.Relaxation(device=resource, shortfall_wh=shortfall, discomfort_milli_k_h=discomfort)
            )
    return message


QUALITIES = {
    Quality.OPTIMAL: pb.PLAN_QUALITY_OPTIMAL,
    Quality.FEASIBLE: pb.PLAN_QUALITY_FEASIBLE,
    Quality.RELAXED: pb.PLAN_QUALITY_RELAXED,
    Quality.INFEASIBLE: pb.PLAN_QUALITY_INFEASIBLE,
}
_ORIGINS = {Origin.SOLVER: pb.PLAN_ORIGIN_SOLVER, Origin.TAIL: pb.PLAN_ORIGIN_TAIL}
