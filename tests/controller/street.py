"""A street of one home and a shop in a microgrid that has no end, on the village's service."""

from google.protobuf.duration_pb2 import Duration

from controller.microgrid import window_name
from controller.store import market, registry
from controller.wire import fields
from gridpact.v1 import (
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
)
from tests.controller.village import START

LOADS_W = {"home": 400, "shop": 1200}
DAY_S = 86_400


def minutes(count: int) -> Duration:
    return Duration(seconds=60 * count)


def period(start: int, end: int, imported: int = 60_000, exported: int = 20_000) -> operator_pb2.TariffPeriod:
    """Prices of a stretch of time."""
    return operator_pb2.TariffPeriod(
        interval=fields.interval_message(start, end),
        import_price_micro_per_kwh=imported,
        export_price_micro_per_kwh=exported,
    )


class Street:
    """A microgrid without an end, and those who call its service.

    Parameters
    ----------
    site : the service, its clock and callers
    grid : the microgrid's id
    mtu, window : minutes
    start : of the first window
    priced_s : for how long from the start on the tariff is known
    changes : of the message that founds it
    """

    def __init__(self, site, grid="street", *, mtu=15, window=30, start=START, priced_s=2 * DAY_S, **changes) -> None:
        self.site, self.grid, self.name = site, grid, f"microgrids/{grid}"
        self.mtu_s, self.window_s, self.start = 60 * mtu, 60 * window, start
        values = {
            "name": self.name,
            "time_zone": "Europe/Berlin",
            "market_time_unit": minutes(mtu),
            "window": minutes(window),
            "gate_closure_lead": minutes(5),
            "horizon": {"start_time": fields.timestamp(start)},
            "tariff": [period(start, start + priced_s)] if priced_s else [],
            "network_charge_micro_per_kwh": 5000,
            "currency": "EUR",
            "planning_horizon": minutes(4 * window),
            "order_ahead": minutes(4 * window),
        }
        self.message = operator_pb2.Microgrid(**values | changes)

    @property
    def operator(self):
        return self.site.stub(operator_pb2_grpc.OperatorServiceStub, "operator/op", self.grid)

    @property
    def gateway(self):
        return self.site.stub(metering_pb2_grpc.MeteringServiceStub, "meter/gateway", self.grid)

    def found(self) -> "Street":
        """Found it, with its members and keys."""
        request = operator_pb2.CreateMicrogridRequest(microgrid=self.message, request_id="found")
        self.message = self.operator.CreateMicrogrid(request).microgrid
        for member in LOADS_W:
            self.add(member)
        self._register("READING", "gateway")
        return self

    def add(self, member: str, **ratings) -> None:
        """Let somebody join."""
        message = operator_pb2.Member(name=f"{self.name}/members/{member}", section="all", **ratings)
        self.operator.CreateMember(
            operator_pb2.CreateMemberRequest(parent=self.name, member=message, request_id=f"member-{member}")
        )
        self._register("ORDER", member)

    def _register(self, purpose: str, holder: str) -> None:
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

    def window(self, number: int) -> str:
        """A window's name, counted from the first."""
        return window_name(self.grid, self.start + self.window_s * number)

    def order_request(self, member: str, number: int, load_w) -> participant_pb2.SubmitOrderRequest:
        """A member's signed order for a window."""
        order = participant_pb2.Order(window=self.window(number), member=f"{self.name}/members/{member}", load_w=load_w)
        return participant_pb2.SubmitOrderRequest(
            order=self.site.signed(member, f"order-{member}", order), request_id=self.site.request_id()
        )

    def order(self, member: str, number: int = 0, load_w=None) -> None:
        """Let a member order for a window."""
        load_w = [LOADS_W[member]] * 4 if load_w is None else load_w
        self.site.participant(member, self.grid).SubmitOrder(self.order_request(member, number, load_w))

    def report(self, *instants: int, members=tuple(LOADS_W)) -> None:
        """Let the meters say that everybody took what was ordered."""
        for instant in instants:
            batch = metering_pb2.ReadingBatch(parent=self.name, sequence=1 + (instant - self.start) // self.mtu_s)
            for member in members:
                reading = batch.readings.add(member=f"{self.name}/members/{member}", export_wh=0)
                reading.import_wh = LOADS_W.get(member, 0) * (instant - self.start) // 3600
                reading.instant.seconds, reading.quality = instant, metering_pb2.READING_QUALITY_MEASURED
            signed = self.site.signed("gateway", "reading-gateway", batch)
            self.gateway.SubmitReadings(
                metering_pb2.SubmitReadingsRequest(readings=signed, request_id=self.site.request_id())
            )

    def live(self, *, until: int) -> None:
        """Meters report and windows move on, from MTU to MTU and at each gate."""
        first = max(self.start, -int(-self.site.clock.now() // self.mtu_s) * self.mtu_s)
        instants = range(first, until + 1, self.mtu_s)
        gates = [row.closes for row in self.rows() if self.site.clock.now() <= row.closes <= until]
        gates += [gate for gate in range(self.start - 300, until, self.window_s) if gate >= self.site.clock.now()]
        reported = {row["instant"] for row in self.site.rows("meter_readings") if row["microgrid"] == self.grid}
        for instant in sorted({*instants, *gates}):
            self.site.clock.set(instant)
            if instant in instants and instant not in reported:
                self.report(instant)
            self.site.advance(instant)

    def rows(self) -> list[market.WindowRow]:
        """The windows that there are."""
        return self.site.database.run(market.windows, self.grid)

    def row(self, number: int) -> market.WindowRow:
        """A window as it is kept."""
        return self.site.database.run(market.window, self.window(number))

    def states(self) -> list[str]:
        """The state of each window."""
        return [row.state for row in self.rows()]

    def microgrid(self):
        """The microgrid as it is kept."""
        return self.site.database.run(registry.microgrid, self.grid)
