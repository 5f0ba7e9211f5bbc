"""A village of three members: who they are, what they have, and what their meters see."""

from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration

from controller.microgrid import Microgrid, TariffPeriod
from controller.wire import fields
from gridpact.v1 import participant_pb2

MTU_S = 900
START = int(datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp())
SECTIONS = {"ada": "east", "bob": "east", "eve": "west"}
# Watts that make no whole Wh in a quarter of an hour, so that every rounding has something to do.
LOADS_W = {"ada": 301, "bob": 503, "eve": 707}
SUN_W = (0, 1500, 3001, 4000, 4000, 3001, 1500, 700)
NET_WH = {
    "ada": (75, -280, -400, -633, -901, -377, -160, -99),
    "bob": (126, 501, 500, 376, 127, 125, 126, 124),
    "eve": (177, 180, -20, 340, 176, 177, 178, 90),
}
"""What the meters really saw in each MTU."""


def calendar(grid: str) -> Microgrid:
    """Four windows of half an hour in quarter-hours; the second hour is dear."""
    dear = START + 3600
    return Microgrid(
        id=grid,
        time_zone="Europe/Berlin",
        mtu_minutes=15,
        window_minutes=30,
        lead_minutes=5,
        start=START,
        end=START + 7200,
        network_charge_micro_per_kwh=5000,
        currency="EUR",
        tariff=(
            TariffPeriod(start=START, end=dear, import_price_micro_per_kwh=60_000, export_price_micro_per_kwh=39_000),
            TariffPeriod(
                start=dear, end=START + 7200, import_price_micro_per_kwh=95_001, export_price_micro_per_kwh=39_003
            ),
        ),
    )


def flexibilities(grid: str) -> list[participant_pb2.Flexibility]:
    """ada's plant, bob's boiler, eve's battery."""
    return [
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "ada/pv"),
            power_envelope=participant_pb2.PowerEnvelopeBasedControl(rated_power_w=4000),
        ),
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "bob/boiler"),
            operation_mode=participant_pb2.OperationModeBasedControl(
                rated_power_w=1501,
                allowed=fields.interval_message(START, START + 7200),
                required_duration=Duration(seconds=2700),
            ),
        ),
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "eve/battery"),
            fill_rate=participant_pb2.FillRateBasedControl(
                max_charge_w=2000,
                max_discharge_w=1800,
                capacity_wh=3001,
                stored_wh=1000,
                final_wh=1200,
                charge_efficiency_ppm=950_000,
                discharge_efficiency_ppm=930_000,
                cycle_cost_micro_per_kwh=1000,
            ),
        ),
    ]
