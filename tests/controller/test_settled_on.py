import pytest

from controller.instructions import Cause, Instruction
from controller.microgrid import MeterReading, TariffPeriod
from controller.registers import Meter, MeterChange, Registers
from controller.settled_on import SettledOn
from controller.settlement import Payment

FULL = SettledOn(
    tariff=(TariffPeriod(start=0, end=900, import_price_micro_per_kwh=2, export_price_micro_per_kwh=1),),
    demand=(Payment(dso="wires", aggregator="agg", reference="e o 0", amount_micro=-3),),
    instructions=(Instruction(member="ada", mtu_start=0, cause=Cause.LIMIT, payer="dso:wires", upper_wh=5),),
    registers=(MeterReading(member="ada", instant=0, import_wh=1, export_wh=2, quality="MEASURED"),),
    meters={
        "ada": Meter(
            (
                MeterChange(instant=0, rollover_wh=10**6),
                MeterChange(
                    instant=5,
                    rollover_wh=None,
                    final=Registers(import_wh=3, export_wh=4),
                    first=Registers(import_wh=0, export_wh=1),
                ),
            )
        )
    },
)


@pytest.mark.parametrize("facts", [SettledOn(), FULL])
def test_it_reads_back(facts):
    assert SettledOn.from_json(facts.to_json()) == facts


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tariff": null, "demand": [{}], "registers": []}', "null"])
def test_what_is_none_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        SettledOn.from_json(text)


def test_what_was_kept_before_there_were_instructions_reads_back():
    assert SettledOn.from_json('{"tariff": null, "demand": [], "registers": []}') == SettledOn()
