"""What a device has done until a window begins, from telemetry, the last snapshot and what it was told since."""

from collections.abc import Sequence
from dataclasses import dataclass

from controller.microgrid import Device, DeviceSetpoint, DeviceState, Microgrid, ThermalForecast
from controller.projecting import blank, corrected, project
from controller.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The time up to a window's ``start`` in a microgrid."""

    microgrid: Microgrid
    start: int

    def state(
        self,
        device: Device,
        telemetry: DeviceState | None,
        base: Snapshot | None,
        told: Sequence[DeviceSetpoint],
    ) -> DeviceState | None:
        """A device's state at the start; None where nothing is known of it.

        Parameters
        ----------
        device : which
        telemetry : its newest, or None
        base : an earlier window's snapshot, not newer than the telemetry; None where there is none
        told : the device's setpoints since then, in order of time
        """
        known = None if base is None else base.states.get(device.id)
        if known is None and telemetry is None and not told:
            return None
        if known is None and base is not None:
            known = blank(device.id, base.window.start)
        if known is None or telemetry is None:
            state = telemetry or known or blank(device.id, self.microgrid.start)
        else:
            expected = self._later(device, known, base, told, telemetry.instant)
            state = corrected(expected, telemetry, device)
        return self._later(device, state, base, told, self.start)

    def _later(
        self,
        device: Device,
        state: DeviceState,
        base: Snapshot | None,
        told: Sequence[DeviceSetpoint],
        until: int,
    ) -> DeviceState:
        order = None if base is None else base.orders.get(device.member)
        thermal = None if order is None else order.thermal.get(device.id)
        return project(
            state,
            device,
            told,
            until,
            self.microgrid.mtu_seconds,
            midnights=self.microgrid.midnights(),
            thermal=thermal or ThermalForecast(),
            thermal_start=self.microgrid.start if base is None else base.window.start,
        )
