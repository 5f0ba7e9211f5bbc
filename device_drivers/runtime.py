"""One device under its leases: what it is told, when it falls to its failsafe, what is reported.

There is no input or output here beside the device itself: whoever has a link calls `heartbeat` and `receive`,
and whoever has the time calls `tick`, at least once a second.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from device_drivers.clock import Clock
from device_drivers.device import Device, Reading, obeys
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.guard import Allowed, check
from device_drivers.lease import LeaseFence
from device_drivers.refusal import Refused
from device_drivers.report import ON_THE_WAY, Report, ReportState
from device_drivers.setpoint import Bounds, Command, Setpoint, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    expires_at: float
    setpoints: tuple[Setpoint, ...]


class DeviceRuntime:
    """A device that follows fresh commands, and its failsafe whenever there is none.

    What it should do is unknown at the start, so that the failsafe is applied at once.

    Parameters
    ----------
    device : Device
        What is told and read.
    clock : Clock
        Measures leases by `now` and chooses setpoints by `utc`.
    bounds : Bounds
        Power that the hardware may have, whatever it is told.
    failsafe : Target
        What the device does when nobody tells it anything.

    Raises
    ------
    InvalidValueError
        If the failsafe breaks the bounds.
    """

    def __init__(self, device: Device, clock: Clock, bounds: Bounds, failsafe: Target) -> None:
        self._device = device
        self._clock = clock
        self._bounds = bounds
        match check(failsafe, bounds):
            case Allowed(target=target):
                self._failsafe = target
            case Refused(reason=reason):
                raise InvalidValueError(f"failsafe: {reason}")
            case never:
                assert_never(never)
        self._fence = LeaseFence()
        self._lease: _Lease | None = None
        self._told: Target | None = None
        self._failsafe_active = True
        self._fault: str | None = None
        self.tick()

    @property
    def bounds(self) -> Bounds:
        """Power that the hardware may have."""
        return self._bounds

    @property
    def failsafe(self) -> Target:
        """What the device does when nobody tells it anything."""
        return self._failsafe

    @property
    def failsafe_active(self) -> bool:
        """Whether the failsafe holds, and no setpoint; true also of a device too faulty to be told."""
        return self._failsafe_active

    @property
    def fault(self) -> str | None:
        """How the device failed when it was last spoken to; None when it did not."""
        return self._fault

    def heartbeat(self) -> int:
        """Counter of a heartbeat that is sent now; leases in answer to it count from this instant."""
        return self._fence.heartbeat(self._clock.now())

    def observe_epoch(self, epoch: int) -> None:
        """Refuse commands of earlier epochs from now on; a running lease runs on."""
        self._fence.observe_epoch(epoch)

    def reading(self) -> Reading | None:
        """What the device does now; None when it does not say."""
        try:
            return self._device.read()
        except DeviceError as err:
            self._fault = str(err)
            return None

    def receive(self, command: Command) -> Report:
        """What became of a command that arrived now.

        One that is refused changes nothing of the running lease. One that the device fails on ends it: the
        controller learns that the failsafe acts, and has to command anew.
        """
        granted = self._fence.accept(command, self._clock.now())
        if isinstance(granted, Refused):
            return self._report(command, ReportState.REJECTED, granted.reason)
        guarded = self._guard(command.setpoints)
        if isinstance(guarded, Refused):
            return self._report(command, ReportState.REJECTED, guarded.reason)
        self._lease = _Lease(expires_at=granted.expires_at, setpoints=guarded)
        return self._follow(command)

    def tick(self) -> None:
        """Make the device do what holds now: a setpoint under a live lease, else the failsafe.

        A device that reads otherwise, or was never told, is told again; one that fails ends the lease.
        """
        target = self._choose()
        try:
            if self._told != target or obeys(self._device.read(), target) is False:
                self._apply(target)
        except DeviceError as err:
            self._retreat(err)
        else:
            self._fault = None

    def release(self) -> None:
        """End the lease now and go to the failsafe: nobody will tick after this."""
        self._lease = None
        self.tick()

    def _guard(self, setpoints: tuple[Setpoint, ...]) -> tuple[Setpoint, ...] | Refused:
        guarded: list[Setpoint] = []
        for setpoint in setpoints:
            match check(setpoint.target, self._bounds):
                case Allowed(target=target):
                    guarded.append(replace(setpoint, target=target))
                case Refused() as refused:
                    return refused
                case never:
                    assert_never(never)
        return tuple(guarded)

    def _choose(self) -> Target:
        """The target that holds now; a lease that ended is let go of, and cannot come back."""
        if self._lease is not None and self._clock.now() >= self._lease.expires_at:
            self._lease = None
        utc = self._clock.utc()
        for setpoint in () if self._lease is None else self._lease.setpoints:
            if setpoint.start <= utc < setpoint.end:
                self._failsafe_active = False
                return setpoint.target
        self._failsafe_active = True
        return self._failsafe

    def _apply(self, target: Target) -> None:
        # Forgotten first: a device that fails half-way may do either.
        self._told = None
        self._device.apply(target)
        self._told = target

    def _follow(self, command: Command) -> Report:
        target = self._choose()
        try:
            self._apply(target)
            reading = self._device.read()
        except DeviceError as err:
            self._retreat(err)
            return self._report(command, ReportState.FAILED, f"the device failed: {err}")
        self._fault = None
        if self._failsafe_active:
            return self._report(command, ReportState.APPLIED, "no setpoint holds now: failsafe")
        match obeys(reading, target):
            case True:
                return self._report(command, ReportState.VERIFIED)
            case False:
                return self._report(command, ReportState.DIVERGED, f"told {target}, read back {reading}")
            case None:
                return self._report(command, ReportState.APPLIED, "the device says nothing to verify it by")

    def _retreat(self, err: DeviceError) -> None:
        """Fall to the failsafe; where the device refuses even that, the next tick tries again."""
        self._fault = str(err)
        self._lease = None
        self._failsafe_active = True
        try:
            self._apply(self._failsafe)
        except DeviceError as again:
            self._fault = str(again)

    def _report(self, command: Command, state: ReportState, reason: str = "") -> Report:
        return Report(
            command_id=command.command_id,
            state=state,
            reason=reason,
            observed_at=self._clock.utc(),
            passed=ON_THE_WAY[state],
        )
