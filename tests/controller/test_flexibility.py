import json
from dataclasses import replace

import pytest

from controller.flexibility import Relay, from_plain, to_plain
from tests.controller.flexibility_cases import controls, programme, storage


@pytest.mark.parametrize("flexibility", controls(0, 7200).values(), ids=lambda f: type(f).__name__)
def test_each_kind_comes_back_from_json_as_it_was(flexibility):
    again = from_plain(json.loads(json.dumps(to_plain(flexibility))))
    assert again == flexibility
    assert hash(again) == hash(flexibility)  # tuples all the way down


def test_what_an_earlier_version_wrote_is_read_with_defaults():
    relay = from_plain({"kind": "Relay", "rated_w": 1, "start": 2, "end": 3, "required_s": 4})
    assert relay == Relay(rated_w=1, start=2, end=3, required_s=4, min_on_s=0, min_off_s=0, max_starts_per_day=None)
    older = {name: value for name, value in to_plain(storage()).items() if name not in {"reserve_wh"}}
    assert from_plain(older).reserve_wh == 0


def test_a_programmes_profile_is_that_of_its_phases_without_the_pauses():
    assert programme(0, 7200).profile_w == (2000, 400, 300)


def test_what_a_later_version_added_leaves_the_text_as_it_was_where_it_says_nothing():
    relay = Relay(rated_w=1, start=2, end=3, required_s=4)
    assert "hard_minimum_times" not in to_plain(relay)
    assert to_plain(replace(relay, hard_minimum_times=True))["hard_minimum_times"] is True
