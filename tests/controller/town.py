"""A town that trades each hour ahead and adjusts it quarter by quarter, on the village's service.

ada has a plant, bob a boiler, eve a battery. Devices do what they are told, and meters see that and what nobody
controls: what was forecast, or what a test says.
"""

from google.protobuf.duration_pb2 import Duration

from controller.microgrid import SetpointKind, window_name
from controller.store import adjustments, market, registry
from controller.wire import fields
from gridpact.v1 import (
    dso_pb2,
    dso_pb2_grpc,
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
    types_pb2,
)
from tests.controller.village import START

HOUR_S, MTU_S = 3600, 900
TOWN = START + HOUR_S
MTUS = 8
MEMBERS = ("ada", "bob", "eve")
LOAD_W = {"ada": 300, "bob": 500, "eve": 700}
SUN_W = (0, 1500, 3000, 4000, 4000, 3000, 1500, 700)
IMPORT, EXPORT, CHARGE = 90_000, 30_000, 5000
FUTURES = operator_pb2.WindowTiming(preset=operator_pb2.TIMING_PRESET_HOURLY_FUTURES)


def minutes(count: int) -> Duration:
    return Duration(seconds=60 * count)


def flexibilities(grid: str) -> list[participant_pb2.Flexibility]:
    """What its devices can do."""
    return [
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "ada/pv"),
            power_envelope=participant_pb2.PowerEnvelopeBasedControl(rated_power_w=4000),
        ),
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "bob/boiler"),
            operation_mode=participant_pb2.OperationModeBasedControl(
                rated_power_w=1500,
                allowed=fields.interval_message(TOWN, TOWN + MTU_S * MTUS),
                required_duration=Duration(seconds=2700),
            ),
        ),
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "eve/battery"),
            fill_rate=participant_pb2.FillRateBasedControl(
                max_charge_w=2000,
                max_discharge_w=1800,
                capacity_wh=3000,
                stored_wh=1000,
                final_wh=1200,
                charge_efficiency_ppm=950_000,
                discharge_efficiency_ppm=930_000,
                cycle_cost_micro_per_kwh=1000,
            ),
        ),
    ]


