"""A service that changes anything under a window's header, and seals it anew so that all else fits, is found out."""

import hashlib
import json
from dataclasses import fields, replace

import pytest

from contracts.header import WindowHeader
from controller.settled_on import SettledOn
from controller.settlement import Payment
from controller.snapshot import Snapshot
from controller.validating.evidence import DoubtError, SealedRun
from controller.validating.window import check_window
from controller.witness import pack, unpack


def sealed(evidence):
    """The evidence with the header that its records and inputs give."""
    stated = evidence.header
    header = evidence.books.header(
        microgrid=stated.microgrid,
        window=stated.window,
        window_start=stated.window_start,
        window_end=stated.window_end,
        run=stated.run,
        previous=stated.previous,
        inputs_digest=hashlib.sha256(evidence.inputs.encode()).digest(),
    )
    return replace(evidence, header=header)


def check(evidence, before=()):
    """What a validator takes of it as it stands."""
    return check_window(evidence, previous=evidence.header.previous, before=before).taken


def doubt(evidence, before=()):
    """What a validator says of it."""
    with pytest.raises(DoubtError) as caught:
        check(evidence, before)
    place = f"{evidence.header.window} run {evidence.header.run}: "
    assert str(caught.value).startswith(place)
    return str(caught.value).removeprefix(place)


def with_leaf(evidence, leaves, place, **changes):
    changed = list(getattr(evidence.books, leaves))
    changed[place] = replace(changed[place], **changes)
    return sealed(replace(evidence, books=replace(evidence.books, **{leaves: tuple(changed)})))


def without(evidence, kind, *places):
    """Without some records; the others move up."""
    leaves = [leaf for k, leaf in enumerate(getattr(evidence.books, kind)) if k not in places]
    first = getattr(evidence.books, kind)[0].index
    leaves = [replace(leaf, index=first + k) for k, leaf in enumerate(leaves)]
    return sealed(replace(evidence, books=replace(evidence.books, **{kind: tuple(leaves)})))


def with_snapshot(evidence, change):
    snapshot = change(Snapshot.from_json(evidence.inputs))
    return sealed(replace(evidence, inputs=snapshot.to_json()))


def with_answer(evidence, **changes):
    witness = unpack(evidence.clearings[0])
    answer = pack(replace(witness, clearing=replace(witness.clearing, **changes)))
    return replace(evidence, clearings={0: answer})


def test_what_was_sealed_right_is_right(first, correction):
    assert check(first) == ()
    taken = check(correction, [SealedRun.of(first.header)])
    assert [one.partition(": ")[2] for one in taken] == ["SUBSTITUTED, in the place of what was signed"]
    assert sealed(first) == first


class TestHeader:
    @pytest.mark.parametrize("name", [field.name for field in fields(WindowHeader) if field.name != "schema"])
    def test_each_field_follows_from_the_records(self, first, name):
        value = getattr(first.header, name)
        other = (
            bytes(31) + b"\x01" if isinstance(value, bytes) else value + 1 if isinstance(value, int) else f"{value}x"
        )
        lie = replace(first, header=replace(first.header, **{name: other}))
        with pytest.raises(DoubtError) as caught:
            check_window(lie, previous=first.header.previous)
        wanted = "trades" if name == "window" else "window" if name in ("window_start", "window_end") else name
        assert f": {wanted}: got" in str(caught.value)

    def test_the_header_before_is_the_one_that_was_signed(self, first):
        with pytest.raises(DoubtError, match="previous: got 0x"):
            check_window(first, previous=b"\x01" * 32)

    def test_records_of_another_window_are_none_of_this(self, first):
        assert doubt(with_leaf(first, "trades", 0, window="microgrids/village/windows/x")).startswith("trades: got")

    def test_inputs_of_another_window_are_none_of_this(self, first):
        lie = with_snapshot(first, lambda one: replace(one, window=replace(one.window, start=one.window.start + 1800)))
        assert doubt(lie).startswith("window: got")

    @pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"adjustments": []}'])
    def test_inputs_that_are_none_are_named(self, first, text):
        assert doubt(sealed(replace(first, inputs=text))).startswith("inputs: got")


