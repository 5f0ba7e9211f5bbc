import pytest
from grpc import StatusCode

from controller.wire import fields
from gridpact.v1 import dispatch_pb2, dispatch_pb2_grpc, dso_pb2, dso_pb2_grpc

NAME = "microgrids/village"


def member(id_):
    return f"{NAME}/members/{id_}"


def veto(site, id_="v", first=0, end=8, **changes):
    values = {
        "name": f"{NAME}/vetoes/{id_}",
        "interval": fields.interval_message(site.start + 900 * first, site.start + 900 * end),
        "reason": "a joint glows",
    }
    if not {"member", "link", "section"} & set(changes):
        values["member"] = member("ada")
    return dso_pb2.Veto(**values | changes)


def request(site, message, holder="wires", **changes):
    values = {
        "parent": NAME,
        "veto": site.signed(holder, f"envelope-{holder}", message),
        "request_id": site.request_id(),
    }
    return dso_pb2.CreateVetoRequest(**values | changes)


def create(site, *args, **changes):
    return site.dso.CreateVeto(request(site, veto(site, *args, **changes))).veto


def cancel(site, name):
    return site.dso.CancelVeto(dso_pb2.CancelVetoRequest(name=name, request_id=site.request_id())).veto


def listed(site, who="dso/wires", **values):
    stub = site.stub(dso_pb2_grpc.DsoServiceStub, who)
    return stub.ListVetoes(dso_pb2.ListVetoesRequest(parent=NAME, **values))


def links(site, number):
    """The pairs of neighbours that traded in a window."""
    return {
        (row["seller"], row["buyer"])
        for row in site.of_window("trades", number)
        if "grid" not in (row["seller"], row["buyer"])
    }


class TestClearing:
    @pytest.mark.parametrize(
        ("target", "forbidden"),
        [
            ({"member": member("ada")}, {("ada", "bob"), ("ada", "eve"), ("bob", "ada"), ("eve", "ada")}),
            ({"link": dso_pb2.VetoedLink(seller=member("ada"), buyer=member("bob"))}, {("ada", "bob")}),
            ({"section": f"{NAME}/sections/west"}, {("ada", "eve"), ("eve", "ada"), ("bob", "eve"), ("eve", "bob")}),
        ],
    )
    def test_the_links_are_gone_and_the_others_are_not(self, site, target, forbidden):
        create(site, **target)
        site.live(until=site.start + 1800)
        assert site.states()[:2] == ["SETTLED", "DELIVERING"]
        assert not (links(site, 0) | links(site, 1)) & forbidden
        assert links(site, 0) | links(site, 1) or "member" in target

    @pytest.mark.parametrize("first", [0, 1])
    def test_a_part_of_a_window_is_closed_and_the_rest_is_not(self, site, first):
        """The sun shines for ada in the second MTU of each window."""
        create(site, first=2 + first, end=3 + first)
        site.live(until=site.start + 1800)
        assert site.row(1).source == "CLEARING"
        traded = {
            (row["mtu_start"] - site.start) // 900
            for row in site.of_window("trades", 1)
            if "ada" in (row["seller"], row["buyer"]) and "grid" not in (row["seller"], row["buyer"])
        }
        assert traded == {3 - first}

    def test_the_reason_is_told_with_the_clearing_and_the_digest_covers_it(self, settled, site):
        create(site, link=dso_pb2.VetoedLink(seller=member("ada"), buyer=member("bob")))
        site.live(until=site.start)
        ask = dispatch_pb2.GetClearingRequest(window=site.window(0))
        (told,) = site.aggregator.GetClearing(ask).clearing.vetoes
        assert (told.veto, told.reason) == (f"{NAME}/vetoes/v", "a joint glows")
        assert (told.seller, told.buyer, told.member, told.section) == (member("ada"), member("bob"), "", "")
        listed = site.aggregator.ListClearings(dispatch_pb2.ListClearingsRequest(parent=NAME)).clearings
        assert listed == [site.aggregator.GetClearing(ask).clearing]
        assert site.row(0).inputs_digest != settled.row(0).inputs_digest

    def test_whom_it_does_not_concern_is_not_told(self, site):
        create(site)
        site.live(until=site.start)
        other = site.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        assert not other.GetClearing(dispatch_pb2.GetClearingRequest(window=site.window(0))).clearing.vetoes

    def test_other_windows_are_as_they_were(self, site, settled):
        create(site, first=2, end=8)
        site.live(until=site.start)
        assert site.row(0).inputs_digest == settled.row(0).inputs_digest
        assert site.of_window("trades", 0) == settled.of_window("trades", 0)

    def test_one_that_is_taken_back_counts_no_longer(self, site, settled):
        cancel(site, create(site).veto.name)
        site.live(until=site.start)
        assert site.row(0).inputs_digest == settled.row(0).inputs_digest

    def test_one_that_comes_after_the_gate_counts_for_the_next_window(self, settled):
        settled.live(until=settled.start + 3300)
        before = settled.rows("trades")
        create(settled, first=0)
        settled.live(until=settled.start + 5100)
        assert settled.rows("trades")[: len(before)] == before
        assert links(settled, 2)
        assert not {pair for pair in links(settled, 3) if "ada" in pair}


