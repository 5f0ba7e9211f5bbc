"""What a settlement rests on beside trades, readings and what the window was decided on. Pure.

Canonical JSON, for whoever computes the settlement again: the prices, where they came after the decision, what demand
response pays, what members were told beside their trades, the readings that earlier headers commit to, and how meters
rolled over or were replaced.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from controller.instructions import Cause, Instruction
from controller.microgrid import MeterReading, TariffPeriod
from controller.registers import Meter, MeterChange, Registers
from controller.settlement import Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledOn:
    """What else a settlement rests on.

    Attributes
    ----------
    tariff : the prices, where the window was decided before they were known; None where it knew them
    demand : what DSOs pay for demand response
    instructions : what members were told
    registers : readings that earlier headers have, such as those of the window's start
    meters : of members of whose meters anything was declared
    """

    tariff: tuple[TariffPeriod, ...] | None = None
    demand: tuple[Payment, ...] = ()
    instructions: tuple[Instruction, ...] = ()
    registers: tuple[MeterReading, ...] = ()
    meters: Mapping[str, Meter] = field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON: equal facts give equal text."""
        values = asdict(self)
        for told in values["instructions"]:
            told["cause"] = told["cause"].value
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "SettledOn":
        """What ``to_json`` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is none.
        """
        values: dict[str, Any] = json.loads(text)
        tariff: Sequence[dict[str, Any]] | None = values["tariff"]
        return cls(
            tariff=None if tariff is None else tuple(TariffPeriod(**period) for period in tariff),
            demand=tuple(Payment(**payment) for payment in values["demand"]),
            instructions=tuple(
                Instruction(**told | {"cause": Cause(told["cause"])}) for told in values.get("instructions", ())
            ),
            registers=tuple(MeterReading(**reading) for reading in values["registers"]),
            meters={
                member: Meter(tuple(_change(each) for each in meter["changes"]))
                for member, meter in values.get("meters", {}).items()
            },
        )


def _change(values: Mapping[str, Any]) -> MeterChange:
    final, first = (None if values[name] is None else Registers(**values[name]) for name in ("final", "first"))
    return MeterChange(instant=values["instant"], rollover_wh=values["rollover_wh"], final=final, first=first)