class TestTrades:
    @pytest.mark.parametrize(
        ("name", "more"), [("energy_wh", 1), ("price_micro_per_kwh", -1), ("mtu_start", 900), ("buyer", "x")]
    )
    def test_one_that_was_changed_is_named(self, first, name, more):
        lie = with_leaf(first, "trades", 1, **{name: getattr(first.books.trades[1], name) + more})
        assert doubt(lie).startswith("trade 1: got")

    def test_one_that_is_missing_is_missed(self, first):
        count = len(first.books.trades)
        assert doubt(without(first, "trades", count - 1)) == f"trades: got {count - 1}, the clearing gives {count}"

    def test_one_too_many_is_one_too_many(self, first):
        trades = first.books.trades
        more = (*trades, replace(trades[0], index=len(trades)))
        lie = sealed(replace(first, books=replace(first.books, trades=more)))
        assert doubt(lie) == f"trades: got {len(more)}, the clearing gives {len(trades)}"

    def test_without_the_solvers_answer_none_follow(self, first):
        assert doubt(replace(first, clearings={})) == "trade 0: got one of clearing 0, of which there is no answer"


class TestClearing:
    @pytest.mark.parametrize("name", ["trade_kwh", "import_kwh"])
    def test_energy_from_nowhere_is_found(self, first, name):
        table = getattr(unpack(first.clearings[0]).clearing, name).copy()
        table[0, 0] += 0.1
        assert doubt(with_answer(first, **{name: table})).startswith("clearing 0: ")

    def test_a_device_beyond_its_bounds_is_found(self, first):
        powers = dict(unpack(first.clearings[0]).clearing.device_kw)
        powers["bob/boiler"] = powers["bob/boiler"] + 9.0
        assert doubt(with_answer(first, device_kw=powers)).startswith("clearing 0: ")

    def test_a_device_of_nobody_is_found(self, first):
        powers = dict(unpack(first.clearings[0]).clearing.device_kw)
        powers["bob/stove"] = powers.pop("bob/boiler")
        assert doubt(with_answer(first, device_kw=powers)).startswith("clearing 0: ")

    def test_prices_that_are_no_numbers_are_found(self, first):
        price = unpack(first.clearings[0]).clearing.price * float("nan")
        assert doubt(with_answer(first, price=price)).startswith("clearing 0: ")

    def test_an_answer_to_another_problem_is_found(self, first):
        price = unpack(first.clearings[0]).clearing.price[:, :1]
        assert doubt(with_answer(first, price=price)).startswith("clearing 0: ")

    def test_bytes_that_are_no_answer_are_named(self, first):
        assert doubt(replace(first, clearings={0: b"x"})).startswith("clearing 0: clearing: got")

    def test_uplifts_are_those_of_the_clearing(self, first):
        ours, *others = first.uplifts
        lie = replace(first, uplifts=(replace(ours, uplift_micro=ours.uplift_micro + 100), *others))
        assert doubt(lie).startswith(f"uplift of {ours.member}: got")
        assert doubt(replace(first, uplifts=tuple(others))).startswith("uplifts: got")


