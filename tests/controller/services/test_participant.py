import hashlib
import json

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode

from contracts.header import WindowHeader
from contracts.leaves import TradeLeaf
from contracts.merkle import verify_proof
from controller.services.proofs import header_message
from controller.store import evidence
from gridpact.v1 import participant_pb2, participant_pb2_grpc

NAME = "microgrids/village"


def partner(member, preference=0):
    return participant_pb2.Partner(member=member, preference_micro_per_kwh=preference)


def forecast(device, series):
    return participant_pb2.ProductionForecast(device=f"{NAME}/members/{device}", available_w=series)


class TestUpdateFlexibility:
    BOILER = f"{NAME}/members/bob/devices/boiler"

    def request(self, site, flexibility):
        return participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id=site.request_id())

    def boiler(self, site, **changes):
        control = participant_pb2.OperationModeBasedControl(
            rated_power_w=1000, required_duration=Duration(seconds=1800)
        )
        control.allowed.start_time.seconds = site.start
        control.allowed.end_time.seconds = site.start + 3600
        control.MergeFrom(participant_pb2.OperationModeBasedControl(**changes))
        return participant_pb2.Flexibility(device=self.BOILER, operation_mode=control)

    def battery(self, **changes):
        values = {
            "max_charge_w": 2000,
            "max_discharge_w": 0,
            "capacity_wh": 4000,
            "stored_wh": 0,
            "final_wh": 4000,
            "charge_efficiency_ppm": 1_000_000,
            "discharge_efficiency_ppm": 10_000,
        }
        control = participant_pb2.FillRateBasedControl(**values | changes)
        return participant_pb2.Flexibility(device=f"{NAME}/members/bob/devices/cellar", fill_rate=control)

    def plant(self, rated_w):
        control = participant_pb2.PowerEnvelopeBasedControl(rated_power_w=rated_w)
        return participant_pb2.Flexibility(device=f"{NAME}/members/bob/devices/roof", power_envelope=control)

    def test_each_model_is_kept_as_it_was_said(self, site):
        bob = site.participant("bob")
        for flexibility in (self.boiler(site), self.battery(), self.plant(0)):
            assert bob.UpdateFlexibility(self.request(site, flexibility)).flexibility == flexibility
        kept = [row["id"] for row in site.rows("devices") if row["member"] == "bob"]
        assert kept == ["bob/boiler", "bob/cellar", "bob/roof"]

    def test_a_later_one_replaces_it(self, site):
        site.participant("bob").UpdateFlexibility(self.request(site, self.boiler(site)))
        kept = next(row for row in site.rows("devices") if row["id"] == "bob/boiler")
        assert json.loads(kept["flexibility"]) == {
            "kind": "Relay",
            "rated_w": 1000,
            "start": site.start,
            "end": site.start + 3600,
            "required_s": 1800,
            "min_on_s": 0,
            "min_off_s": 0,
            "max_starts_per_day": None,
        }

    @pytest.mark.parametrize(
        ("seconds", "refused"), [(0, False), (3600, False), (4500, True), (901, True), (-900, True)]
    )
    def test_running_time_is_whole_mtus_that_fit(self, site, seconds, refused):
        flexibility = self.boiler(site)
        flexibility.operation_mode.required_duration.seconds = seconds
        request = self.request(site, flexibility)
        if refused:
            answer = site.refused(site.participant("bob").UpdateFlexibility, request)
            assert answer.code is StatusCode.INVALID_ARGUMENT
            assert answer.fields == ("flexibility.operation_mode.required_duration",)
        else:
            assert site.participant("bob").UpdateFlexibility(request).flexibility == flexibility

    @pytest.mark.parametrize("rated_w", [0, -1, 10**6 + 1])
    def test_an_appliance_without_power_is_out_of_range(self, site, rated_w):
        flexibility = self.boiler(site)
        flexibility.operation_mode.rated_power_w = rated_w
        answer = site.refused(site.participant("bob").UpdateFlexibility, self.request(site, flexibility))
        assert (answer.code, answer.fields) == (
            StatusCode.OUT_OF_RANGE,
            ("flexibility.operation_mode.rated_power_w",),
        )

    def test_an_appliance_without_a_time_is_out_of_range(self, site):
        flexibility = self.boiler(site)
        flexibility.operation_mode.ClearField("allowed")
        answer = site.refused(site.participant("bob").UpdateFlexibility, self.request(site, flexibility))
        assert answer.fields == ("flexibility.operation_mode.allowed.start_time",)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("capacity_wh", 0),
            ("capacity_wh", 10**12 + 1),
            ("stored_wh", 4001),
            ("stored_wh", -1),
            ("final_wh", 4001),
            ("max_charge_w", -1),
            ("max_discharge_w", -1),
            ("charge_efficiency_ppm", 9_999),
            ("charge_efficiency_ppm", 1_000_001),
            ("discharge_efficiency_ppm", 0),
            ("cycle_cost_micro_per_kwh", -1),
        ],
    )
    def test_a_storages_number_out_of_range_is_named(self, site, field, value):
        request = self.request(site, self.battery(**{field: value}))
        answer = site.refused(site.participant("bob").UpdateFlexibility, request)
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, (f"flexibility.fill_rate.{field}",))

    @pytest.mark.slow
    def test_a_member_may_have_sixty_four_devices(self, site):
        def update(number):
            flexibility = self.plant(1000)
            flexibility.device = f"{NAME}/members/ada/devices/roof-{number}"
            return self.request(site, flexibility)

        ada = site.participant("ada")
        own = sum(row["member"] == "ada" for row in site.rows("devices"))
        for number in range(64 - own):
            ada.UpdateFlexibility(update(number))
        answer = site.refused(ada.UpdateFlexibility, update(64))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "TOO_MANY_DEVICES")
        ada.UpdateFlexibility(update(0))

    def test_a_plants_rating_out_of_range_is_named(self, site):
        answer = site.refused(site.participant("bob").UpdateFlexibility, self.request(site, self.plant(-1)))
        assert answer.fields == ("flexibility.power_envelope.rated_power_w",)

    def test_a_device_that_can_do_nothing_is_refused(self, site):
        flexibility = participant_pb2.Flexibility(device=self.BOILER)
        answer = site.refused(site.participant("bob").UpdateFlexibility, self.request(site, flexibility))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("flexibility.control",))

    def programme(self, site, device, follows=""):
        control = participant_pb2.PowerProfileBasedControl(
            phases=[participant_pb2.PowerProfilePhase(power_w=[2000, 400])],
            follows=follows and f"{NAME}/members/bob/devices/{follows}",
        )
        control.allowed.start_time.seconds = site.start
        control.allowed.end_time.seconds = site.start + 7200
        return participant_pb2.Flexibility(device=f"{NAME}/members/bob/devices/{device}", power_profile=control)

    def test_a_chain_of_programmes_is_registered_first_one_first(self, site):
        bob = site.participant("bob")
        for flexibility in (self.programme(site, "washer"), self.programme(site, "dryer", "washer")):
            assert bob.UpdateFlexibility(self.request(site, flexibility)).flexibility == flexibility

    def test_what_follows_no_programme_is_refused(self, site):
        for before in ("washer", "boiler"):
            request = self.request(site, self.programme(site, "dryer", before))
            answer = site.refused(site.participant("bob").UpdateFlexibility, request)
            assert answer.fields == ("flexibility.power_profile.follows",)
            assert "a programme of the same member" in answer.descriptions[0]

    def test_a_second_follower_and_a_ring_are_refused(self, site):
        bob = site.participant("bob")
        for chain in (("washer",), ("dryer", "washer"), ("iron", "dryer")):
            bob.UpdateFlexibility(self.request(site, self.programme(site, *chain)))
        rival = site.refused(bob.UpdateFlexibility, self.request(site, self.programme(site, "press", "washer")))
        assert "which bob/dryer follows already" in rival.descriptions[0]
        ring = site.refused(bob.UpdateFlexibility, self.request(site, self.programme(site, "washer", "iron")))
        assert ring.descriptions[0].endswith("wanted no ring")

    def test_a_malformed_name_is_invalid(self, site):
        flexibility = self.plant(1)
        flexibility.device = "bob/roof"
        answer = site.refused(site.participant("bob").UpdateFlexibility, self.request(site, flexibility))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("flexibility.device",))

    @pytest.mark.parametrize("caller", ["ada", "zoe"])
    def test_somebody_elses_device_is_not_found(self, site, caller):
        answer = site.refused(site.participant(caller).UpdateFlexibility, self.request(site, self.plant(1)))
        assert answer.code is StatusCode.NOT_FOUND

    def test_one_who_is_no_member_has_no_devices(self, site):
        flexibility = self.plant(1)
        flexibility.device = f"{NAME}/members/zoe/devices/roof"
        answer = site.refused(site.participant("zoe").UpdateFlexibility, self.request(site, flexibility))
        assert answer.code is StatusCode.NOT_FOUND


