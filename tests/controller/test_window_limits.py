"""Envelopes that windows keep."""

import json
from collections import defaultdict

import pytest


class TestLimits:
    def net_w(self, site, number, target):
        snapshot = json.loads(site.row(number).snapshot)
        plan = json.loads(site.row(number).plan)
        members = {m["id"] for m in snapshot["members"] if target in ("all", m["section"], m["id"])}
        loads = {"ada": 301, "bob": 503, "eve": 707}
        devices = [p for d, p in plan["power_w"].items() if d.split("/")[0] in members]
        return [sum(loads[m] for m in members) + sum(p[k] for p in devices) for k in range(len(plan["net_w"]))]

    @pytest.mark.parametrize(
        ("target", "who", "bounds"),
        [
            ("microgrids/village", "all", (-1000, 1450)),
            ("microgrids/village/sections/east", "east", (-1200, 1700)),
            ("microgrids/village/members/eve", "eve", (100, 900)),
        ],
    )
    def test_plan_and_positions_keep_them(self, site, target, who, bounds):
        free = site.solver.asked
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, *bounds), target=target)))
        site.live(until=site.end)
        assert site.solver.asked > free
        for number in range(4):
            assert site.row(number).source == "CLEARING"
            assert all(bounds[0] <= power <= bounds[1] for power in self.net_w(site, number, who))
        members = {m for m, s in (("ada", "east"), ("bob", "east"), ("eve", "west")) if who in ("all", s, m)}
        energy = defaultdict(int)
        for row in site.rows("positions"):
            if row["member"] in members:
                energy[row["mtu_start"]] += row["net_wh"]
        assert all(bounds[0] <= 4 * wh <= bounds[1] for wh in energy.values())

    def test_one_that_comes_after_the_gate_binds_the_next_window(self, site):
        site.advance(site.start - 300)
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("late", (0, 8, -900, 1400))))
        site.live(until=site.start + 1800)
        assert json.loads(site.row(0).snapshot)["limits"] == []
        assert [limit["id"] for limit in json.loads(site.row(1).snapshot)["limits"]] == ["late"]

    def test_several_hold_at_once(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("a", (0, 8, None, 1500))))
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("b", (0, 4, -1000, 1450))))
        site.live(until=site.start)
        net = self.net_w(site, 0, "all")
        assert max(net) <= 1500
        assert all(-1000 <= power <= 1450 for power in net[:4])
