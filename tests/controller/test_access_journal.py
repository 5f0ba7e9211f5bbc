from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.access_journal import LOST, START, WAITING, Access, AccessJournal, link, verify

ONE = Access(
    microgrid="village",
    instant=1,
    identity="spiffe://village/dso/wires",
    method="CreateEnvelope",
    resource="microgrids/village",
    subject="",
    code="OK",
    digest=bytes(32),
)


def chain(count):
    entries = []
    for number in range(count):
        entries.append(link(replace(ONE, instant=number), entries[-1] if entries else None))
    return entries


class TestChain:
    def test_an_untouched_one_holds(self):
        assert verify([]) == ""
        assert verify(chain(5)) == ""
        assert chain(1)[0].previous == START

    @pytest.mark.parametrize(
        "change",
        [
            {"instant": 99},
            {"identity": "spiffe://village/dso/other"},
            {"method": "CancelEnvelope"},
            {"resource": "microgrids/hamlet"},
            {"subject": "ada"},
            {"code": "NOT_FOUND"},
            {"digest": b"x"},
            {"count": 2},
            {"microgrid": "hamlet"},
        ],
    )
    def test_a_changed_field_is_found_where_it_is(self, change):
        entries = chain(5)
        entries[2] = replace(entries[2], access=replace(entries[2].access, **change))
        assert verify(entries) == "entry 3: its hash is not that of what it says"

    def test_one_that_was_changed_with_its_hash_breaks_the_next_link(self):
        entries = chain(5)
        entries[2] = link(replace(ONE, code="NOT_FOUND"), entries[1])
        assert verify(entries) == "entry 4: does not carry the hash of the entry before"

    def test_one_that_is_missing_is_named(self):
        entries = chain(5)
        assert verify([*entries[:2], *entries[3:]]) == "entry 3: missing, entry 4 follows"
        assert verify(entries[1:]) == "entry 1: missing, entry 2 follows"

    @given(st.permutations(range(5)))
    def test_another_order_is_found(self, order):
        entries = chain(5)
        wrong = verify([entries[k] for k in order])
        assert (wrong == "") == (list(order) == list(range(5)))

    def test_who_saw_an_entry_earlier_finds_a_journal_that_was_cut_or_written_anew(self):
        entries = chain(5)
        head = (5, entries[4].hash)
        assert verify(entries, head=head) == ""
        assert verify(entries[:4], head=head) == "entry 5: missing at the end, and was seen earlier"
        other = [link(replace(ONE, code="NOT_FOUND"), None)]
        for _ in range(4):
            other.append(link(ONE, other[-1]))
        assert verify(other) == ""
        assert verify(other, head=head) == "entry 5: another than was seen earlier"


class TestWaiting:
    def test_equal_accesses_of_a_flush_are_one_entry(self):
        journal = AccessJournal()
        for instant in (5, 6, 7):
            journal.note(replace(ONE, instant=instant))
        journal.note(replace(ONE, code="NOT_FOUND"))
        assert [(a.instant, a.code, a.count) for a in journal.take()] == [(5, "OK", 3), (1, "NOT_FOUND", 1)]
        assert journal.take() == []

    def test_what_finds_no_room_is_counted(self):
        journal = AccessJournal()
        for number in range(WAITING + 7):
            journal.note(replace(ONE, resource=f"r{number}"))
        taken = journal.take()
        assert len(taken) == WAITING + 1
        assert (taken[-1].code, taken[-1].count) == (LOST, 7)

    def test_what_could_not_be_entered_waits_on(self):
        journal = AccessJournal()
        journal.note(ONE)
        journal.give_back(journal.take())
        assert journal.take() == [ONE]