class TestSubmitOrder:
    def submit(self, site, member, **changes):
        return site.participant(member).SubmitOrder(site.order_request(member, **changes))

    def refused(self, site, member, number=0, **changes):
        request = site.order_request(member, number, **changes)
        return site.refused(site.participant(member).SubmitOrder, request)

    def test_it_is_answered_by_the_digest_of_what_was_signed(self, site):
        request = site.order_request("ada", 1)
        digest = site.participant("ada").SubmitOrder(request).digest
        assert digest == hashlib.sha256(request.order.payload).digest()
        kept = next(row for row in site.rows("orders") if row["window"] == site.window(1))
        assert (kept["payload"], kept["signature"]) == (request.order.payload, request.order.signature)

    def test_a_later_one_counts_and_the_earlier_is_kept(self, site):
        self.submit(site, "bob", load_w=[100] * 8)
        assert [row["version"] for row in site.rows("orders") if row["member"] == "bob"] == [1, 2]
        site.advance(site.start - 300)
        assert json.loads(site.row(0).snapshot)["orders"]["bob"]["load_w"] == [100] * 8

    def test_the_newest_one_stands_for_later_windows(self, site):
        site.live(until=site.start + 1800)
        assert json.loads(site.row(1).snapshot)["orders"]["bob"]["load_w"] == [503] * 6

    @pytest.mark.parametrize("late_s", [0, 1, 3600])
    def test_the_gate_closes_for_orders(self, site, late_s):
        site.clock.set(site.start - 300 + late_s)
        answer = self.refused(site, "ada")
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "GATE_CLOSED")

    def test_a_second_before_it_is_open(self, site):
        site.clock.set(site.start - 301)
        assert self.submit(site, "ada").digest

    def test_a_closed_window_leaves_the_next_one_open(self, site):
        site.advance(site.start - 300)
        assert self.refused(site, "ada").reason == "GATE_CLOSED"
        assert site.participant("ada").SubmitOrder(site.order_request("ada", 1)).digest

    @pytest.mark.parametrize("mtus", [0, 7, 9, 200_000])
    def test_a_load_of_the_wrong_length_is_refused(self, site, mtus):
        answer = self.refused(site, "bob", load_w=[1] * mtus)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("order.load_w",))

    def test_the_length_is_that_of_the_rest_of_the_horizon(self, site):
        answer = self.refused(site, "bob", 3, load_w=[1] * 8)
        assert answer.descriptions == ("got '8 values', wanted 2, one for each MTU of the horizon",)

    @pytest.mark.parametrize("power_w", [-1, 10**6 + 1, -(2**63), 2**63 - 1])
    def test_a_load_out_of_range_is_named_by_its_mtu(self, site, power_w):
        answer = self.refused(site, "bob", load_w=[1, 2, 3, power_w, 5, 6, 7, 8])
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("order.load_w[3]",))

    def test_a_forecast_of_the_wrong_length_is_refused(self, site):
        answer = self.refused(site, "ada", production=[forecast("ada/devices/pv", [1] * 7)])
        assert answer.fields == ("order.production[0].available_w",)

    def test_a_negative_forecast_is_out_of_range(self, site):
        answer = self.refused(site, "ada", production=[forecast("ada/devices/pv", [1] * 7 + [-1])])
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("order.production[0].available_w[7]",))

    def test_a_device_that_is_forecast_twice_is_refused(self, site):
        answer = self.refused(site, "ada", production=[forecast("ada/devices/pv", [1] * 8)] * 2)
        assert answer.fields == ("order.production[1].device",)

    @pytest.mark.parametrize("device", ["eve/devices/battery", "ada/devices/none", "zoe/devices/pv"])
    def test_a_foreign_or_unknown_device_is_not_found(self, site, device):
        answer = self.refused(site, "ada", production=[forecast(device, [1] * 8)])
        assert answer.code is StatusCode.NOT_FOUND

    @pytest.fixture
    def heated(self, site):
        """The village, in which ada has a thermostat."""
        thermostat = participant_pb2.Thermostat(
            rated_power_w=2000,
            heat_capacity_wh_per_k=175,
            performance_ppm=1_000_000,
            temperature_milli_c=50_000,
            lower_milli_c=45_000,
            upper_milli_c=65_000,
        )
        flexibility = participant_pb2.Flexibility(device=f"{NAME}/members/ada/devices/tank", thermostat=thermostat)
        site.participant("ada").UpdateFlexibility(
            participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id=site.request_id())
        )
        return site

    def thermal(self, device="ada/devices/tank", **series):
        return participant_pb2.ThermalForecast(device=f"{NAME}/members/{device}", **series)

    def test_what_surrounds_a_thermostat_is_frozen_with_the_window(self, heated):
        self.submit(heated, "ada", thermal=[self.thermal(draw_w=[500] * 8, ambient_milli_c=[-1000] * 8)])
        heated.live(until=heated.start + 1500)
        for number, mtus in ((0, 8), (1, 6)):
            found = json.loads(heated.row(number).snapshot)["orders"]["ada"]["thermal"]["ada/tank"]
            assert found == {"draw_w": [500] * mtus, "ambient_milli_c": [-1000] * mtus, "performance_ppm": []}

    @pytest.mark.parametrize(
        ("series", "field"),
        [
            ({"draw_w": [1] * 7}, "draw_w"),
            ({"ambient_milli_c": [0] * 9}, "ambient_milli_c"),
            ({"ambient_milli_c": [0] * 7 + [10**6 + 1]}, "ambient_milli_c[7]"),
            ({"performance_ppm": [10**8 + 1] + [1] * 7}, "performance_ppm[0]"),
            ({"draw_w": [-(10**6) - 1] + [1] * 7}, "draw_w[0]"),
        ],
    )
    def test_a_thermal_forecast_that_is_none_is_named(self, heated, series, field):
        answer = self.refused(heated, "ada", thermal=[self.thermal(**series)])
        assert answer.fields == (f"order.thermal[0].{field}",)

    def test_a_thermostat_is_forecast_once_and_is_ones_own(self, heated):
        assert self.refused(heated, "ada", thermal=[self.thermal()] * 2).fields == ("order.thermal[1].device",)
        for device in ("ada/devices/pv", "eve/devices/tank"):
            assert self.refused(heated, "ada", thermal=[self.thermal(device)]).code is StatusCode.NOT_FOUND

    def test_six_partners_are_allowed_and_seven_are_not(self, site):
        partners = [partner(f"{NAME}/members/m{number}") for number in range(7)]
        assert self.submit(site, "ada", partners=partners[:6]).digest
        answer = self.refused(site, "ada", partners=partners)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("order.partners",))

    @pytest.mark.parametrize(
        ("member", "code"),
        [
            (f"{NAME}/members/ada", StatusCode.INVALID_ARGUMENT),
            (f"{NAME}/members/eve", StatusCode.INVALID_ARGUMENT),
            ("eve", StatusCode.INVALID_ARGUMENT),
            ("microgrids/hamlet/members/eve", StatusCode.NOT_FOUND),
        ],
        ids=["oneself", "one twice", "malformed", "one of elsewhere"],
    )
    def test_a_partner_that_is_none_is_refused(self, site, member, code):
        answer = self.refused(site, "ada", partners=[partner(f"{NAME}/members/eve"), partner(member)])
        assert answer.code is code
        assert answer.fields == (("order.partners[1].member",) if code is StatusCode.INVALID_ARGUMENT else ())

    @pytest.mark.parametrize("preference", [-1, 10**9 + 1])
    def test_a_preference_out_of_range_is_named(self, site, preference):
        answer = self.refused(site, "ada", partners=[partner(f"{NAME}/members/eve", preference)])
        assert (answer.code, answer.fields) == (
            StatusCode.OUT_OF_RANGE,
            ("order.partners[0].preference_micro_per_kwh",),
        )

    @pytest.mark.parametrize(
        "window", ["", "microgrids/village", "microgrids/village/windows/now", "microgrids/village/windows/"]
    )
    def test_a_malformed_window_is_invalid(self, site, window):
        answer = self.refused(site, "ada", window=window)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("order.window",))

    @pytest.mark.parametrize(
        "window", ["microgrids/village/windows/20260302T061500Z", "microgrids/hamlet/windows/20260302T060000Z"]
    )
    def test_an_unknown_window_is_not_found(self, site, window):
        assert self.refused(site, "ada", window=window).code is StatusCode.NOT_FOUND

    def test_nobody_orders_for_a_neighbour(self, site):
        order = site.order("bob")
        request = participant_pb2.SubmitOrderRequest(
            order=site.signed("ada", "order-ada", order), request_id=site.request_id()
        )
        assert site.refused(site.participant("ada").SubmitOrder, request).code is StatusCode.NOT_FOUND


