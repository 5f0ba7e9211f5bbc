"""One device behind its resource manager: told targets, and read."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from device_drivers.arming import Arming
from device_drivers.clock import Clock
from device_drivers.connection import Capabilities
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.s2.control import Control
from device_drivers.s2.envelope import Envelopes
from device_drivers.s2.line import Line, Told
from device_drivers.s2.session import Session
from device_drivers.s2.spec import Spec
from device_drivers.setpoint import Target

_AMISS_S = 1.0
"""s by which a manager's clock may be wrong where it has to begin or end something: it may say whole seconds."""


class S2Connection:
    """One device.

    Parameters
    ----------
    line : Line
        To its manager.
    spec : Spec
        What is said of it.
    control : Control
        Of the first session.
    leave : callable
        Is told when nobody uses the line any more.
    measures : bool
        Whether the manager measures power.
    clock : Clock
        Of day, and one that nobody sets and that runs through suspension.
    """

    def __init__(
        self,
        line: Line,
        spec: Spec,
        control: Control,
        leave: Callable[..., Any],
        *,
        measures: bool,
        clock: Clock,
    ) -> None:
        self._line = line
        self._spec = spec
        self._leave = leave
        self._utc = clock.utc
        self._now = clock.now
        self._kind = control.kind
        self._arming = None if control.timer is None else Arming(control.timer, clock.now)
        self._closed = False
        self._capabilities = Capabilities(
            targets=frozenset({type(spec.wishes.failsafe)}),
            timer=control.timer,
            measures_power=measures,
            reads_state=True,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the device can do."""
        return self._capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Have the manager take an instruction, with the failsafe at its end where the control type knows an end."""
        if type(target) not in self._capabilities.targets:
            wanted = ", ".join(one.__name__ for one in self._capabilities.targets)
            raise DeviceError(f"s2: got {target}, wanted a {wanted}")
        self._line.told = None
        if self._arming is None or revert_after_s is None or target == self._spec.wishes.failsafe:
            await self._instruct(target, None)
            return
        await self._arming.arm(revert_after_s, lambda seconds: self._instruct(target, seconds))

    async def read(self) -> Reading:
        """What the manager has said up to now, once it has answered a ping."""
        session, control = await self._reached()
        told = self._line.told
        if control.timer is not None and told is not None and (told.session is not session or control.stale):
            # Nobody says that it still holds: the manager was away, or has other constraints.
            left_s = None if told.until is None else told.until - self._now()
            if left_s is None or left_s > 0:
                await self.apply(told.target, revert_after_s=left_s)
            else:
                await self.apply(self._spec.wishes.failsafe, revert_after_s=None)
        session.check()
        reading = control.reading(session.power_w(self._spec.power_age_s))
        return replace(reading, limit_w=self._limit_w(control)) if isinstance(control, Envelopes) else reading

    def _limit_w(self, control: Envelopes) -> int | None:
        """What the manager said that it keeps now."""
        told = self._line.told
        if told is None:
            return None
        holds = told.until is None or self._now() < told.until
        return control.limit_w(told.target if holds else self._spec.wishes.failsafe)

    async def aclose(self) -> None:
        """Let go of the manager, which goes on as it was told."""
        if not self._closed:
            self._closed = True
            self._line.users -= 1
            await self._leave(self._line, close=True)

    async def _reached(self) -> tuple[Session, Control]:
        """The session and its control type, the manager having just answered."""
        silent: Session | None = None
        try:
            async with asyncio.timeout(self._spec.patience_s):
                session = silent = await self._line.session()
                await session.answer()
                silent = None
                control = await session.ready()
        except TimeoutError as err:
            if silent is not None:
                silent.drop("no answer to a ping")
            raise self._late() from err
        except InvalidValueError as err:  # of a manager that is another one by now
            raise DeviceError(f"s2: {err}") from err
        self._same(control)
        return session, control

    async def _instruct(self, target: Target, lasts_s: float | None) -> None:
        try:
            async with asyncio.timeout(self._spec.patience_s):
                session = await self._line.session()
                control = await session.ready()
                self._same(control)
                began, began_utc = self._now(), self._utc()
                steps = control.steps(target, lasts_s, began_utc)
                word = await session.instruct(steps, lambda: control.shows(target))
        except TimeoutError as err:
            raise self._late() from err
        except InvalidValueError as err:  # of a manager that is another one by now
            raise DeviceError(f"s2: {err}") from err
        if control.timer is not None and word is not None:
            behind_s, ahead_s = (began_utc - word.at).total_seconds(), (word.at - self._utc()).total_seconds()
            # What lasts begins at once by a clock that is ahead; by one that is behind it waits.
            if behind_s > _AMISS_S or (lasts_s is not None and ahead_s > _AMISS_S):
                way = f"{behind_s:.1f} s behind" if behind_s > 0 else f"{ahead_s:.1f} s ahead"
                raise DeviceError(
                    f"s2: got a clock of the resource manager that is {way}, "
                    f"wanted it right within {_AMISS_S:g} s, as what it is told begins and ends by it"
                )
        self._line.told = Told(target=target, until=None if lasts_s is None else began + lasts_s, session=session)

    def _same(self, control: Control) -> None:
        if control.kind is not self._kind:
            raise DeviceError(f"s2: got {control.kind.value}, wanted {self._kind.value} as before")

    def _late(self) -> DeviceError:
        return silent(self._line, self._spec)


def silent(line: Line, spec: Spec) -> DeviceError:
    """What is raised where nothing came in time."""
    return DeviceError(f"s2: {line.place.path}: got nothing in {spec.patience_s:g} s, wanted {line.missing()}")
