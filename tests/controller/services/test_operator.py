import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from contracts.runs import reversal
from gridpact.v1 import dispatch_pb2, operator_pb2, types_pb2

NAME = "microgrids/village"


@pytest.fixture
def calendar(site):
    """The village's own, to be founded anew or changed."""
    return site.operator.GetMicrogrid(operator_pb2.GetMicrogridRequest(name=NAME)).microgrid


@pytest.fixture
def empty(make_site):
    """A service without any community."""
    return make_site()


def minutes(count):
    return Duration(seconds=60 * count)


class TestCreateMicrogrid:
    def create(self, site, microgrid):
        return operator_pb2.CreateMicrogridRequest(microgrid=microgrid, request_id=site.request_id())

    def test_it_is_kept_as_it_was_said(self, empty, calendar):
        answer = empty.operator.CreateMicrogrid(self.create(empty, calendar))
        assert answer.microgrid == calendar
        assert empty.operator.GetMicrogrid(operator_pb2.GetMicrogridRequest(name=NAME)).microgrid == calendar

    def test_its_windows_are_open(self, empty, calendar):
        empty.operator.CreateMicrogrid(self.create(empty, calendar))
        windows = empty.operator.ListWindows(operator_pb2.ListWindowsRequest(parent=NAME)).windows
        assert [w.window for w in windows] == [empty.window(number) for number in range(4)]
        assert {w.state for w in windows} == {dispatch_pb2.WINDOW_STATE_OPEN}
        starts = [w.interval.start_time.seconds for w in windows]
        assert starts == [empty.start + 1800 * number for number in range(4)]
        assert [w.interval.end_time.seconds for w in windows] == [start + 1800 for start in starts]

    def test_a_second_one_of_the_name_is_refused(self, site, calendar):
        refused = site.refused(site.operator.CreateMicrogrid, self.create(site, calendar))
        assert (refused.code, refused.reason) == (StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")

    @pytest.mark.parametrize(
        ("change", "code", "field"),
        [
            ({"name": "village"}, StatusCode.INVALID_ARGUMENT, "microgrid.name"),
            ({"name": "microgrids/Village"}, StatusCode.INVALID_ARGUMENT, "microgrid.name"),
            ({"name": "microgrids/" + "v" * 64}, StatusCode.INVALID_ARGUMENT, "microgrid.name"),
            ({"name": "microgrids/village/members/ada"}, StatusCode.INVALID_ARGUMENT, "microgrid.name"),
            ({"time_zone": "Mars/Olympus"}, StatusCode.INVALID_ARGUMENT, "microgrid.time_zone"),
            ({"time_zone": ""}, StatusCode.INVALID_ARGUMENT, "microgrid.time_zone"),
            ({"time_zone": "../../etc/passwd"}, StatusCode.INVALID_ARGUMENT, "microgrid.time_zone"),
            ({"market_time_unit": minutes(10)}, StatusCode.INVALID_ARGUMENT, "microgrid.market_time_unit"),
            ({"market_time_unit": minutes(0)}, StatusCode.INVALID_ARGUMENT, "microgrid.market_time_unit"),
            ({"market_time_unit": Duration(seconds=901)}, StatusCode.INVALID_ARGUMENT, "microgrid.market_time_unit"),
            (
                {"market_time_unit": Duration(seconds=900, nanos=1)},
                StatusCode.INVALID_ARGUMENT,
                "microgrid.market_time_unit",
            ),
            ({"window": minutes(0)}, StatusCode.INVALID_ARGUMENT, "microgrid.window"),
            ({"window": minutes(20)}, StatusCode.INVALID_ARGUMENT, "microgrid.window"),
            ({"window": minutes(2880)}, StatusCode.INVALID_ARGUMENT, "microgrid.window"),
            ({"window": minutes(-30)}, StatusCode.INVALID_ARGUMENT, "microgrid.window"),
            ({"window": minutes(45)}, StatusCode.INVALID_ARGUMENT, "microgrid.horizon"),
            ({"gate_closure_lead": minutes(1441)}, StatusCode.INVALID_ARGUMENT, "microgrid.gate_closure_lead"),
            (
                {"network_charge_micro_per_kwh": -1},
                StatusCode.OUT_OF_RANGE,
                "microgrid.network_charge_micro_per_kwh",
            ),
            (
                {"network_charge_micro_per_kwh": 10**9 + 1},
                StatusCode.OUT_OF_RANGE,
                "microgrid.network_charge_micro_per_kwh",
            ),
            ({"currency": ""}, StatusCode.INVALID_ARGUMENT, "microgrid.currency"),
            ({"currency": "eur"}, StatusCode.INVALID_ARGUMENT, "microgrid.currency"),
            ({"currency": "E2R"}, StatusCode.INVALID_ARGUMENT, "microgrid.currency"),
            ({"currency": "ÄÖÜ"}, StatusCode.INVALID_ARGUMENT, "microgrid.currency"),
            ({"tariff": []}, StatusCode.INVALID_ARGUMENT, "microgrid.tariff"),
            ({"terms": {"rule": 9}}, StatusCode.INVALID_ARGUMENT, "microgrid.terms.rule"),
            ({"terms": {"fee_micro_per_kwh": -1}}, StatusCode.OUT_OF_RANGE, "microgrid.terms.fee_micro_per_kwh"),
            (
                {"terms": {"fee_micro_per_kwh": 10**9 + 1}},
                StatusCode.OUT_OF_RANGE,
                "microgrid.terms.fee_micro_per_kwh",
            ),
            (
                {"terms": {"fee_micro_per_month": 10**12 + 1}},
                StatusCode.OUT_OF_RANGE,
                "microgrid.terms.fee_micro_per_month",
            ),
            ({"terms": {"tax_ppm": 10**6 + 1}}, StatusCode.OUT_OF_RANGE, "microgrid.terms.tax_ppm"),
        ],
    )
    def test_a_malformed_field_is_named(self, empty, calendar, change, code, field):
        for name, value in change.items():
            calendar.ClearField(name)
            calendar.MergeFrom(operator_pb2.Microgrid(**{name: value}))
        refused = empty.refused(empty.operator.CreateMicrogrid, self.create(empty, calendar))
        assert (refused.code, refused.fields) == (code, (field,))
        assert "got" in refused.message
        assert "wanted" in refused.message

    @pytest.mark.parametrize(
        ("start", "end", "code", "field"),
        [
            (0, 0, StatusCode.INVALID_ARGUMENT, "microgrid.horizon"),
            (7200, -7200, StatusCode.INVALID_ARGUMENT, "microgrid.horizon"),
            (0, 900, StatusCode.INVALID_ARGUMENT, "microgrid.horizon"),
            (60, 60, StatusCode.INVALID_ARGUMENT, "microgrid.horizon"),
            (0, 86400 * 3, StatusCode.INVALID_ARGUMENT, "microgrid.horizon"),
            (-2 * 10**9, 0, StatusCode.OUT_OF_RANGE, "microgrid.horizon.start_time"),
            (0, 10**10, StatusCode.OUT_OF_RANGE, "microgrid.horizon.end_time"),
        ],
    )
    def test_a_horizon_that_no_windows_cover_is_refused(self, empty, calendar, start, end, code, field):
        calendar.horizon.start_time.seconds += start
        calendar.horizon.end_time.seconds += end
        if start == 7200:
            calendar.horizon.end_time.seconds = empty.start
        if (start, end) == (0, 0):
            calendar.horizon.end_time.seconds = empty.start
        refused = empty.refused(empty.operator.CreateMicrogrid, self.create(empty, calendar))
        assert (refused.code, refused.fields) == (code, (field,))

    def test_fractions_of_a_second_are_refused(self, empty, calendar):
        calendar.horizon.start_time.nanos = 1
        refused = empty.refused(empty.operator.CreateMicrogrid, self.create(empty, calendar))
        assert refused.fields == ("microgrid.horizon.start_time",)

    @pytest.mark.parametrize(
        ("start", "end"), [(900, 0), (-900, 0), (0, -900), (0, 900), (0, 60)], ids=lambda shift: f"{shift} s"
    )
    def test_a_tariff_with_a_gap_or_an_overlap_is_refused(self, empty, calendar, start, end):
        calendar.tariff[1].interval.start_time.seconds += start
        calendar.tariff[1].interval.end_time.seconds += end
        refused = empty.refused(empty.operator.CreateMicrogrid, self.create(empty, calendar))
        assert refused.code is StatusCode.INVALID_ARGUMENT
        assert refused.fields[0].startswith("microgrid.tariff")

    def test_a_tariff_that_is_a_source_of_money_is_refused(self, empty, calendar):
        calendar.tariff[0].export_price_micro_per_kwh = calendar.tariff[0].import_price_micro_per_kwh + 1
        refused = empty.refused(empty.operator.CreateMicrogrid, self.create(empty, calendar))
        assert refused.code is StatusCode.INVALID_ARGUMENT
        assert refused.fields == ("microgrid.tariff[0].export_price_micro_per_kwh",)

    def test_equal_prices_of_both_directions_are_no_source_of_money(self, empty, calendar):
        calendar.tariff[0].export_price_micro_per_kwh = calendar.tariff[0].import_price_micro_per_kwh
        assert empty.operator.CreateMicrogrid(self.create(empty, calendar)).microgrid == calendar

    @pytest.mark.parametrize("price", [-(10**9) - 1, 10**9 + 1])
    def test_an_absurd_price_is_out_of_range(self, empty, calendar, price):
        calendar.tariff[1].import_price_micro_per_kwh = price
        refused = empty.refused(empty.operator.CreateMicrogrid, self.create(empty, calendar))
        assert refused.code is StatusCode.OUT_OF_RANGE
        assert refused.fields == ("microgrid.tariff[1].import_price_micro_per_kwh",)


class TestCreateMember:
    def create(self, site, name=f"{NAME}/members/dan", section="west", parent=NAME):
        return operator_pb2.CreateMemberRequest(
            parent=parent, member=operator_pb2.Member(name=name, section=section), request_id=site.request_id()
        )

    def test_it_is_listed_in_order_of_the_ids(self, site):
        answer = site.operator.CreateMember(self.create(site))
        assert answer.member == operator_pb2.Member(name=f"{NAME}/members/dan", section="west")
        members = site.operator.ListMembers(operator_pb2.ListMembersRequest(parent=NAME)).members
        assert [m.name.rpartition("/")[2] for m in members] == ["ada", "bob", "dan", "eve"]
        assert [m.section for m in members] == ["east", "east", "west", "west"]

    def test_a_second_one_of_the_name_is_refused(self, site):
        refused = site.refused(site.operator.CreateMember, self.create(site, f"{NAME}/members/ada"))
        assert refused.code is StatusCode.ALREADY_EXISTS

    @pytest.mark.parametrize("account", ["grid", "dso", "community"])
    def test_the_ledgers_own_accounts_are_no_members(self, site, account):
        refused = site.refused(site.operator.CreateMember, self.create(site, f"{NAME}/members/{account}"))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("member.name",))

    @pytest.mark.parametrize("reference", [reversal(0), "net 0", "trade 0"])
    def test_nobody_is_called_as_a_reference_begins(self, site, reference):
        name = f"{NAME}/members/{reference.split()[0]}"
        refused = site.refused(site.operator.CreateMember, self.create(site, name))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("member.name",))

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": ""}, "member.name"),
            ({"name": f"{NAME}/members/Dan"}, "member.name"),
            ({"name": f"{NAME}/members/dan/devices/x"}, "member.name"),
            ({"section": ""}, "member.section"),
            ({"section": "a/b"}, "member.section"),
            ({"parent": "village"}, "parent"),
        ],
    )
    def test_a_malformed_field_is_named(self, site, change, field):
        refused = site.refused(site.operator.CreateMember, self.create(site, **change))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, (field,))

    def test_one_of_another_microgrid_than_the_parent_is_not_found(self, site):
        refused = site.refused(site.operator.CreateMember, self.create(site, "microgrids/hamlet/members/dan"))
        assert refused.code is StatusCode.NOT_FOUND


