"""What resource managers say, as the fields of JSON, for tests to change."""

import itertools
import json
from datetime import UTC, datetime, timedelta

from device_drivers.s2 import wire

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
L1, L2, L3 = (f"ELECTRIC.POWER.L{phase}" for phase in (1, 2, 3))
SYMMETRIC = "ELECTRIC.POWER.3_PHASE_SYMMETRIC"

_ids = itertools.count(1)


def message(kind, /, **fields):
    return {"message_type": kind, "message_id": f"rm-{next(_ids)}", **fields}


def heard(fields):
    """As the driver reads it."""
    return wire.read(json.dumps(fields))


def at(seconds=0.0, base=NOON):
    return (base + timedelta(seconds=seconds)).isoformat()


def between(start, end):
    return {"start_of_range": start, "end_of_range": end}


def power(start, end=None, quantity=L1):
    return {**between(start, start if end is None else end), "commodity_quantity": quantity}


def way(source, target, *, starts=(), blocked_by=(), abnormal=False):
    return {
        "id": f"{source}-{target}",
        "from": source,
        "to": target,
        "start_timers": list(starts),
        "blocking_timers": list(blocked_by),
        "abnormal_condition_only": abnormal,
    }


def timer(name, seconds):
    return {"id": name, "duration": int(seconds * 1000)}


def details(*control_types, role="ENERGY_CONSUMER", measures=(L1,), **fields):
    return message(
        "ResourceManagerDetails",
        resource_id="device-1",
        roles=[{"role": role, "commodity": "ELECTRICITY"}],
        instruction_processing_delay=0,
        available_control_types=list(control_types),
        provides_forecast=False,
        provides_power_measurement_types=list(measures) or ["HEAT.TEMPERATURE"],
        **fields,
    )


def measured(*values, quantities=(L1, L2, L3)):
    return message(
        "PowerMeasurement",
        measurement_timestamp=at(),
        values=[
            {"commodity_quantity": quantity, "value": value}
            for quantity, value in zip(quantities, values, strict=False)
        ],
    )


def became(instruction, status, when=None):
    return message(
        "InstructionStatusUpdate",
        instruction_id=instruction["id"],
        status_type=status,
        timestamp=(datetime.now(UTC) if when is None else when).isoformat(),
    )


def revoked(kind, object_id):
    return message("RevokeObject", object_type=kind, object_id=object_id)


# OMBC: off, eco, on, and a boost for emergencies.


def mode(name, *ranges, abnormal=False):
    return {"id": name, "power_ranges": list(ranges), "abnormal_condition_only": abnormal}


def modes(*found, ways=(("off", "on"), ("on", "off")), timers=(), valid_from=0.0):
    return message(
        "OMBC.SystemDescription",
        valid_from=at(valid_from),
        operation_modes=list(found) or [mode("off", power(0)), mode("on", power(1000))],
        transitions=[one if isinstance(one, dict) else way(*one) for one in ways],
        timers=list(timers),
    )


def in_mode(name, factor=1.0, **fields):
    return message("OMBC.Status", active_operation_mode_id=name, operation_mode_factor=factor, **fields)


# FRBC: a storage with one actuator.


def element(fills, *ranges):
    return {"fill_level_range": between(*fills), "fill_rate": between(0, 1), "power_ranges": list(ranges)}


def storage(**changes):
    actuator = {
        "id": "heater",
        "supported_commodities": ["ELECTRICITY"],
        "operation_modes": [
            {"id": "idle", "elements": [element((0, 100), power(0))], "abnormal_condition_only": False},
            {
                "id": "heat",
                "elements": [element((0, 60), power(0, 3000)), element((60, 100), power(0, 1500))],
                "abnormal_condition_only": False,
            },
        ],
        "transitions": [way("idle", "heat"), way("heat", "idle")],
        "timers": [],
    }
    described = {
        "fill_level_label": "°C",
        "provides_leakage_behaviour": False,
        "provides_fill_level_target_profile": False,
        "provides_usage_forecast": False,
        "fill_level_range": between(0, 100),
    }
    label = changes.pop("label", None)
    actuators = changes.pop("actuators", None)
    return message(
        "FRBC.SystemDescription",
        valid_from=at(),
        actuators=[actuator | changes] if actuators is None else [actuator | one for one in actuators],
        storage=described if label is None else described | {"fill_level_label": label},
    )


def acting(name, factor=1.0, actuator="heater", **fields):
    return message(
        "FRBC.ActuatorStatus",
        actuator_id=actuator,
        active_operation_mode_id=name,
        operation_mode_factor=factor,
        **fields,
    )


def filled(level):
    return message("FRBC.StorageStatus", present_fill_level=level)


# PEBC: what limits may be.


def allowed(*bands, name="limits-1", valid_from=0.0):
    """Of (limit, lower W, upper W[, quantity[, abnormal]]), where a limit is lower or upper."""
    return message(
        "PEBC.PowerConstraints",
        id=name,
        valid_from=at(valid_from),
        consequence_type="DEFER",
        allowed_limit_ranges=[
            {
                "commodity_quantity": rest[0] if rest else L1,
                "limit_type": f"{limit.upper()}_LIMIT",
                "range_boundary": between(lower, upper),
                "abnormal_condition_only": rest[1] if len(rest) > 1 else False,
            }
            for limit, lower, upper, *rest in bands or (("lower", 0, 0), ("upper", 0, 11_000))
        ],
    )


# PPBC: a programme in parts.


def part(name, *sequences):
    """Of (name, seconds[, interruptible[, abnormal]])."""
    return {
        "id": name,
        "power_sequences": [
            {
                "id": sequence,
                "elements": [
                    {
                        "duration": int(seconds * 1000),
                        "power_values": [{"commodity_quantity": L1, "value_expected": 800}],
                    }
                ],
                "is_interruptible": rest[0] if rest else True,
                "abnormal_condition_only": rest[1] if len(rest) > 1 else False,
            }
            for sequence, seconds, *rest in sequences
        ],
    }


def programme(*parts, name="wash-1", starts=-60.0):
    return message(
        "PPBC.PowerProfileDefinition",
        id=name,
        start_time=at(starts),
        end_time=at(starts + 8 * 3600),
        power_sequences_containers=list(parts) or [part("wash", ("eco", 3600))],
    )


def progress(*stands, name="wash-1"):
    """Of (part, status[, sequence[, seconds done]])."""
    return message(
        "PPBC.PowerProfileStatus",
        sequence_container_status=[
            {"power_profile_id": name, "sequence_container_id": part_id, "status": status}
            | ({"selected_sequence_id": rest[0]} if rest else {})
            | ({"progress": int(rest[1] * 1000)} if len(rest) > 1 else {})
            for part_id, status, *rest in stands
        ],
    )