class TestCalls:
    def test_it_is_kept_as_it_was_signed(self, site):
        record = create(site)
        assert record.state == dso_pb2.VETO_STATE_ACTIVE
        assert record.create_time.seconds == int(site.clock.now())
        assert dso_pb2.Veto.FromString(record.signed_veto.payload) == veto(site) == record.veto
        assert list(listed(site).vetoes) == [record]

    def test_a_repeated_call_has_one_effect(self, site):
        call = request(site, veto(site))
        assert site.dso.CreateVeto(call) == site.dso.CreateVeto(call)
        assert len(site.rows("vetoes")) == 1

    def test_a_taken_name_is_refused(self, site):
        create(site)
        answer = site.refused(site.dso.CreateVeto, request(site, veto(site)))
        assert (answer.code, answer.reason) == (StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")

    def test_a_forged_one_is_refused(self, site):
        call = request(site, veto(site))
        call.veto.payload = veto(site, reason="another").SerializeToString()
        answer = site.refused(site.dso.CreateVeto, call)
        assert (answer.code, answer.reason) == (StatusCode.PERMISSION_DENIED, "BAD_SIGNATURE")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": "v"}, "veto.name"),
            ({"reason": ""}, "veto.reason"),
            ({"reason": "x" * 501}, "veto.reason"),
            ({"member": "ada"}, "veto.member"),
            ({"section": "west"}, "veto.section"),
            ({"link": dso_pb2.VetoedLink(seller=member("ada"), buyer=member("ada"))}, "veto.link.buyer"),
            ({"link": dso_pb2.VetoedLink(buyer=member("ada"))}, "veto.link.seller"),
            ({"interval": fields.interval_message(1_800_000_001, 1_800_000_900)}, "veto.interval"),
            ({"interval": fields.interval_message(1_700_000_100, 1_700_001_000)}, "veto.interval.end_time"),
        ],
    )
    def test_nonsense_is_refused_by_field(self, site, changes, field):
        answer = site.refused(site.dso.CreateVeto, request(site, veto(site, **changes)))
        assert answer.code in {StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE}
        assert answer.fields == (field,)

    def test_without_a_target_it_forbids_nothing_and_is_refused(self, site):
        message = veto(site)
        message.ClearField("member")
        answer = site.refused(site.dso.CreateVeto, request(site, message))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("veto.target",))

    @pytest.mark.parametrize(
        "changes",
        [
            {"member": member("nobody")},
            {"section": f"{NAME}/sections/north"},
            {"member": "microgrids/hamlet/members/ada"},
            {"name": "microgrids/hamlet/vetoes/v"},
        ],
    )
    def test_what_is_foreign_or_not_there_is_not_found(self, site, changes):
        assert site.refused(site.dso.CreateVeto, request(site, veto(site, **changes))).code is StatusCode.NOT_FOUND

    def test_who_did_not_make_it_cannot_take_it_back(self, site):
        name = create(site).veto.name
        other = site.stub(dso_pb2_grpc.DsoServiceStub, "dso/other")
        answer = site.refused(other.CancelVeto, dso_pb2.CancelVetoRequest(name=name, request_id="x"))
        assert answer.code is StatusCode.NOT_FOUND
        assert cancel(site, name).state == dso_pb2.VETO_STATE_CANCELLED

    def test_members_are_told_of_what_concerns_them(self, site):
        create(site, "a")
        create(site, "b", section=f"{NAME}/sections/west")
        create(site, "c", link=dso_pb2.VetoedLink(seller=member("eve"), buyer=member("bob")))

        def told(who):
            answer = listed(site, who).vetoes
            assert not any(record.HasField("signed_veto") for record in answer)
            return [record.veto.name.rpartition("/")[2] for record in answer]

        assert told("participant/ada") == ["a"]
        assert told("participant/bob") == ["c"]
        assert told("participant/eve") == ["b", "c"]
        assert told("aggregator/agg") == ["a", "b", "c"]
        assert told("aggregator/other") == []

    def test_they_are_listed_in_pages(self, site):
        for id_ in "abc":
            create(site, id_)
        first = listed(site, page_size=2)
        create(site, "aa")
        rest = listed(site, page_size=2, page_token=first.next_page_token)
        names = [record.veto.name.rpartition("/")[2] for record in (*first.vetoes, *rest.vetoes)]
        assert (names, rest.next_page_token) == (["a", "b", "c"], "")