class TestSigned:
    def test_an_order_says_what_its_member_signed(self, first):
        def change(snapshot):
            order = snapshot.orders["bob"]
            more = replace(order, load_w=(order.load_w[0] + 1, *order.load_w[1:]))
            return replace(snapshot, orders={**snapshot.orders, "bob": more})

        assert doubt(with_snapshot(first, change)).startswith("order of bob: got load_w")

    def test_an_order_that_nobody_gave_is_none(self, first):
        assert doubt(replace(first, orders=first.orders[1:])).endswith("wanted one")

    def test_a_limit_says_what_the_dso_signed(self, first):
        def change(snapshot):
            limit = snapshot.limits[0]
            wider = tuple(replace(period, upper_w=period.upper_w + 1) for period in limit.periods)
            return replace(snapshot, limits=(replace(limit, periods=wider), *snapshot.limits[1:]))

        assert doubt(with_snapshot(first, change)).startswith("limit limit: got upper_w 1451")

    @pytest.mark.parametrize("change", [{"end": 86_400}, {"start": -86_400}])
    def test_a_limit_holds_when_the_dso_said(self, first, change):
        def later(snapshot):
            limit = snapshot.limits[0]
            moved = tuple(
                replace(period, **{name: getattr(period, name) + seconds for name, seconds in change.items()})
                for period in limit.periods
            )
            return replace(snapshot, limits=(replace(limit, periods=moved), *snapshot.limits[1:]))

        assert doubt(with_snapshot(first, later)).startswith("limit limit: got lower_w -1000 from ")

    def test_a_limit_binds_whom_the_dso_named(self, first):
        def change(snapshot):
            return replace(snapshot, limits=(replace(snapshot.limits[0], target="section west"),))

        assert doubt(with_snapshot(first, change)).startswith("limit limit: got target section west")

    def test_a_veto_says_what_the_dso_signed(self, first):
        def change(snapshot):
            veto = snapshot.vetoes[0]
            return replace(snapshot, vetoes=(replace(veto, end=veto.end + 900),))

        assert doubt(with_snapshot(first, change)).startswith("veto v: got")

    @pytest.mark.parametrize("kind", ["orders", "limits", "vetoes", "readings"])
    def test_a_signature_with_another_bit_is_none(self, first, kind):
        signed, *others = getattr(first, kind)
        broken = replace(signed, signature=bytes([signed.signature[0] ^ 1]) + signed.signature[1:])
        assert "a signature that does not verify" in doubt(replace(first, **{kind: (broken, *others)}))

    @pytest.mark.parametrize("kind", ["orders", "limits", "vetoes", "readings"])
    def test_a_key_that_is_not_registered_for_it_signs_nothing(self, first, kind):
        signed = getattr(first, kind)[0]
        for purpose in ("ATTESTATION", None):
            keys = dict(first.keys)
            key = keys.pop(signed.key_id)
            if purpose is not None:
                keys[signed.key_id] = replace(key, purpose=purpose)
            assert "wanted a registered key of purpose" in doubt(replace(first, keys=keys))

    def test_nobody_orders_for_another(self, first):
        keys = {id_: replace(key, holder="eve") if key.holder == "bob" else key for id_, key in first.keys.items()}
        assert doubt(replace(first, keys=keys)) == "order of bob: got one that eve signed, wanted the member's own"


class TestReadings:
    def test_a_register_is_what_its_gateway_signed(self, first):
        lie = with_leaf(first, "readings", 0, import_wh=first.books.readings[0].import_wh + 1)
        assert "what was signed says" in doubt(lie)

    def test_a_register_before_the_window_is_too(self, first):
        facts = SettledOn.from_json(first.settlement)
        registers = (replace(facts.registers[0], export_wh=facts.registers[0].export_wh + 1), *facts.registers[1:])
        lie = replace(first, settlement=replace(facts, registers=registers).to_json())
        assert "what was signed says" in doubt(lie)

    def test_one_that_no_gateway_signed_is_none(self, first):
        assert doubt(replace(first, readings=first.readings[1:])).endswith("that no gateway signed")

    def test_without_one_nothing_is_settled(self, first):
        assert doubt(without(first, "readings", 0)).startswith("readings: got none for")

    def test_what_is_in_the_place_of_a_signed_one_is_named(self, first):
        lie = with_leaf(first, "readings", 0, quality="ESTIMATED")
        assert any(one.endswith("ESTIMATED, in the place of what was signed") for one in check(lie))


