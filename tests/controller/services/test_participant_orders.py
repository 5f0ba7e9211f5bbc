import hashlib
import json

import pytest
from grpc import StatusCode

from controller import problem
from controller.snapshot import Snapshot
from gridpact.v1 import operator_pb2, participant_pb2

NAME = "microgrids/village"


def partner(member, preference=0):
    return participant_pb2.Partner(member=member, preference_micro_per_kwh=preference)


def forecast(device, series):
    return participant_pb2.ProductionForecast(device=f"{NAME}/members/{device}", available_w=series)


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

    def test_a_load_beyond_the_connection_is_refused_with_what_it_carries(self, site):
        bob = operator_pb2.Member(name=f"{NAME}/members/bob", connection_w=600)
        site.operator.UpdateMember(
            operator_pb2.UpdateMemberRequest(member=bob, update_mask={"paths": ["connection_w"]}, request_id="rated")
        )
        self.submit(site, "bob", load_w=[600] * 8)
        answer = self.refused(site, "bob", load_w=[1, 600, 601, 9000, 5, 6, 7, 8])
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("order.load_w[2]",))
        assert answer.descriptions == ("got '601', wanted at most 600: what the connection is rated for",)

    def test_a_production_beyond_the_plants_rating_is_refused(self, site):
        self.submit(site, "ada", production=[forecast("ada/devices/pv", [4000] * 8)])
        answer = self.refused(site, "ada", production=[forecast("ada/devices/pv", [0, 4000, 4001, 0, 0, 0, 0, 0])])
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("order.production[0].available_w[2]",))
        assert answer.descriptions == ("got '4001', wanted at most 4000: what ada/pv is rated for",)

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
        for one in partners:
            member = operator_pb2.Member(name=one.member, section="east")
            site.operator.CreateMember(
                operator_pb2.CreateMemberRequest(parent=NAME, member=member, request_id=site.request_id())
            )
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

    def test_a_partner_that_is_no_member_is_not_found(self, site):
        answer = self.refused(site, "ada", partners=[partner(f"{NAME}/members/zoe")])
        assert (answer.code, "zoe" in answer.message) == (StatusCode.NOT_FOUND, True)


def offer(*pairs):
    return [participant_pb2.EnergyOffer(sell_wh=sell, buy_wh=buy) for sell, buy in pairs]


def prefers(attribute, preference):
    kind = participant_pb2.PartnerAttribute.Value(f"PARTNER_ATTRIBUTE_{attribute}")
    return participant_pb2.AttributePreference(attribute=kind, preference_micro_per_kwh=preference)