class TestListOwnTrades:
    def trades(self, site, member, number=0, **values):
        request = participant_pb2.ListOwnTradesRequest(parent=site.window(number), **values)
        return site.participant(member).ListOwnTrades(request)

    def test_it_is_every_trade_of_the_callers_and_nobody_elses(self, settled):
        every = {
            f"{settled.window(0)}/trades/{row['ix']}": {row["seller"], row["buyer"]}
            for row in settled.rows("trades")
            if row["window"] == settled.window(0)
        }
        for member in settled.members:
            own = [trade.name for trade in self.trades(settled, member).trades]
            assert own == [name for name, sides in every.items() if member in sides]
            assert own

    def test_a_trade_says_what_was_cleared(self, settled):
        row = settled.rows("trades")[0]
        trade = self.trades(settled, "ada").trades[0]
        assert MessageToDict(trade) == {
            "name": f"{row['window']}/trades/0",
            "seller": row["seller"],
            "buyer": row["buyer"],
            "interval": {"startTime": "2026-03-02T06:00:00Z", "endTime": "2026-03-02T06:15:00Z"},
            "energyWh": str(row["energy_wh"]),
            "priceMicroPerKwh": str(row["price_micro_per_kwh"]),
        }

    def test_pages_hold_own_trades_only(self, settled):
        every = list(self.trades(settled, "ada").trades)
        first = self.trades(settled, "ada", page_size=1)
        rest = self.trades(settled, "ada", page_token=first.next_page_token)
        assert [*first.trades, *rest.trades] == every

    def test_an_open_window_has_none(self, settled):
        assert not self.trades(settled, "ada", 3).trades

    @pytest.mark.parametrize("name", ["grid", "zoe"])
    def test_one_who_is_no_member_finds_no_window(self, settled, name):
        """An identity that is called like the grid's account must not see everyone's trades with the grid."""
        request = participant_pb2.ListOwnTradesRequest(parent=settled.window(0))
        assert settled.refused(settled.participant(name).ListOwnTrades, request).code is StatusCode.NOT_FOUND


