"""How much of a test every run has, and how much only campaigns."""

import os
from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def seeds(everyday: Iterable[int], *, campaign: Iterable[int]) -> list[int | ParameterSet]:
    """Seeds of every run, and those that only ``pytest -m campaign`` tries besides."""
    return [*everyday, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in campaign)]


def examples(everyday: int, *, full: int) -> int:
    """How many examples Hypothesis draws: in every run, and where ``GRIDPACT_CAMPAIGN`` is set."""
    return full if "GRIDPACT_CAMPAIGN" in os.environ else everyday