class Town:
    """Two hours of a town, and those who call its service.

    Parameters
    ----------
    site : the service, its clock and callers
    changes : of the message that founds it
    """

    def __init__(self, site, grid: str = "town", **changes) -> None:
        self.site, self.grid, self.name = site, grid, f"microgrids/{grid}"
        self.load_w = {member: [LOAD_W[member]] * MTUS for member in MEMBERS}
        self.sun_w = list(SUN_W)
        self.registers = dict.fromkeys(MEMBERS, (0, 0))
        self.reported: set[int] = set()
        values = {
            "name": self.name,
            "time_zone": "Europe/Berlin",
            "market_time_unit": minutes(15),
            "horizon": fields.interval_message(TOWN, TOWN + MTU_S * MTUS),
            "tariff": [
                operator_pb2.TariffPeriod(
                    interval=fields.interval_message(TOWN, TOWN + MTU_S * MTUS),
                    import_price_micro_per_kwh=IMPORT,
                    export_price_micro_per_kwh=EXPORT,
                )
            ],
            "network_charge_micro_per_kwh": CHARGE,
            "currency": "EUR",
            "timing": FUTURES,
        }
        self.message = operator_pb2.Microgrid(**values | changes)

    @property
    def operator(self):
        return self.site.stub(operator_pb2_grpc.OperatorServiceStub, "operator/op", self.grid)

    @property
    def gateway(self):
        return self.site.stub(metering_pb2_grpc.MeteringServiceStub, "meter/gateway", self.grid)

    def found(self) -> "Town":
        """Found it: members, keys, devices, and everybody's order for the first hour."""
        self.operator.CreateMicrogrid(
            operator_pb2.CreateMicrogridRequest(microgrid=self.message, request_id=f"found-{self.grid}")
        )
        self.register("READING", "gateway")
        for member in MEMBERS:
            message = operator_pb2.Member(name=f"{self.name}/members/{member}", section="all")
            self.operator.CreateMember(
                operator_pb2.CreateMemberRequest(parent=self.name, member=message, request_id=f"member-{member}")
            )
            self.register("ORDER", member)
        for flexibility in flexibilities(self.grid):
            self.site.participant(flexibility.device.split("/")[3], self.grid).UpdateFlexibility(
                participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id="device")
            )
        for member in MEMBERS:
            self.order(member)
        return self

    def register(self, purpose: str, holder: str) -> None:
        key_id = f"{purpose.lower()}-{holder}"
        self.operator.RegisterKey(
            operator_pb2.RegisterKeyRequest(
                parent=self.name,
                key_id=key_id,
                purpose=operator_pb2.KeyPurpose.Value(f"KEY_PURPOSE_{purpose}"),
                holder=holder,
                public_key=self.site.key(holder).public_key().public_bytes_raw(),
                request_id=key_id,
            )
        )

    def window(self, number: int = 0) -> str:
        return window_name(self.grid, TOWN + HOUR_S * number)

    def order_request(self, member: str, number: int = 0, **changes) -> participant_pb2.SubmitOrderRequest:
        """A member's signed order for an hour: what it foresees, and everybody else as partners."""
        first = 4 * number
        values = {
            "window": self.window(number),
            "member": f"{self.name}/members/{member}",
            "load_w": self.load_w[member][first:],
            "production": [
                participant_pb2.ProductionForecast(
                    device=fields.device_name(self.grid, "ada/pv"), available_w=self.sun_w[first:]
                )
            ]
            if member == "ada"
            else [],
            "partners": [
                participant_pb2.Partner(member=f"{self.name}/members/{other}", preference_micro_per_kwh=100 * k)
                for k, other in enumerate(other for other in MEMBERS if other != member)
            ],
        }
        order = participant_pb2.Order(**values | changes)
        return participant_pb2.SubmitOrderRequest(
            order=self.site.signed(member, f"order-{member}", order), request_id=self.site.request_id()
        )

    def order(self, member: str, number: int = 0, **changes) -> participant_pb2.SubmitOrderResponse:
        """Let a member order, or say anew what it foresees."""
        return self.site.participant(member, self.grid).SubmitOrder(self.order_request(member, number, **changes))

    def limit(self, upper_w: int, *, first: int = 3, last: int = MTUS) -> None:
        """Let the DSO limit what the town takes in some quarters: without more, from the last of the first hour on."""
        self.register("ENVELOPE", "wires")
        periods = [
            dso_pb2.EnvelopePeriod(
                interval=fields.interval_message(TOWN + first * MTU_S, TOWN + last * MTU_S),
                bounds=types_pb2.PowerBounds(upper_w=upper_w),
            )
        ]
        name = f"{self.name}/envelopes/tight"
        envelope = self.site.envelope("tight", name=name, target=self.name, periods=periods)
        dso = self.site.stub(dso_pb2_grpc.DsoServiceStub, "dso/wires", self.grid)
        dso.CreateEnvelope(self.site.envelope_request(envelope, parent=self.name))

    # Time.

    def instants(self) -> list[int]:
        """When something happens: gates, and the ends of MTUs."""
        ticks = {TOWN + MTU_S * k for k in range(MTUS + 1)}
        return sorted(ticks | {gate for row in self.rows() for gate in (row.closes, *self._gates(row.name))})

    def _gates(self, window: str) -> list[int]:
        return [row.closes for row in self.site.database.run(adjustments.adjustments, window)]

    def live(self, *, until: int, advance=None) -> None:
        """Let time pass from one instant at which something happens to the next, the last included."""
        for instant in self.instants():
            if self.site.clock.now() <= instant <= until:
                self.site.clock.set(instant)
                self.meter(instant)
                (advance or self.site.advance)(instant)

    def meter(self, instant: int) -> None:
        """The meters report an MTU's end, and what devices were told until then."""
        if instant in self.reported or instant < TOWN or (instant - TOWN) % MTU_S:
            return
        self.reported.add(instant)
        if instant > TOWN:
            mtu = (instant - TOWN) // MTU_S - 1
            for member, energy in self.taken_wh(mtu).items():
                drawn, fed = self.registers[member]
                self.registers[member] = (drawn + max(energy, 0), fed + max(-energy, 0))
        batch = metering_pb2.ReadingBatch(parent=self.name, sequence=1 + (instant - TOWN) // MTU_S)
        for member in MEMBERS:
            reading = batch.readings.add(member=f"{self.name}/members/{member}")
            reading.import_wh, reading.export_wh = self.registers[member]
            reading.instant.seconds, reading.quality = instant, metering_pb2.READING_QUALITY_MEASURED
        signed = self.site.signed("gateway", "reading-gateway", batch)
        self.gateway.SubmitReadings(
            metering_pb2.SubmitReadingsRequest(readings=signed, request_id=self.site.request_id())
        )

    def taken_wh(self, mtu: int) -> dict[str, int]:
        """What each member takes in an MTU: what nobody controls, and what its devices are told; whole Wh."""
        told = {
            s.device: s for s in self.setpoints(mtu // 4) if s.mtu_start == TOWN + MTU_S * mtu
        }  # nobody told: the failsafe, which is nothing
        power = {member: self.load_w[member][mtu] for member in MEMBERS}
        for device, setpoint in told.items():
            value = setpoint.value
            match setpoint.kind:
                case SetpointKind.RELAY:
                    value *= 1500
                case SetpointKind.PRODUCTION_LIMIT:
                    value = -min(value, self.sun_w[mtu])
            power[device.split("/")[0]] += value
        return {member: round(watts / 4) for member, watts in power.items()}

    # What is on disk.

    def rows(self) -> list[market.WindowRow]:
        return self.site.database.run(market.windows, self.grid)

    def row(self, number: int = 0) -> market.WindowRow:
        return self.site.database.run(market.window, self.window(number))

    def adjusted(self, number: int = 0) -> list[adjustments.AdjustmentRow]:
        """The adjustments of an hour."""
        return self.site.database.run(adjustments.adjustments, self.window(number))

    def setpoints(self, number: int = 0):
        return self.site.database.run(market.setpoints, self.window(number))

    def positions(self, number: int = 0) -> dict[tuple[str, int], int]:
        return self.site.database.run(market.positions, self.window(number))

    def of_window(self, table: str, number: int = 0):
        return [row for row in self.site.rows(table) if row["window"] == self.window(number)]

    def microgrid(self):
        return self.site.database.run(registry.microgrid, self.grid)
