"""Samples: any size, equal for equal arguments, eight devices a home, no impossible task, limits that bind."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controller.errors import InputError
from controller.plan.fields import kind_of
from controller.plan.sample import Sampling, sample_community, write_sample
from controller.plan.sample.homes import draw_home
from controller.plan.sample.setting import setting_of
from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, DeviceId, Floats
from optimization.devices.batches import batches
from optimization.devices.oracle import priced
from optimization.fulfilment import impossible_tasks
from optimization.states import states_of


def text(**arguments: Any) -> str:
    return "".join(write_sample(Sampling(**arguments)))


def test_equal_arguments_give_equal_bytes() -> None:
    assert text(homes=5, seed=7) == text(homes=5, seed=7)
    assert text(homes=5, seed=7) != text(homes=5, seed=8)


def test_numbers_are_round() -> None:
    content = json.loads(text(homes=3, seed=1, mtus=24, mtu_minutes=60))
    for peer in content["peers"]:
        (load,) = (device for device in peer["devices"] if device["kind"] == "fixed_load")
        assert [round(1000 * power, 6) % 1 for power in load["power_kw"]] == [0] * 24


def test_every_home_has_eight_devices_and_together_they_are_of_all_kinds() -> None:
    community = sample_community(100, 2, 96)
    sizes = [len(peer.devices) for peer in community.peers]
    assert min(sizes) >= 8
    kinds = Counter(kind_of(device) for _, device in community.devices())
    assert len(kinds) == 8
    assert kinds["fixed_load"] == 100
    assert 60 <= kinds["curtailable"] <= 80
    assert 30 <= kinds["battery"] <= 50
    assert 40 <= kinds["electric_vehicle"] <= 60
    assert kinds["programme"] == 300


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
@pytest.mark.parametrize("mtus", [24, 37, 96, 192])
def test_every_task_is_possible_whatever_the_horizon(mtus: int, minutes: int) -> None:
    for seed in range(3):
        community = sample_community(4, seed, mtus, mtu_minutes=minutes)
        assert not impossible_tasks(community)
        assert min(len(peer.devices) for peer in community.peers) >= 8


def selfish_kw(community: Community) -> Floats:
    """(T,) kW of all devices that look at the tariff alone."""
    total = np.zeros(community.horizon.mtus)
    for blocks in batches(community):
        count = int(blocks.batch.block.max()) + 1
        price = np.tile(community.tariff.import_price, (count, 1))
        total += blocks.batch.respond(priced(price)).power_kw.sum(axis=0)
    return total


@pytest.mark.parametrize(("homes", "mtus", "minutes"), [(3, 24, 60), (5, 96, 15)])
def test_the_transformer_cannot_bear_selfish_homes(homes: int, mtus: int, minutes: int) -> None:
    community = sample_community(homes, 1, mtus, mtu_minutes=minutes)
    transformer = community.envelopes[0]
    assert len(transformer.peers) == homes
    assert selfish_kw(community).max() > 1.1 * transformer.upper_kw.max()


@pytest.mark.parametrize(("mtus", "minutes"), [(24, 5), (24, 60), (48, 15), (96, 15), (192, 60)])
def test_limits_bear_a_schedule_that_fulfils_every_task(mtus: int, minutes: int) -> None:
    homes = 45
    community = sample_community(homes, 4, mtus, mtu_minutes=minutes, links="none")
    setting = setting_of(seed=4, mtus=mtus, mtu_minutes=minutes)
    device_kw: dict[DeviceId, Floats] = {}
    net = np.zeros((homes, mtus))
    for index in range(homes):
        home = draw_home(seed=4, index=index, setting=setting, section="", others=net.sum(axis=0))
        device_kw |= {DeviceId(name): power for name, power in home.calm.items()}
        net[index] = home.calm_kw
    states, energy = states_of(community, device_kw), community.horizon.hours * net
    calm = Clearing(
        device_kw=device_kw,
        state_kwh=states.state_kwh,
        temperature_c=states.temperature_c,
        shortfall={},
        trade_kwh=np.zeros((0, mtus)),
        import_kwh=np.maximum(energy, 0.0),
        export_kwh=np.maximum(-energy, 0.0),
        price=np.zeros((homes, mtus)),
        objective=0.0,
        lower_bound=0.0,
    )
    certificate = certify(community, calm)
    assert certificate.violated == ""


def test_links_join_the_nearest() -> None:
    community = sample_community(6, 1, 24)
    sellers = Counter(str(link.buyer) for link in community.links)
    assert set(sellers.values()) == {4}
    assert {str(link.seller) for link in community.links if link.buyer == "home-1"} == {
        *("home-2", "home-3", "home-4", "home-5")
    }
    assert not sample_community(6, 1, 24, links="none").links
    assert len(sample_community(6, 1, 24, links="all").links) == 30


def test_the_transformer_may_be_set_or_left_out() -> None:
    assert sample_community(4, 1, 24, transformer=2.5).envelopes[0].upper_kw.tolist() == [10.0] * 24
    assert sample_community(4, 1, 24, transformer="none").envelopes == ()


@pytest.mark.parametrize(
    "arguments",
    [{"homes": 0}, {"homes": 20_001}, {"mtus": 23}, {"mtus": 193}, {"seed": -1}, {"transformer": 0.0}],
)
def test_absurd_sizes_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="wanted"):
        Sampling(**{"homes": 3, "seed": 1, **arguments})


def test_the_command_writes_one(gridpact: Callable[..., Any]) -> None:
    ran = gridpact("sample", "--homes", "2", "--seed", "5", "--mtus", "24", "--mtu-minutes", "60", "--links", "none")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == text(homes=2, seed=5, mtus=24, mtu_minutes=60, links="none")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--homes", "0"], "gridpact sample: --homes: got 0, wanted 1 to 20000"),
        (["--homes", "2", "--transformer", "big"], "--transformer: got 'big', wanted kW per home"),
        (["--homes", "2", "--transformer", "nan"], "--transformer: got nan, wanted more than 0"),
        (["--homes", "two"], "invalid int value: 'two'"),
        ([], "the following arguments are required: --homes"),
    ],
)
def test_the_command_says_what_is_wrong(gridpact: Callable[..., Any], arguments: list[str], told: str) -> None:
    ran = gridpact("sample", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.slow
def test_a_thousand_homes_load_without_an_impossible_task() -> None:
    community = sample_community(1000, 1, 96)
    assert min(len(peer.devices) for peer in community.peers) >= 8
    assert not impossible_tasks(community)
