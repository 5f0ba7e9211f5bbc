"""Resource managers of s2-python, each with a device behind it, which goes on when nobody is connected.

Runs in an environment of its own, with ``s2-python[ws]``, whose pin on websockets is not ours:
``python manager.py KIND PORT`` dials ``ws://127.0.0.1:PORT/KIND`` until somebody is there; the port is said first.
"""

import asyncio
import socket
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

from s2python.common import (
    Commodity,
    CommodityQuantity,
    Duration,
    InstructionStatus,
    InstructionStatusUpdate,
    NumberRange,
    PowerForecastValue,
    PowerMeasurement,
    PowerRange,
    PowerValue,
    RevokeObject,
    Role,
    RoleType,
    Transition,
)
from s2python.connection.asset_details import AssetDetails
from s2python.connection.async_.connection import S2AsyncConnection
from s2python.connection.async_.control_type.class_based import (
    FRBCControlType,
    OMBCControlType,
    PEBCControlType,
    PPBCControlType,
    ResourceManagerHandler,
)
from s2python.connection.async_.medium.s2_medium import MediumCouldNotConnectError
from s2python.connection.async_.medium.websocket import WebsocketClientMedium
from s2python.frbc import (
    FRBCActuatorDescription,
    FRBCActuatorStatus,
    FRBCOperationMode,
    FRBCOperationModeElement,
    FRBCStorageDescription,
    FRBCStorageStatus,
    FRBCSystemDescription,
)
from s2python.generated.gen_s2 import (
    PEBCPowerEnvelopeConsequenceType,
    PEBCPowerEnvelopeLimitType,
    PPBCPowerSequenceStatus,
)
from s2python.ombc import OMBCOperationMode, OMBCStatus, OMBCSystemDescription
from s2python.pebc import PEBCAllowedLimitRange, PEBCPowerConstraints
from s2python.ppbc import (
    PPBCEndInterruptionInstruction,
    PPBCPowerProfileDefinition,
    PPBCPowerProfileStatus,
    PPBCPowerSequence,
    PPBCPowerSequenceContainer,
    PPBCPowerSequenceContainerStatus,
    PPBCPowerSequenceElement,
    PPBCStartInterruptionInstruction,
)

QUANTITY = CommodityQuantity.ELECTRIC_POWER_L1
RETRY_S = 0.1


def utc():
    return datetime.now(UTC)


def span(start, end):
    return PowerRange(start_of_range=start, end_of_range=end, commodity_quantity=QUANTITY)


class Talking:
    """What the control types have in common: they measure, and say what becomes of instructions."""

    async def say(self, connection, message):
        await connection.send_msg_and_await_reception_status(message)

    async def measured(self, connection, power_w):
        values = [PowerValue(commodity_quantity=QUANTITY, value=power_w)]
        await self.say(
            connection, PowerMeasurement(message_id=uuid.uuid4(), measurement_timestamp=utc(), values=values)
        )

    async def became(self, connection, instruction, status):
        await self.say(
            connection,
            InstructionStatusUpdate(
                message_id=uuid.uuid4(), instruction_id=instruction, status_type=status, timestamp=utc()
            ),
        )

    async def deactivate(self, connection):
        pass


class Relay(Talking, OMBCControlType):
    """Off, or on with 1000 W."""

    def __init__(self):
        self.modes = {str(uuid.uuid4()): 0.0, str(uuid.uuid4()): 1000.0}  # the library's status knows no UUIDs
        self.active = next(iter(self.modes))
        self.roles = [RoleType.ENERGY_CONSUMER]

    async def activate(self, connection):
        off, on = self.modes
        ways = [(off, on), (on, off)]
        await self.say(
            connection,
            OMBCSystemDescription(
                message_id=uuid.uuid4(),
                valid_from=utc(),
                operation_modes=[
                    OMBCOperationMode(id=mode, power_ranges=[span(power, power)], abnormal_condition_only=False)
                    for mode, power in self.modes.items()
                ],
                transitions=transitions(ways),
                timers=[],
            ),
        )
        await self.told(connection)

    async def told(self, connection):
        await self.say(
            connection,
            OMBCStatus(message_id=uuid.uuid4(), active_operation_mode_id=self.active, operation_mode_factor=1.0),
        )
        await self.measured(connection, self.modes[self.active])

    async def handle_instruction(self, connection, msg, send_okay):
        await send_okay()
        self.active = str(msg.operation_mode_id)
        await self.became(connection, msg.id, InstructionStatus.SUCCEEDED)
        await self.told(connection)