class TestOffers:
    """eve: a battery of 3001 Wh that holds 1000 Wh, gives 1800 W at 93 %, takes 2000 W at 95 %, and a load of 707 W."""

    def submit(self, site, member, **changes):
        return site.participant(member).SubmitOrder(site.order_request(member, **changes))

    def refused(self, site, member, number=0, **changes):
        request = site.order_request(member, number, **changes)
        return site.refused(site.participant(member).SubmitOrder, request)

    def links(self, site):
        site.advance(site.start - 300)
        community = problem.build(Snapshot.from_json(site.row(0).snapshot))
        return {(link.seller, link.buyer): link for link in community.links}

    def test_what_the_battery_holds_and_its_power_can_be_sold(self, site):
        most = (1800 - 707) // 4  # in a quarter of an hour, beside the load
        assert self.submit(site, "eve", offers=offer((most, 0), (most, 0))).digest
        answer = self.refused(site, "eve", offers=offer((most, 0), (most + 1, 0)))
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("order.offers[1].sell_wh",))
        assert f"at most {most}" in answer.descriptions[0]

    def test_what_the_battery_does_not_hold_cannot(self, site):
        control = participant_pb2.FillRateBasedControl(
            max_charge_w=2000,
            max_discharge_w=4000,
            capacity_wh=3001,
            stored_wh=1000,
            charge_efficiency_ppm=950_000,
            discharge_efficiency_ppm=930_000,
        )
        flexibility = participant_pb2.Flexibility(device=f"{NAME}/members/eve/devices/battery", fill_rate=control)
        site.participant("eve").UpdateFlexibility(
            participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id=site.request_id())
        )
        # 930 Wh of the 1000 Wh reach the terminals; the load takes 176.75 Wh of them in each MTU.
        assert self.submit(site, "eve", offers=offer((700, 0), (0, 0))).digest
        answer = self.refused(site, "eve", offers=offer((700, 0), (100, 0)))
        assert answer.descriptions == (
            "got '100', wanted at most 0: what forecasts, ratings and stored energy allow beside the other offers",
        )

    def test_more_than_devices_can_take_cannot_be_bought(self, site):
        most = (707 + 2000) // 4
        assert self.submit(site, "eve", offers=offer((0, most), (0, most))).digest
        answer = self.refused(site, "eve", offers=offer((0, most + 1), (0, 0)))
        assert answer.fields == ("order.offers[0].buy_wh",)

    def test_a_plant_sells_what_is_forecast(self, site):
        # 3001 W and 4000 W are forecast in the next window; the load is 301 W.
        wanted = offer(((3001 - 301) // 4, 0), ((4000 - 301) // 4, 0))
        request = site.order_request("ada", 1, offers=wanted)
        assert site.participant("ada").SubmitOrder(request).digest
        answer = self.refused(site, "ada", 1, offers=offer((0, 0), ((4000 - 301) // 4 + 1, 0)))
        assert answer.fields == ("order.offers[1].sell_wh",)

    @pytest.mark.parametrize(
        ("offers", "code", "field"),
        [
            (offer((0, 0)), StatusCode.INVALID_ARGUMENT, "order.offers"),
            (offer(*[(0, 0)] * 3), StatusCode.INVALID_ARGUMENT, "order.offers"),
            (offer(*[(0, 0)] * 9), StatusCode.INVALID_ARGUMENT, "order.offers"),
            (offer((-1, 0), (0, 0)), StatusCode.OUT_OF_RANGE, "order.offers[0].sell_wh"),
            (offer((0, 0), (0, 2**62)), StatusCode.OUT_OF_RANGE, "order.offers[1].buy_wh"),
        ],
    )
    def test_offers_that_are_none_are_named(self, site, offers, code, field):
        answer = self.refused(site, "eve", offers=offers)
        assert (answer.code, answer.fields) == (code, (field,))

    def test_who_offers_nothing_to_sell_sells_to_nobody_in_that_window(self, site):
        assert {seller for seller, _ in self.links(site)} == {"ada", "eve"}
        other = site.order_request("eve", 1, offers=offer((0, 100), (0, 100)))
        site.participant("eve").SubmitOrder(other)
        site.live(until=site.start + 3300)
        for number, sellers in ((1, {"ada"}), (2, {"ada", "eve"})):
            community = problem.build(Snapshot.from_json(site.row(number).snapshot))
            assert {link.seller for link in community.links} == sellers

    def test_partners_are_liked_for_what_they_are(self, site):
        """bob (east) prefers the green and the local: ada is both, eve neither."""
        wanted = [prefers("GREEN", 7000), prefers("LOCAL", 500)]
        self.submit(site, "bob", attribute_preferences=wanted)
        links = self.links(site)
        assert links["ada", "bob"].buyer_preference == pytest.approx(0.001)
        assert links["eve", "bob"].buyer_preference == pytest.approx(0.002 + 0.0075)
        assert links["eve", "bob"].seller_preference == pytest.approx(0.002)

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ([prefers("GREEN", 1)] * 2, "order.attribute_preferences[1].attribute"),
            ([prefers("UNSPECIFIED", 1)], "order.attribute_preferences[0].attribute"),
            ([prefers("LOCAL", -1)], "order.attribute_preferences[0].preference_micro_per_kwh"),
            ([prefers("LOCAL", 10**9 + 1)], "order.attribute_preferences[0].preference_micro_per_kwh"),
        ],
    )
    def test_a_wrong_preference_is_named(self, site, wanted, field):
        assert self.refused(site, "bob", attribute_preferences=wanted).fields == (field,)
