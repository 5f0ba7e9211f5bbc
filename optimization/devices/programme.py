"""An uninterruptible cycle with its own power profile (S2: power profile based control).

A programme is one phase after the other, with pauses between them that may be bounded. A phase, once begun, is not
interrupted; a programme, once begun, is finished. The dryer that follows the washer names it, and begins between
``min_delay_mtus`` and ``max_delay_mtus`` after the washer's last phase has ended.
"""

from dataclasses import dataclass

from optimization.errors import ProblemError
from optimization.quantities import MAX_MTUS, DeviceId, Floats, count, mtu_window, number, series
from optimization.waiting import WAITING_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a programme that nothing interrupts.

    Attributes
    ----------
    power_kw : (L,) kW in each of its MTUs, non-negative
    min_pause_mtus, max_pause_mtus : between the end of the phase before and this one's begin; without meaning for
        the first
    """

    power_kw: Floats
    min_pause_mtus: int = 0
    max_pause_mtus: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "power_kw", series("phase.power_kw", self.power_kw, lower=0.0))
        count("phase.min_pause_mtus", self.min_pause_mtus)
        count("phase.max_pause_mtus", self.max_pause_mtus, lower=self.min_pause_mtus)

    @property
    def mtus(self) -> int:
        """Its length."""
        return int(self.power_kw.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a programme has come that was begun before the horizon.

    Attributes
    ----------
    phase : index of the phase that runs, or that was the last to end
    elapsed_mtus : MTUs of that phase that are done, 1 to its length
    paused_mtus : MTUs since it ended, where it did; 0 while it runs
    """

    phase: int
    elapsed_mtus: int
    paused_mtus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """A cycle that is started once inside its window.

    A programme that is not run at all counts as a shortfall of all its energy, at the community's shortfall price; one
    that was begun cannot be left out, ends when it ends, and may reach beyond its window or the horizon.

    Attributes
    ----------
    id : device id
    phases : at least one
    first_mtu, end_mtu : half-open window in MTUs of the horizon inside which it is begun and ended
    follows : the programme of the same peer after which it runs, or None
    min_delay_mtus, max_delay_mtus : MTUs between that one's end and its own begin
    progress : None where it has not begun
    waiting_cost : currency per kWh consumed later than the horizon's start, and hour; makes ties go to running early
    """

    id: DeviceId
    phases: tuple[Phase, ...]
    first_mtu: int
    end_mtu: int
    follows: DeviceId | None = None
    min_delay_mtus: int = 0
    max_delay_mtus: int = MAX_MTUS
    progress: Progress | None = None
    waiting_cost: float = WAITING_COST

    def __post_init__(self) -> None:
        if not self.phases:
            raise ProblemError(f"{self.id}.phases: got none, wanted at least one")
        mtu_window(str(self.id), self.first_mtu, self.end_mtu)
        number(f"{self.id}.waiting_cost", self.waiting_cost)
        count(f"{self.id}.min_delay_mtus", self.min_delay_mtus)
        count(f"{self.id}.max_delay_mtus", self.max_delay_mtus, lower=self.min_delay_mtus)
        if self.follows == self.id:
            raise ProblemError(f"{self.id}.follows: got itself, wanted another programme")
        if self.progress is not None:
            count(f"{self.id}.progress.phase", self.progress.phase, upper=len(self.phases) - 1)
            phase = self.phases[self.progress.phase]
            count(f"{self.id}.progress.elapsed_mtus", self.progress.elapsed_mtus, lower=1, upper=phase.mtus)
            paused = 0 if self.progress.elapsed_mtus < phase.mtus else MAX_MTUS
            count(f"{self.id}.progress.paused_mtus", self.progress.paused_mtus, upper=paused)

    def energy_kwh(self, hours: float) -> float:
        """Energy of the whole cycle in kWh, with MTUs of so many hours."""
        return hours * float(sum(phase.power_kw.sum() for phase in self.phases))
