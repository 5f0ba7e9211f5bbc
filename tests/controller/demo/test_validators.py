"""The demonstration's five validators."""

import pytest

from controller.demo.validators import COUNT, THRESHOLD, SharedCheck, quorum_of
from controller.validating.evidence import DoubtError


def test_five_of_whom_three_sign_follow_from_the_seed():
    quorum = quorum_of(b"seed")
    assert (len(quorum.validators), quorum.threshold) == (COUNT, THRESHOLD) == (5, 3)
    assert quorum_of(b"seed") == quorum != quorum_of(b"another")


class TestSharedCheck:
    @pytest.fixture
    def asked(self, monkeypatch):
        """What was really computed again: a header and the one before it."""
        asked = []

        def check(evidence, *, previous, before):
            asked.append((evidence, previous, tuple(before)))
            if evidence == "wrong":
                raise DoubtError("wrong")
            return f"checked {evidence}"

        monkeypatch.setattr("controller.demo.validators.check_window", check)
        return asked

    def test_the_very_same_is_computed_once(self, asked):
        check = SharedCheck()
        assert [check("a", previous=b"1") for _ in range(COUNT)] == ["checked a"] * COUNT
        assert len(asked) == 1

    @pytest.mark.parametrize(
        "other", [{"evidence": "b"}, {"previous": b"2"}, {"before": ["run 0"]}], ids=["evidence", "previous", "before"]
    )
    def test_what_differs_in_anything_is_computed_anew(self, asked, other):
        check = SharedCheck()
        values = {"evidence": "a", "previous": b"1", "before": []}
        for given in (values, values | other, values):
            evidence = given["evidence"]
            assert check(evidence, previous=given["previous"], before=given["before"]) == f"checked {evidence}"
        assert len(asked) == 3

    def test_a_doubt_is_nobodys_to_share(self, asked):
        check = SharedCheck()
        for _ in range(2):
            with pytest.raises(DoubtError):
                check("wrong", previous=b"1")
        assert len(asked) == 2