class TestRegisterKey:
    def register(self, site, **changes):
        values = {
            "parent": NAME,
            "key_id": "new-key",
            "purpose": operator_pb2.KEY_PURPOSE_ORDER,
            "holder": "ada",
            "public_key": bytes(range(32)),
            "request_id": site.request_id(),
        }
        return operator_pb2.RegisterKeyRequest(**values | changes)

    def test_it_is_kept(self, site):
        assert site.operator.RegisterKey(self.register(site)).key_id == "new-key"
        kept = {row["key_id"]: row for row in site.rows("keys")}["new-key"]
        assert (kept["purpose"], kept["holder"], kept["public_key"]) == ("ORDER", "ada", bytes(range(32)))

    def test_a_key_is_never_replaced(self, site):
        refused = site.refused(site.operator.RegisterKey, self.register(site, key_id="order-ada"))
        assert refused.code is StatusCode.ALREADY_EXISTS

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"key_id": ""}, "key_id"),
            ({"key_id": "Key 1"}, "key_id"),
            ({"purpose": operator_pb2.KEY_PURPOSE_UNSPECIFIED}, "purpose"),
            ({"purpose": 99}, "purpose"),
            ({"holder": ""}, "holder"),
            ({"holder": "ada/pv"}, "holder"),
            ({"public_key": b""}, "public_key"),
            ({"public_key": bytes(31)}, "public_key"),
            ({"public_key": bytes(33)}, "public_key"),
            ({"parent": "microgrids/"}, "parent"),
        ],
    )
    def test_a_malformed_field_is_named(self, site, change, field):
        refused = site.refused(site.operator.RegisterKey, self.register(site, **change))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, (field,))