class Battery(Talking, FRBCControlType):
    """Of 10 kWh, idle, charged or discharged with up to 3000 W."""

    def __init__(self):
        self.actuator = uuid.uuid4()
        self.modes = {uuid.uuid4(): (0.0, 0.0), uuid.uuid4(): (0.0, 3000.0), uuid.uuid4(): (-3000.0, 0.0)}
        self.active, self.factor = next(iter(self.modes)), 0.0
        self.roles = [RoleType.ENERGY_STORAGE]

    async def activate(self, connection):
        whole = NumberRange(start_of_range=0, end_of_range=10_000)
        actuator = FRBCActuatorDescription(
            id=self.actuator,
            supported_commodities=[Commodity.ELECTRICITY],
            operation_modes=[
                FRBCOperationMode(
                    id=mode,
                    elements=[
                        FRBCOperationModeElement(
                            fill_level_range=whole,
                            fill_rate=NumberRange(start_of_range=start / 3600, end_of_range=end / 3600),
                            power_ranges=[span(start, end)],
                        )
                    ],
                    abnormal_condition_only=False,
                )
                for mode, (start, end) in self.modes.items()
            ],
            transitions=transitions([(one, other) for one in self.modes for other in self.modes if one != other]),
            timers=[],
        )
        storage = FRBCStorageDescription(
            fill_level_label="Wh",
            provides_leakage_behaviour=False,
            provides_fill_level_target_profile=False,
            provides_usage_forecast=False,
            fill_level_range=whole,
        )
        await self.say(
            connection,
            FRBCSystemDescription(message_id=uuid.uuid4(), valid_from=utc(), actuators=[actuator], storage=storage),
        )
        await self.say(connection, FRBCStorageStatus(message_id=uuid.uuid4(), present_fill_level=5000.5))
        await self.told(connection)

    async def told(self, connection):
        await self.say(
            connection,
            FRBCActuatorStatus(
                message_id=uuid.uuid4(),
                actuator_id=self.actuator,
                active_operation_mode_id=self.active,
                operation_mode_factor=self.factor,
            ),
        )
        start, end = self.modes[self.active]
        await self.measured(connection, start + self.factor * (end - start))

    async def handle_instruction(self, connection, msg, send_okay):
        await send_okay()
        self.active, self.factor = msg.operation_mode, msg.operation_mode_factor
        await self.became(connection, msg.id, InstructionStatus.SUCCEEDED)
        await self.told(connection)


class Charger(Talking, PEBCControlType):
    """A car that takes as much as it may, up to 11 kW; it keeps envelopes by its own clock."""

    def __init__(self):
        self.constraints = uuid.uuid4()
        self.elements, self.started = [], 0.0
        self.roles = [RoleType.ENERGY_CONSUMER]

    def power_w(self):
        left_s = time.monotonic() - self.started
        for element in self.elements:
            left_s -= element.duration.root / 1000
            if left_s < 0:
                return element.upper_limit
        return 0.0

    async def activate(self, connection):
        bands = [(PEBCPowerEnvelopeLimitType.UPPER_LIMIT, 11_000.0), (PEBCPowerEnvelopeLimitType.LOWER_LIMIT, 0.0)]
        await self.say(
            connection,
            PEBCPowerConstraints(
                message_id=uuid.uuid4(),
                id=self.constraints,
                valid_from=utc(),
                consequence_type=PEBCPowerEnvelopeConsequenceType.DEFER,
                allowed_limit_ranges=[
                    PEBCAllowedLimitRange(
                        commodity_quantity=QUANTITY,
                        limit_type=kind,
                        range_boundary=NumberRange(start_of_range=0, end_of_range=most),
                        abnormal_condition_only=False,
                    )
                    for kind, most in bands
                ],
            ),
        )
        self.measuring = asyncio.create_task(self.measure(connection))

    async def measure(self, connection):
        while True:
            await self.measured(connection, self.power_w())
            await asyncio.sleep(0.05)

    async def deactivate(self, connection):
        self.measuring.cancel()

    async def handle_instruction(self, connection, msg, send_okay):
        await send_okay()
        self.elements = msg.power_envelopes[0].power_envelope_elements
        self.started = time.monotonic() - max(0.0, (utc() - msg.execution_time).total_seconds())
        await self.became(connection, msg.id, InstructionStatus.STARTED)


