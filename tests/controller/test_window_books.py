"""What is in the books of windows that were cleared, and of one that failed."""

import json
from collections import defaultdict
from dataclasses import asdict

import pytest

from controller import uplifts
from controller.microgrid import Trade
from controller.settlement import settle
from controller.store import evidence
from gridpact.v1 import participant_pb2
from tests.controller.stand_ins import FAULT
from tests.controller.village import NET_WH, calendar

TRADE = ("seller", "buyer", "mtu_start", "energy_wh", "price_micro_per_kwh")


class TestBooks:
    @pytest.fixture
    def day(self, site):
        """The whole horizon."""
        site.live(until=site.end)
        return site

    def test_trades_make_up_every_position_exactly(self, day):
        net = defaultdict(int)
        for trade in day.rows("trades"):
            net[trade["buyer"], trade["mtu_start"]] += trade["energy_wh"]
            net[trade["seller"], trade["mtu_start"]] -= trade["energy_wh"]
        positions = {(row["member"], row["mtu_start"]): row["net_wh"] for row in day.rows("positions")}
        assert len(positions) == 3 * 8
        assert {place: energy for place, energy in net.items() if place[0] != "grid"} | {
            place: 0 for place in positions if place not in net
        } == positions

    def test_neighbours_trade(self, day):
        assert any("grid" not in (trade["seller"], trade["buyer"]) for trade in day.rows("trades"))

    def test_neighbours_prices_lie_between_the_tariffs(self, day):
        for trade in day.rows("trades"):
            dear = trade["mtu_start"] >= day.start + 3600
            low, high = (39_003, 95_001) if dear else (39_000, 60_000)
            if "grid" not in (trade["seller"], trade["buyer"]):
                assert low <= trade["price_micro_per_kwh"] <= high - 5000
            else:
                assert trade["price_micro_per_kwh"] == (high if trade["seller"] == "grid" else low)

    def test_positions_follow_the_watts_and_carry_what_is_left(self, day):
        """Over all windows, what was rounded away from each member is what its last remainder says."""
        watts = dict.fromkeys(day.members, 0)
        for number in range(4):
            plan = json.loads(day.row(number).plan)
            for member, load in (("ada", 301), ("bob", 503), ("eve", 707)):
                watts[member] += 2 * load
                watts[member] += sum(sum(p[:2]) for d, p in plan["power_w"].items() if d.startswith(member))
        energy = defaultdict(int)
        for row in day.rows("positions"):
            energy[row["member"]] += row["net_wh"]
        carry = json.loads(day.row(3).carry)
        assert {member: 15 * watts[member] - 60 * energy[member] for member in day.members} == {
            member: carry[f"peer {member}"] for member in day.members
        }
        assert any(carry.values())

    def test_postings_sum_to_zero_in_every_window(self, day):
        for number in range(4):
            amounts = [amount for _, _, amount in day.postings(number)]
            assert sum(amounts) == 0
            assert amounts

    def test_preferences_are_utility_and_never_posted(self, day):
        """Trades, meters and uplifts alone make the ledger: nothing of what orders say a partner is worth."""
        orders = [participant_pb2.Order.FromString(row["payload"]) for row in day.rows("orders")]
        assert any(partner.preference_micro_per_kwh for order in orders for partner in order.partners)
        for number in range(4):
            metered = {
                (member, day.start + 900 * k): NET_WH[member][k]
                for member in day.members
                for k in (2 * number, 2 * number + 1)
            }
            trades = [Trade(**{name: row[name] for name in TRADE}) for row in day.of_window("trades", number)]
            given = {one.member: one.uplift_micro for one in uplifts.from_json(day.row(number).uplifts)}
            computed = settle(calendar("village"), trades, metered, given, window=day.window(number))
            assert [asdict(one) for one in computed] == [
                {name: row[name] for name in asdict(computed[0])} for row in day.of_window("postings", number)
            ]

    def test_every_device_has_a_setpoint_in_every_mtu(self, day):
        told = {(row["device"], row["mtu_start"]) for row in day.rows("setpoints")}
        devices = ("ada/pv", "bob/boiler", "eve/battery")
        assert told == {(device, day.start + 900 * mtu) for device in devices for mtu in range(8)}

    def test_each_reading_is_sealed_once(self, day):
        sealed = [(row["meter"], row["instant"]) for row in day.rows("readings")]
        assert len(set(sealed)) == len(sealed) == len(day.rows("meter_readings")) == 27

    def test_headers_are_a_chain_over_the_windows_digests(self, day):
        headers = day.database.run(evidence.headers, "village")
        assert [header.inputs_digest for header in headers] == [day.row(number).inputs_digest for number in range(4)]
        assert [header.previous for header in headers[1:]] == [header.hash for header in headers[:-1]]

    def test_each_window_looks_to_the_end_of_the_horizon(self, day):
        assert [len(json.loads(day.row(number).plan)["net_w"]) for number in range(4)] == [8, 6, 4, 2]

    def test_each_clearing_is_within_its_declared_gap(self, day):
        for number in range(4):
            certificate = json.loads(day.row(number).certificate)
            assert certificate["lower_bound_micro"] <= certificate["objective_micro"]
            assert certificate["gap"] <= 0.01
            assert certificate["primal_residual_w"] <= 0.01


class TestFailedBooks:
    @pytest.fixture
    def failed(self, anchored):
        """The second window failed; the day went on."""
        anchored.live(until=anchored.start)
        anchored.solver.script.append(FAULT)
        anchored.live(until=anchored.end)
        anchored.anchor()
        return anchored

    def test_it_is_metered_settled_and_anchored_like_any_other(self, failed):
        assert failed.states() == ["ANCHORED"] * 4
        assert (failed.row(1).failure, failed.row(1).source) == (str(FAULT), "TAIL")

    def test_nothing_was_traded_in_it(self, failed):
        assert failed.of_window("trades", 1) == []
        assert failed.of_window("positions", 1) == []

    def test_everything_is_paid_at_the_grids_price(self, failed):
        expected = []
        # From the meters of the third and fourth quarter-hours: ada -400, -633; bob 500, 376; eve -20, 340 Wh.
        for net, energies in ((80, {"ada": -400, "bob": 500, "eve": -20}), (83, {"ada": -633, "bob": 376, "eve": 340})):
            for member, energy in energies.items():
                amount = energy * (60 if energy > 0 else 39)
                expected += [(member, "IMBALANCE", -amount), ("community", "IMBALANCE", amount)]
            expected += [("community", "IMBALANCE", -net * 60), ("grid", "IMBALANCE", net * 60)]
        assert failed.postings(1) == expected

    def test_its_header_is_in_the_chain(self, failed):
        headers = failed.database.run(evidence.headers, "village")
        assert [header.window for header in headers] == [failed.window(number) for number in range(4)]
        assert (headers[1].trades_count, headers[1].turnover_micro) == (0, 0)
        assert headers[1].inputs_digest == failed.row(1).inputs_digest
