"""By how much limits have to give, against what can be seen."""

import numpy as np
import pytest

from optimization.community import Battery, Community, Envelope, FixedLoad, Horizon, Interruptible, Peer, Tariff
from optimization.reference.excess import least_excess

MTUS = 4


def community(*envelopes, load_kw=1.0, battery=None, pump=None):
    devices = [FixedLoad(id="a/load", power_kw=np.full(MTUS, load_kw))]
    devices += [device for device in (battery, pump) if device is not None]
    return Community(
        horizon=Horizon(mtus=MTUS, mtu_minutes=60),
        tariff=Tariff(import_price=np.full(MTUS, 0.3), export_price=np.full(MTUS, 0.1)),
        peers=(
            Peer(id="a", section="s", devices=tuple(devices)),
            Peer(id="b", section="s", devices=(FixedLoad(id="b/load", power_kw=np.full(MTUS, 2.0)),)),
        ),
        envelopes=envelopes,
    )


def envelope(name, peers, lower=-np.inf, upper=np.inf):
    return Envelope(name=name, peers=frozenset(peers), lower_kw=np.full(MTUS, lower), upper_kw=np.full(MTUS, upper))


def test_what_can_be_kept_has_nothing_to_give():
    assert least_excess(community(envelope("all", "ab", lower=-1.0, upper=3.0))) == {}


def test_a_load_that_nobody_controls_is_beyond_by_what_it_is():
    found = least_excess(community(envelope("a", "a", upper=0.4), envelope("all", "ab", upper=2.5)))
    assert {name: list(above.round(6)) for name, (_, above) in found.items()} == {"a": [0.6] * 4, "all": [0.5] * 4}
    assert not any(below.any() for below, _ in found.values())


def test_a_battery_helps_as_long_as_it_lasts():
    battery = Battery(
        id="a/battery",
        max_charge_kw=2.0,
        max_discharge_kw=2.0,
        capacity_kwh=2.0,
        initial_kwh=2.0,
        final_kwh=2.0,
        charge_efficiency=1.0,
        discharge_efficiency=1.0,
    )
    ((name, (_, above)),) = least_excess(community(envelope("a", "a", upper=0.0), battery=battery)).items()
    assert (name, above.sum()) == ("a", pytest.approx(2.0))  # four hours of 1 kW less what is stored


def test_what_asks_to_take_gives_before_what_forbids_it():
    pump = Interruptible(id="a/pump", power_kw=2.0, first_mtu=0, end_mtu=MTUS, required_mtus=MTUS)
    found = least_excess(community(envelope("a", "a", lower=3.0), envelope("all", "ab", upper=4.0), pump=pump))
    assert list(found) == ["a"]
    assert list(found["a"][0].round(6)) == [1.0] * 4
