import json

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from controller.wire import fields
from gridpact.v1 import participant_pb2

NAME = "microgrids/village"
LEVELS_THAT_TOUCH = ((0, 1380), (1380, 3680))


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

    def test_charging_levels_may_touch(self, site):
        stay = fields.interval_message(site.start, site.start + 3600)
        levels = [participant_pb2.ChargingLevel(lower_w=lower, upper_w=upper) for lower, upper in LEVELS_THAT_TOUCH]
        control = participant_pb2.ElectricVehicle(
            stay=stay,
            capacity_wh=40_000,
            levels=levels,
            charge_efficiency_ppm=1_000_000,
            discharge_efficiency_ppm=1_000_000,
        )
        flexibility = participant_pb2.Flexibility(device=f"{NAME}/members/bob/devices/car", electric_vehicle=control)
        bob = site.participant("bob")
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
