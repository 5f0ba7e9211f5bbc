import sys
from importlib.metadata import EntryPoint

import pytest

from device_drivers import schemes
from device_drivers.errors import InvalidValueError
from device_drivers.schemes import GROUP, OWN, Own, driver_for
from device_drivers.simulated.driver import SimulatedDriver


def entry(value, name="acme"):
    return EntryPoint(name=name, value=value, group=GROUP)


def test_own_drivers_are_found_by_their_scheme():
    assert isinstance(driver_for("simulated"), SimulatedDriver)


def test_others_plug_in_by_entry_points_and_cannot_take_ours():
    own = entry("device_drivers.simulated.driver:SimulatedDriver")
    assert isinstance(driver_for("acme", lambda: [own]), SimulatedDriver)
    assert isinstance(driver_for("simulated", lambda: [entry("nowhere:Nothing", "simulated")]), SimulatedDriver)


def test_an_unknown_scheme_is_refused_with_those_that_are_known():
    with pytest.raises(InvalidValueError, match=r"got the scheme 'nope', wanted one of acme, .*simulated"):
        driver_for("nope", lambda: [entry("a:b")])


def test_a_driver_that_cannot_be_loaded_or_is_claimed_twice_is_refused():
    with pytest.raises(InvalidValueError, match="nowhere:Nothing of 'acme' cannot be loaded"):
        driver_for("acme", lambda: [entry("nowhere:Nothing")])
    with pytest.raises(InvalidValueError, match="which a:b, c:d claim"):
        driver_for("acme", lambda: [entry("a:b"), entry("c:d")])


def test_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "device_drivers.simulated.driver", None)
    monkeypatch.setattr(schemes, "OWN", {**OWN, "simulated": Own(factory=OWN["simulated"].factory, extra="toys")})
    with pytest.raises(InvalidValueError, match=r"needs .*driver.*pip install 'gridpact\[toys\]'"):
        driver_for("simulated")
