"""The JSON Schema takes what the reader takes, and refuses what a schema can refuse."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from controller.demo.strict import Reader
from controller.errors import InputError
from controller.plan.fields import KINDS
from controller.plan.reading import community_of, read_community
from controller.plan.sample import Sampling, write_sample
from controller.plan.schema import community_schema

DOCUMENT = (Path(__file__).parents[3] / "docs" / "communities.md").read_text(encoding="utf-8")


def example() -> dict[str, Any]:
    (text,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    value: dict[str, Any] = json.loads(text)
    return value


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    content = json.loads(community_schema())
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def test_the_documented_example_is_valid_and_read(schema: Draft202012Validator) -> None:
    schema.validate(example())
    community = community_of(Reader(example(), "example")).community
    assert {type(device) for _, device in community.devices()} == {kind.make for kind in KINDS.values()}


def test_the_document_names_every_kind_and_field() -> None:
    for name, kind in KINDS.items():
        assert f"`{name}`" in DOCUMENT
        missing = [field for field in kind.fields if f"`{field}`" not in DOCUMENT]
        assert not missing, name


@pytest.mark.parametrize("links", ["neighbours", "all", "none"])
def test_samples_are_valid(schema: Draft202012Validator, links: Any) -> None:
    sampling = Sampling(homes=25, seed=3, mtus=24, mtu_minutes=60, links=links)
    schema.validate(json.loads("".join(write_sample(sampling))))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("pears",), 1),
        (("version",), 2),
        (("horizon", "start"), "2026-03-18T15:00:00+02:00"),
        (("horizon", "mtus"), 0),
        (("horizon", "mtu_minutes"), 20),
        (("profiles", "sun"), ["x"]),
        (("tariff", "import_price"), {"periods": [{"from": "25:00", "to": "06:00", "value": 1}]}),
        (("peers",), []),
        (("peers", 0, "devices", 0, "kind"), "load"),
        (("peers", 0, "devices", 0, "power"), 1),
        (("peers", 0, "devices", 0, "power_kw"), -1),
        (("peers", 0, "devices", 2, "charge_efficiency"), 1.5),
        (("peers", 0, "devices", 3, "phases"), []),
        (("peers", 0, "devices", 3, "first_mtu"), 3),
        (("peers", 1, "devices", 1, "levels", 0), {"lower_kw": 1}),
        (("peers", 1, "devices", 2, "required_mtus"), 1.5),
        (("peers", 1, "devices", 2, "running"), "no"),
        (("links", 0, "seller"), "anna"),
        (("envelopes", 0, "section"), "north"),
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(
    schema: Draft202012Validator, write: Callable[[Any], Path], place: tuple[Any, ...], value: Any
) -> None:
    community = example()
    part: Any = community
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    assert not schema.is_valid(community)
    with pytest.raises(ValueError, match="wanted"):
        read_community(str(write(community)))


def test_the_command_prints_it(gridpact: Callable[..., Any]) -> None:
    ran = gridpact("schema", "community")
    assert (ran.code, ran.out) == (0, community_schema())


@pytest.mark.slow
def test_the_documented_example_is_planned(gridpact: Callable[..., Any], write: Callable[[Any], Path]) -> None:
    ran = gridpact("plan", write(example()), "--deadline", "3", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["status"] in {"OPTIMAL", "FEASIBLE"}


JUNK = (None, True, -1, 0, 1, 2.5, 1e7, 10**30, "", "x", "07:00", [], [1], [None], {}, {"periods": []}, [[]], [{}])


@pytest.mark.parametrize("seed", range(20))
def test_whatever_stands_in_a_file_is_read_or_refused_in_one_line(seed: int) -> None:
    random = Random(seed)
    for _ in range(40):
        community = example()
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            corrupt(community, random)
        if refusal := refused(community):
            assert refusal.startswith("file")
            assert "\n" not in refusal


def refused(community: Any) -> str:
    """What the reader complains of; empty where it does not."""
    try:
        community_of(Reader(community, "file"))
    except InputError as err:
        return str(err)
    return ""


def corrupt(value: Any, random: Random) -> None:
    """Replace, remove or add something somewhere in a JSON value."""
    place: Any = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = random.choice(keys)
        if not isinstance(place[key], dict | list) or random.random() < 0.25:
            break
        place = place[key]
    match random.randrange(4):
        case 0 if isinstance(place, dict):
            del place[key]
        case 1 if isinstance(place, list):
            place.append(random.choice(JUNK))
        case _:
            place[key] = copy.deepcopy(random.choice(JUNK))