class TestPostings:
    def test_money_that_went_elsewhere_is_found(self, first):
        postings = first.books.postings
        other = next(k for k, one in enumerate(postings) if one.account != postings[0].account)
        lie = with_leaf(first, "postings", 0, amount_micro=postings[0].amount_micro + 1)
        lie = with_leaf(lie, "postings", other, amount_micro=postings[other].amount_micro - 1)
        assert doubt(lie).startswith("posting 0: got")

    def test_money_from_nowhere_is_found(self, first):
        lie = with_leaf(first, "postings", 0, amount_micro=first.books.postings[0].amount_micro + 1)
        assert doubt(lie) == "postings: got a sum of 1 micro, wanted 0"

    @pytest.mark.parametrize("name", ["account", "kind", "reference"])
    def test_a_posting_is_for_what_it_says(self, first, name):
        assert doubt(with_leaf(first, "postings", 2, **{name: "x"})).startswith("posting 2: got")

    def test_a_payment_that_was_left_out_is_missed(self, first):
        assert first.books.postings[-1].amount_micro == -first.books.postings[-2].amount_micro
        count = len(first.books.postings)
        assert doubt(without(first, "postings", count - 2, count - 1)) == (
            f"postings: got {count - 2}, the settlement gives {count}"
        )

    def test_demand_response_that_was_not_posted_is_missed(self, first):
        facts = SettledOn.from_json(first.settlement)
        paid = Payment(dso="wires", aggregator="agg", reference="e o 0", amount_micro=7)
        assert doubt(replace(first, settlement=replace(facts, demand=(paid,)).to_json())).startswith("posting")

    def test_a_tariff_in_the_place_of_the_decisions_is_refused(self, first):
        facts = SettledOn.from_json(first.settlement)
        tariff = Snapshot.from_json(first.inputs).microgrid.tariff
        lie = replace(first, settlement=replace(facts, tariff=tariff).to_json())
        assert doubt(lie) == "settlement: got a tariff of its own, wanted that of the decision"

    @pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"tariff": 1, "demand": [], "registers": []})])
    def test_facts_that_are_none_are_named(self, first, text):
        assert doubt(replace(first, settlement=text)).startswith("settlement: got")


class TestCorrections:
    @pytest.fixture
    def before(self, first):
        return [SealedRun.of(first.header)]

    def test_a_reversal_takes_back_what_was_posted(self, correction, before):
        first, second, *_ = correction.books.postings
        lie = with_leaf(correction, "postings", 0, amount_micro=first.amount_micro + 1)
        lie = with_leaf(lie, "postings", 1, amount_micro=second.amount_micro - 1)
        assert doubt(lie, before).startswith("posting 0: got")

    def test_a_reversal_that_was_left_out_is_missed(self, correction, before):
        places = [k for k, one in enumerate(correction.books.postings) if one.reference.startswith("reverses")]
        assert doubt(without(correction, "postings", *places[:2]), before).startswith("posting")

    def test_what_it_corrects_is_what_was_sealed_before(self, correction, before):
        run = correction.earlier[0]
        posting = replace(run.postings[0], amount_micro=run.postings[0].amount_micro + 1)
        lie = replace(correction, earlier=(replace(run, postings=(posting, *run.postings[1:])),))
        assert doubt(lie, before) == "records of run 0: got others than those of its header"

    def test_it_was_decided_on_the_same(self, correction, before):
        other = replace(before[0], inputs_digest=bytes(32))
        assert doubt(correction, [other]) == "inputs_digest: got another than that of run 0"

    def test_its_uplifts_are_those_that_were_posted(self, correction, before):
        ours = next(one for one in correction.uplifts if one.uplift_micro)
        others = [one for one in correction.uplifts if one is not ours]
        lie = replace(correction, uplifts=(replace(ours, uplift_micro=ours.uplift_micro + 9), *others))
        assert doubt(lie, before) == "uplifts: got others than those that the first settlement posted"

    @pytest.mark.parametrize("known", [0, 2])
    def test_it_comes_after_the_run_before_it(self, correction, before, known):
        assert doubt(correction, before * known).startswith("run: got 1")

    def test_a_settlement_is_the_first_once(self, first, before):
        assert doubt(first, before).startswith("run: got 0")