class TestGetTradeProof:
    def request(self, site, index, number=0):
        return participant_pb2.GetTradeProofRequest(name=f"{site.window(number)}/trades/{index}")

    def test_every_own_trade_is_proven_up_to_the_header(self, settled):
        for member in settled.members:
            ada = settled.participant(member)
            for trade in ada.ListOwnTrades(participant_pb2.ListOwnTradesRequest(parent=settled.window(0))).trades:
                proof = ada.GetTradeProof(participant_pb2.GetTradeProofRequest(name=trade.name)).proof
                leaf = TradeLeaf.from_json(json.loads(proof.record_json))
                assert proof.kind == "trade"
                assert verify_proof(leaf.hash, proof.path, proof.header.trades_root)
                assert (leaf.energy_wh, leaf.price_micro_per_kwh) == (trade.energy_wh, trade.price_micro_per_kwh)

    def test_a_changed_record_is_not_proven(self, settled):
        proof = settled.participant("ada").GetTradeProof(self.request(settled, 0)).proof
        record = json.loads(proof.record_json)
        for change in ({"energy_wh": record["energy_wh"] + 1}, {"salt": "0x" + "00" * 32}, {"index": 1}):
            leaf = TradeLeaf.from_json(record | change)
            assert not verify_proof(leaf.hash, proof.path, proof.header.trades_root)

    def test_the_header_hashes_to_what_is_chained_and_anchored(self, settled):
        header = settled.participant("ada").GetTradeProof(self.request(settled, 0)).proof.header
        kept = settled.database.run(evidence.header, settled.window(0))
        assert isinstance(kept, WindowHeader)
        assert header == header_message(kept)
        assert header.hash == kept.hash == settled.rows("anchors")[0]["header_hash"]

    def test_a_neighbours_trade_is_answered_like_none(self, settled):
        rows = [row for row in settled.rows("trades") if row["window"] == settled.window(0)]
        foreign = next(row["ix"] for row in rows if "ada" not in (row["seller"], row["buyer"]))
        ada = settled.participant("ada").GetTradeProof
        theirs = settled.refused(ada, self.request(settled, foreign))
        none = settled.refused(ada, self.request(settled, len(rows)))
        assert theirs.code is none.code is StatusCode.NOT_FOUND
        assert theirs.message.replace(f"trades/{foreign}", "") == none.message.replace(f"trades/{len(rows)}", "")
        assert (theirs.reason, theirs.fields) == (none.reason, none.fields)

    @pytest.mark.parametrize("number", [1, 2])
    def test_before_settlement_there_is_none_yet(self, settled, number):
        answer = settled.refused(settled.participant("ada").GetTradeProof, self.request(settled, 0, number))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_SETTLED")

    @pytest.mark.parametrize("name", ["", "trades/0", "{window}/trades/", "{window}/trades/-1", "{window}/readings/0"])
    def test_what_is_no_trades_name_is_not_found(self, settled, name):
        request = participant_pb2.GetTradeProofRequest(name=name.format(window=settled.window(0)))
        assert settled.refused(settled.participant("ada").GetTradeProof, request).code is StatusCode.NOT_FOUND

    @pytest.mark.parametrize("name", ["grid", "zoe"])
    def test_one_who_is_no_member_proves_nothing(self, settled, name):
        stub = settled.stub(participant_pb2_grpc.ParticipantServiceStub, f"participant/{name}")
        for index in range(len(settled.rows("trades"))):
            assert settled.refused(stub.GetTradeProof, self.request(settled, index)).code is StatusCode.NOT_FOUND
