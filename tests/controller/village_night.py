"""The village through a night, with every kind of device and tasks that reach over midnight."""

from datetime import UTC, datetime

import numpy as np

from controller.flexibility import Flexibility, Phase, Plant, Programme, Thermostat
from controller.microgrid import Microgrid, TariffPeriod
from tests.controller.flexibility_cases import boiler, generator, heat_pump, relay, storage, vehicle

MTU_S = 900
MTUS = 32
START = int(datetime(2026, 1, 12, 19, tzinfo=UTC).timestamp())
"""20:00 in Berlin: midnight comes after 16 MTUs."""
MIDNIGHT_MTU = 16


def at(mtu: int) -> int:
    return START + mtu * MTU_S


DEVICES: dict[str, Flexibility] = {
    "ada/pv": Plant(rated_w=4000),
    "ada/battery": storage(
        max_discharge_w=2000,
        stored_wh=1500,
        final_wh=1000,
        discharge_efficiency_ppm=950_000,
        cycle_cost_micro_per_kwh=1000,
        self_discharge_ppm_per_hour=1000,
        final_value_micro_per_kwh=0,
    ),
    "ada/washer": Programme(
        phases=(
            Phase(power_w=(2000, 400, 150)),
            Phase(power_w=(300, 500), max_pause_s=2 * MTU_S),
        ),
        start=at(2),
        end=at(28),
    ),
    "ada/dryer": Programme(
        phases=(Phase(power_w=(1800, 1500, 900)),),
        start=START,
        end=at(MTUS),
        follows="ada/washer",
        min_delay_s=MTU_S,
        max_delay_s=6 * MTU_S,
    ),
    "bob/car": vehicle(at(3), at(27), required_wh=24_000, discharge_efficiency_ppm=920_000),
    "bob/pump": relay(at(1), at(31), rated_w=800, required_s=12 * MTU_S, min_on_s=3 * MTU_S, min_off_s=2 * MTU_S),
    "bob/boiler": boiler(min_on_s=2 * MTU_S, min_off_s=3 * MTU_S),
    "eve/generator": generator(running_cost_micro_per_h=20_000, min_up_s=4 * MTU_S, min_down_s=3 * MTU_S),
    "eve/heatpump": heat_pump(ambient_milli_c=-2000, min_on_s=2 * MTU_S, min_off_s=2 * MTU_S),
    "eve/fridge": Thermostat(
        rated_w=150,
        heat_capacity_wh_per_k=30,
        loss_milli_w_per_k=4000,
        performance_ppm=-2_500_000,
        ambient_milli_c=21_000,
        temperature_milli_c=5000,
        lower_milli_c=2000,
        upper_milli_c=8000,
        min_on_s=MTU_S,
        min_off_s=2 * MTU_S,
    ),
}
DRAWS_W = {"bob/boiler": 500.0, "eve/fridge": 10.0}
LOADS_W = {"ada": 400, "bob": 300, "eve": 500}
SUN_W = 2500


def calendar(window_minutes: int) -> Microgrid:
    prices = np.random.default_rng(5).integers(80_000, 320_000, MTUS // 4)
    return Microgrid(
        id="village",
        time_zone="Europe/Berlin",
        mtu_minutes=15,
        window_minutes=window_minutes,
        lead_minutes=5,
        start=START,
        end=at(MTUS),
        network_charge_micro_per_kwh=5000,
        currency="EUR",
        tariff=tuple(
            TariffPeriod(
                start=at(4 * k),
                end=at(4 * k + 4),
                import_price_micro_per_kwh=int(price),
                export_price_micro_per_kwh=60_000,
            )
            for k, price in enumerate(prices)
        ),
    )