class Washer(Talking, PPBCControlType):
    """A programme of an hour, which may be interrupted."""

    def __init__(self):
        self.profile, self.container, self.sequence = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        self.status = PPBCPowerSequenceStatus.NOT_SCHEDULED
        self.roles = [RoleType.ENERGY_CONSUMER]

    def register_handlers(self, connection):
        super().register_handlers(connection)
        for kind in (PPBCStartInterruptionInstruction, PPBCEndInterruptionInstruction, RevokeObject):
            connection.register_handler(kind, self.handle_instruction)

    async def activate(self, connection):
        hour = Duration.from_timedelta(timedelta(hours=1))
        element = PPBCPowerSequenceElement(
            duration=hour, power_values=[PowerForecastValue(value_expected=800, commodity_quantity=QUANTITY)]
        )
        sequence = PPBCPowerSequence(
            id=self.sequence, elements=[element], is_interruptible=True, abnormal_condition_only=False
        )
        await self.say(
            connection,
            PPBCPowerProfileDefinition(
                message_id=uuid.uuid4(),
                id=self.profile,
                start_time=utc() - timedelta(minutes=1),
                end_time=utc() + timedelta(hours=8),
                power_sequences_containers=[PPBCPowerSequenceContainer(id=self.container, power_sequences=[sequence])],
            ),
        )
        await self.told(connection)

    async def told(self, connection):
        status = PPBCPowerSequenceContainerStatus(
            power_profile_id=self.profile, sequence_container_id=self.container, status=self.status
        )
        if self.status is not PPBCPowerSequenceStatus.NOT_SCHEDULED:
            # The library takes a UUID alone for the progress that the standard asks for here.
            status.selected_sequence_id = self.sequence
        await self.say(connection, PPBCPowerProfileStatus(message_id=uuid.uuid4(), sequence_container_status=[status]))
        await self.measured(connection, 800.0 if self.status is PPBCPowerSequenceStatus.EXECUTING else 0.0)

    async def handle_instruction(self, connection, msg, send_okay):
        await send_okay()
        if isinstance(msg, RevokeObject):
            self.status = PPBCPowerSequenceStatus.NOT_SCHEDULED
        else:
            stopped = isinstance(msg, PPBCStartInterruptionInstruction)
            self.status = PPBCPowerSequenceStatus.INTERRUPTED if stopped else PPBCPowerSequenceStatus.EXECUTING
            await self.became(connection, msg.id, InstructionStatus.SUCCEEDED)
        await self.told(connection)


def transitions(ways):
    return [
        Transition.model_validate(
            {
                "id": uuid.uuid4(),
                "from": one,
                "to": other,
                "start_timers": [],
                "blocking_timers": [],
                "abnormal_condition_only": False,
            }
        )
        for one, other in ways
    ]


DEVICES = {"ombc": Relay, "frbc": Battery, "pebc": Charger, "ppbc": Washer}


async def serve(device, kind, port):
    details = AssetDetails(
        resource_id=uuid.uuid4(),
        name=kind,
        provides_forecast=False,
        provides_power_measurements=[QUANTITY],
        instruction_processing_delay=Duration.from_milliseconds(0),
        roles=[Role(role=role, commodity=Commodity.ELECTRICITY) for role in device.roles],
    )
    while True:
        medium = WebsocketClientMedium(f"ws://127.0.0.1:{port}/{kind}")
        try:
            await medium.connect()
        except MediumCouldNotConnectError:
            await asyncio.sleep(RETRY_S)
            continue
        connection = S2AsyncConnection(medium)
        ResourceManagerHandler([device], details).register_handlers(connection)
        await connection.run()
        await medium.disconnect()
        await asyncio.sleep(RETRY_S)


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    if port == 0:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    print(port, flush=True)
    asyncio.run(serve(DEVICES[kind](), kind, port))


if __name__ == "__main__":
    main()