class TestPages:
    def names(self, site, **values):
        answer = site.operator.ListMembers(operator_pb2.ListMembersRequest(parent=NAME, **values))
        return [m.name.rpartition("/")[2] for m in answer.members], answer.next_page_token

    def test_tokens_lead_through_everything_once(self, site):
        first, token = self.names(site, page_size=2)
        second, end = self.names(site, page_size=2, page_token=token)
        assert first + second == ["ada", "bob", "eve"]
        assert end == ""

    def test_the_last_full_page_has_no_token(self, site):
        assert self.names(site, page_size=3) == (["ada", "bob", "eve"], "")

    def test_no_size_means_a_hundred(self, site):
        for number in range(98):
            site.operator.CreateMember(
                operator_pb2.CreateMemberRequest(
                    parent=NAME,
                    member=operator_pb2.Member(name=f"{NAME}/members/m{number}", section="east"),
                    request_id=site.request_id(),
                )
            )
        names, token = self.names(site)
        assert len(names) == 100
        assert len(self.names(site, page_token=token)[0]) == 1

    @pytest.mark.parametrize("size", [-1, 1001])
    def test_an_absurd_size_is_out_of_range(self, site, size):
        request = operator_pb2.ListMembersRequest(parent=NAME, page_size=size)
        refused = site.refused(site.operator.ListMembers, request)
        assert (refused.code, refused.fields) == (StatusCode.OUT_OF_RANGE, ("page_size",))

    @pytest.mark.parametrize("token", ["x", "1", "-1", "1.5", "9" * 10, " 1", "1\n"])
    def test_a_made_up_token_is_invalid(self, site, token):
        request = operator_pb2.ListMembersRequest(parent=NAME, page_token=token)
        refused = site.refused(site.operator.ListMembers, request)
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("page_token",))


def test_a_window_tells_nothing_but_its_state_before_it_is_cleared(site):
    first = site.operator.ListWindows(operator_pb2.ListWindowsRequest(parent=NAME, page_size=1)).windows[0]
    start, end = Timestamp(seconds=site.start), Timestamp(seconds=site.start + 1800)
    assert first == dispatch_pb2.Clearing(
        window=site.window(0),
        interval=types_pb2.Interval(start_time=start, end_time=end),
        state=dispatch_pb2.WINDOW_STATE_OPEN,
        certificate=dispatch_pb2.Certificate(),
    )
