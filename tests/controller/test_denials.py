import logging
import os

import pytest

from controller.access import identity
from controller.denials import Denials, subject

ADA = identity("spiffe://village/participant/ada")
BOB = identity("spiffe://village/participant/bob")


@pytest.fixture
def listed(tmp_path):
    """A list, and what writes it anew."""
    path = tmp_path / "denied.txt"
    turn = iter(range(1, 100))

    def write(text):
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(0, next(turn) * 10**9))  # file systems' clocks are coarse

    write("")
    return path, write


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("spiffe://village/participant/ada", "spiffe://village/participant/ada"),
        ("serial:0A1b", "serial:a1b"),
        ("serial:0xA1B", "serial:a1b"),
        ("SERIAL:00a1b", "serial:a1b"),
        ("serial:", None),
        ("serial:-1", None),
        ("serial:" + "f" * 41, None),
        ("a1b", None),
        ("", None),
        ("spiffe://village/king/ada", None),
    ],
)
def test_a_subject_has_one_spelling(text, wanted):
    assert subject(text) == wanted


def test_who_is_listed_is_denied_by_name_or_certificate(listed):
    path, write = listed
    write(f"# out of work\n{ADA}  # since spring\n\nserial:FF\n")
    denials = Denials(path)
    assert denials.cover(ADA, 1)
    assert denials.cover(BOB, 255)
    assert not denials.cover(BOB, 1)


def test_a_changed_list_counts_at_once(listed):
    path, write = listed
    denials = Denials(path)
    assert not denials.cover(ADA, 1)
    write(f"{ADA}\n")
    assert denials.cover(ADA, 1)
    write("")
    assert not denials.cover(ADA, 1)


def test_a_list_that_cannot_be_read_any_more_counts_as_it_was(listed, caplog):
    path, write = listed
    write(f"{ADA}\n")
    denials = Denials(path)
    assert denials.cover(ADA, 1)
    path.unlink()
    with caplog.at_level(logging.ERROR):
        assert denials.cover(ADA, 1)
        assert denials.cover(ADA, 1)
    assert len(caplog.records) == 1


def test_a_line_that_is_no_subject_is_named_and_the_others_count(listed, caplog):
    path, write = listed
    write(f"everybody\n{ADA}\n")
    with caplog.at_level(logging.ERROR):
        assert Denials(path).cover(ADA, 1)
    assert "line 1: got 'everybody'" in caplog.text


def test_an_operator_denies_in_its_own_grid_alone():
    denials = Denials()
    denials.restore([("hamlet", "serial:ff"), ("village", str(ADA))])
    assert denials.cover(ADA, 1)
    assert not denials.cover(BOB, 255)
    denials.restore([])
    assert not denials.cover(ADA, 1)
