"""A street of sampled homes as a community file, piece by piece: ten thousand homes never stand in memory together."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from controller.demo.strict import Reader
from controller.errors import InputError
from controller.plan.reading import community_of
from controller.plan.sample.homes import Home, draw_home
from controller.plan.sample.setting import Setting, setting_of
from optimization.community import Community, Floats
from optimization.quantities import MAX_MTUS, MTU_MINUTES

MOST_HOMES = 20_000
LEAST_MTUS = 24
HOMES_A_SECTION = 20

TRANSFORMER_SHARE = 0.25
SECTION_SHARE = 0.6
"""Of the way from the peak of a schedule that is known to be possible to the selfish one: where a limit lies."""

EXPORT_KW_PER_HOME = 2.5

Links = Literal["neighbours", "none", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What is to be sampled.

    Attributes
    ----------
    homes : how many, 1 to 20,000
    seed : of everything that chance decides
    mtus : of the horizon, 24 to 192
    mtu_minutes : 5, 15, 30 or 60
    links : each home with its four nearest, none, or all pairs
    transformer : ``binding`` for a limit below the selfish peak that can be kept, ``none``, or kW per home
    """

    homes: int
    seed: int
    mtus: int = 96
    mtu_minutes: int = 15
    links: Links = "neighbours"
    transformer: float | Literal["binding", "none"] = "binding"

    def __post_init__(self) -> None:
        for name, value, lower, upper in (
            ("homes", self.homes, 1, MOST_HOMES),
            ("seed", self.seed, 0, 2**32 - 1),
            ("mtus", self.mtus, LEAST_MTUS, MAX_MTUS),
        ):
            if not lower <= value <= upper:
                raise InputError(f"--{name}: got {value}, wanted {lower} to {upper}")
        if self.mtu_minutes not in MTU_MINUTES:
            raise InputError(f"--mtu-minutes: got {self.mtu_minutes}, wanted one of {MTU_MINUTES}")
        if not isinstance(self.transformer, str) and not 0.0 < self.transformer <= 1000.0:
            raise InputError(
                f"--transformer: got {self.transformer:g}, wanted more than 0 and at most 1000 kW per home"
            )


@dataclass(slots=True, kw_only=True)
class Sums:
    """What some homes take together.

    Attributes
    ----------
    homes : how many
    calm_kw, selfish_kw : (T,) as of ``Home``
    """

    homes: int
    calm_kw: Floats
    selfish_kw: Floats

    def add(self, home: Home) -> None:
        """Count a home in."""
        self.homes += 1
        self.calm_kw += home.calm_kw
        self.selfish_kw += home.selfish_kw

    def limit_kw(self, share: float) -> float:
        """A limit some share of the way from the calm peak to the selfish one, in whole hundred watts."""
        possible, selfish = float(self.calm_kw.max()), float(self.selfish_kw.max())
        return math.ceil(10 * (possible + share * max(0.0, selfish - possible))) / 10


def write_sample(sampling: Sampling) -> Iterator[str]:
    """The community file in pieces of text."""
    setting = setting_of(seed=sampling.seed, mtus=sampling.mtus, mtu_minutes=sampling.mtu_minutes)
    head = _text(setting.head(f"sample-{sampling.homes}-{sampling.seed}-{sampling.mtus}x{sampling.mtu_minutes}"))
    yield head[:-1] + ',"peers":['
    street, sections = _nothing(setting), dict[str, Sums]()
    for index in range(sampling.homes):
        section = f"street-{index // HOMES_A_SECTION + 1}"
        home = draw_home(seed=sampling.seed, index=index, setting=setting, section=section, others=street.calm_kw)
        street.add(home)
        sections.setdefault(section, _nothing(setting)).add(home)
        yield "\n" + _text(home.peer) + ("," if index + 1 < sampling.homes else "")
    yield '\n],"links":' + ",\n".join(_links(sampling))
    yield ',"envelopes":' + _text(_envelopes(sampling, street, sections)) + "}\n"


def sample_community(homes: int, seed: int, mtus: int, **options: Any) -> Community:
    """The same as a problem; further options as ``Sampling`` has them."""
    text = "".join(write_sample(Sampling(homes=homes, seed=seed, mtus=mtus, **options)))
    return community_of(Reader(json.loads(text), "sample")).community


def _nothing(setting: Setting) -> Sums:
    return Sums(homes=0, calm_kw=np.zeros(setting.mtus), selfish_kw=np.zeros(setting.mtus))


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _links(sampling: Sampling) -> Iterator[str]:
    """Each home buys from its four nearest, at a preference for each of them."""
    if sampling.links != "neighbours":
        yield '{"all_pairs":{"network_charge":0.01}}' if sampling.links == "all" else "[]"
        return
    random = np.random.default_rng([sampling.seed, 0, 1])
    links: list[dict[str, Any]] = []
    for buyer in range(sampling.homes):
        nearest = sorted(
            (seller for seller in range(buyer - 4, buyer + 5) if 0 <= seller < sampling.homes and seller != buyer),
            key=lambda seller: (abs(seller - buyer), seller),
        )[:4]
        preference = np.round(random.uniform(0.0, 0.02, 8), 3)
        for k, seller in enumerate(nearest):
            same = seller // HOMES_A_SECTION == buyer // HOMES_A_SECTION
            links.append(
                {
                    "seller": f"home-{seller + 1}",
                    "buyer": f"home-{buyer + 1}",
                    "seller_preference": float(preference[2 * k]),
                    "buyer_preference": float(preference[2 * k + 1]),
                    "network_charge": 0.01 if same else 0.02,
                }
            )
    yield _text(links)


def _envelopes(sampling: Sampling, street: Sums, sections: dict[str, Sums]) -> list[dict[str, Any]]:
    if sampling.transformer == "none":
        return []
    upper = street.limit_kw(TRANSFORMER_SHARE)
    if not isinstance(sampling.transformer, str):
        upper = round(sampling.transformer * sampling.homes, 1)
    lower = round(-EXPORT_KW_PER_HOME * sampling.homes, 1)
    envelopes: list[dict[str, Any]] = [{"name": "transformer", "peers": "all", "lower_kw": lower, "upper_kw": upper}]
    if len(sections) > 1:
        envelopes += [
            {"section": name, "upper_kw": max(sums.limit_kw(SECTION_SHARE), 0.0)} for name, sums in sections.items()
        ]
    return envelopes
