"""DSO limits on running setpoints: pure, exact, and in need of nothing that may have stopped.

`clamp` says what each controllable device may take and give so that every scope of a microgrid keeps its band, from
what is measured and planned now. `ramp` spreads the return from a curtailment, `capped` is what a device is told under
a cap.
"""

from controller.clamp.ability import Ability, Level, ability_of
from controller.clamp.curtailing import Curtailment, ScopeOutcome, clamp
from controller.clamp.ramping import ramp
from controller.clamp.situation import Device, Margin, Planned, Policy, Scope, Situation, Span
from controller.clamp.telling import Cap, capped

__all__ = [
    "Ability",
    "Cap",
    "Curtailment",
    "Device",
    "Level",
    "Margin",
    "Planned",
    "Policy",
    "Scope",
    "ScopeOutcome",
    "Situation",
    "Span",
    "ability_of",
    "capped",
    "clamp",
    "ramp",
]
