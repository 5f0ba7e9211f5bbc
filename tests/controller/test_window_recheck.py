"""Clearings that are checked anew before they act."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gridpact.v1 import dispatch_pb2


def broken(field, change):
    """A clearing like the reference's with one thing changed in it."""

    def answer(solver):
        def solve(community):
            clearing = solver.reference(community)
            return replace(clearing, **{field: change(getattr(clearing, field))})

        return solve

    return answer


def shifted(value, amount):
    series = value.copy()
    series.flat[0] += amount
    return series


def device(name, amount):
    return lambda schedules: {**schedules, name: shifted(schedules[name], amount)}


class TestRecheck:
    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("device_kw", device("eve/battery", 0.001)),
            ("device_kw", device("bob/boiler", 0.75)),
            ("device_kw", device("ada/pv", -1.0)),
            ("device_kw", device("bob/uncontrolled", -0.1)),
            ("device_kw", device("eve/battery", np.nan)),
            ("device_kw", device("eve/battery", np.inf)),
            ("trade_kwh", lambda energy: shifted(energy, 0.001)),
            ("trade_kwh", lambda energy: shifted(energy, np.nan)),
            ("import_kwh", lambda energy: shifted(energy, 0.001)),
            ("export_kwh", lambda energy: shifted(energy, -np.inf)),
            ("price", lambda price: shifted(price, np.nan)),
            ("price", lambda price: shifted(price, np.inf)),
            ("price", lambda price: price[:, 1:]),
            ("trade_kwh", lambda energy: energy[1:]),
            ("device_kw", lambda schedules: {name: series[1:] for name, series in schedules.items()}),
            ("device_kw", lambda schedules: {}),
            ("state_kwh", lambda stored: {}),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_clearing_that_breaks_a_rule_never_acts(self, site, field, change):
        site.solver.script.append(broken(field, change)(site.solver))
        site.live(until=site.start)
        row = site.row(0)
        assert (row.state, row.source) == ("FAILED", "FAILSAFE")
        assert row.failure
        assert not {table for table in ("trades", "positions", "setpoints") if site.of_window(table, 0)}

    def test_the_rule_that_it_breaks_is_named(self, site):
        site.solver.script.append(broken("device_kw", device("eve/battery", 5.0))(site.solver))
        site.live(until=site.start)
        assert site.row(0).failure.startswith("recomputed feasibility: ")
        assert "eve" in site.row(0).failure

    def test_noise_of_a_solver_is_no_breach(self, site):
        site.solver.script.append(broken("device_kw", device("eve/battery", 1e-7))(site.solver))
        site.live(until=site.start)
        assert site.row(0).source == "CLEARING"

    @pytest.mark.parametrize("bound", [-1.0, -1e9])
    def test_a_gap_labels_a_clearing_and_does_not_gate_it(self, site, bound):
        site.solver.script.append(broken("lower_bound", lambda _: bound)(site.solver))
        site.live(until=site.start)
        assert site.row(0).source == "CLEARING"
        assert json.loads(site.row(0).certificate)["gap"] > 1

    def test_a_clearing_of_which_no_bound_is_known_acts(self, site):
        site.solver.script.append(broken("lower_bound", lambda _: -np.inf)(site.solver))
        site.live(until=site.start)
        assert site.row(0).source == "CLEARING"
        clearing = site.aggregator.GetClearing(dispatch_pb2.GetClearingRequest(window=site.window(0))).clearing
        assert (clearing.certificate.lower_bound_micro, clearing.certificate.gap) == (-(2**63), np.inf)
