"""Whatever is commanded, and whatever happens to driver, devices and clocks: no rule of the guard is ever broken.

Hypothesis looks for sequences and makes those that it finds short; seeded walks go through many more in the same time.
``python -m tests.device_drivers.test_guard_stateful FIRST COUNT`` walks the sequences of so many seeds from one on.
"""

import os
import sys
import time
from random import Random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.device_drivers.guarded import ACTIONS, RULES, Guarded

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
STEPS = 10
SEQUENCES = 100_000

actions = st.one_of(
    st.tuples(st.just(name), st.fixed_dictionaries({key: st.sampled_from(values) for key, values in domains.items()}))
    for name, domains in ACTIONS.items()
)


class GuardMachine(RuleBasedStateMachine):
    @initialize(kept=st.booleans())
    def start(self, kept):
        self.guarded = Guarded(kept=kept)

    @rule(action=actions)
    def act(self, action):
        name, values = action
        getattr(self.guarded, name)(**values)


def walk(seed):
    """One random sequence; returns what was done, and how it left the devices."""
    random = Random(seed)
    guarded = Guarded(kept=random.random() < 0.5)
    done = []
    for _ in range(STEPS):
        name = random.choice(NAMED)
        values = {key: random.choice(domain) for key, domain in ACTIONS[name].items()}
        done.append((name, values))
        try:
            getattr(guarded, name)(**values)
        except AssertionError as err:
            raise AssertionError(f"seed {seed}: {done}") from err
    return guarded


NAMED = tuple(ACTIONS)


def run(sequences):
    found = settings(max_examples=sequences, stateful_step_count=STEPS, deadline=None, database=None)
    run_state_machine_as_test(GuardMachine, settings=settings(found, phases=(Phase.generate, Phase.shrink)))


@pytest.mark.slow
def test_no_sequence_breaks_a_rule_of_the_guard():
    run(15)


@pytest.mark.slow
def test_no_walk_breaks_a_rule_of_the_guard_and_devices_are_switched_in_many():
    switched = [sum(len(edges) for edges in walk(seed).edges.values()) for seed in range(100)]
    assert sum(count > 0 for count in switched) > 50


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_hypothesis_finds_no_sequence_that_breaks_a_rule_of_the_guard():
    run(max(50, round(5_000 * SCALE)))


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_a_hundred_thousand_sequences_break_no_rule_of_the_guard():
    switched = dict.fromkeys(RULES, 0)
    for seed in range(round(SEQUENCES * SCALE)):
        for name, edges in walk(seed).edges.items():
            switched[name] += len(edges)
    assert all(switched[name] > 0 for name in RULES if name != "store")


if __name__ == "__main__":
    first, count = int(sys.argv[1]), int(sys.argv[2])
    started, edges = time.process_time(), 0
    for number in range(first, first + count):
        edges += sum(map(len, walk(number).edges.values()))
    print(f"seeds {first} to {first + count - 1}: {edges} switchings, {time.process_time() - started:.1f} s of CPU")
