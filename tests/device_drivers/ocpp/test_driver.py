import asyncio
from datetime import timedelta

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.ocpp.driver import OcppDriver
from device_drivers.setpoint import Power, ProductionLimit, RelayState

VERSIONS = ("1.6", "2.0.1")
WHOLE = {"1.6": "ChargePointMaxProfile", "2.0.1": "ChargingStationMaxProfile"}
OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
per_version = pytest.mark.parametrize("version", VERSIONS)


def watts(power_w):
    return Power(power_w=power_w)


def until(charger, seconds):
    """What the station will let through in so many s, whoever still lives."""
    return charger.limit_w(charger.now() + timedelta(seconds=seconds))


def purposes(charger):
    return sorted(profile["charging_profile_purpose"] for profile in charger.profiles)


async def read_with(connection, target, power_w):
    """The reading once the power is this one: a transaction takes a while to begin and to end."""
    while True:
        await connection.apply(target, revert_after_s=60.0)
        reading = await connection.read()
        if reading.power_w == power_w:
            return reading


@per_version
def test_a_station_is_told_a_power_and_read_back(at_site, version):
    async def act(site):
        charger = site.charge(version)
        async with site.opened() as connection:
            found = [await connection.read()]
            for target in (watts(7000), watts(0), watts(20_000)):
                await connection.apply(target, revert_after_s=None)
                found.append(await connection.read())
            return found, until(charger, 10**6)

    found, lasting_w = at_site(act)
    # A station that was told nothing lets through what it can, and the car takes what it can.
    assert [(reading.limit_w, reading.power_w) for reading in found] == [
        (22_080, 11_000),
        (7000, 7000),
        (0, 0),
        (20_000, 11_000),
    ]
    assert lasting_w == 20_000


@per_version
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("ahead_s", [-100.0, 0.4, 25.0])
def test_the_station_ends_a_lease_by_itself_whatever_its_clock_says(at_site, version, waits, ahead_s):
    async def act(site):
        charger = site.charge(version, ahead_s=ahead_s, waits=waits)
        async with site.opened(failsafe=watts(1400)) as connection:
            await connection.apply(watts(7000), revert_after_s=60.0)
            return [until(charger, seconds) for seconds in (0, 57 - max(0.0, ahead_s), 60, 10**6)], purposes(charger)

    limits_w, told = at_site(act)
    assert limits_w == [7000, 7000, 1400, 1400]
    assert told == (["TxDefaultProfile", "TxDefaultProfile"] if waits else ["TxDefaultProfile", "TxProfile"])


@pytest.mark.slow
def test_a_lease_runs_on_while_its_station_is_waited_for(at_site):
    async def act(site):
        charger = site.charge("1.6")
        async with site.opened(failsafe=watts(1400)) as connection:
            at_once = connection._station.session

            async def late():
                await asyncio.sleep(1.2)  # more than what a station cuts off that says whole seconds
                return await at_once()

            connection._station.session, began = late, charger.now()
            await connection.apply(watts(7000), revert_after_s=60.05)
            return [charger.limit_w(began + timedelta(seconds=seconds)) for seconds in (57, 60.1)]

    assert at_site(act) == [7000, 1400]


@per_version
def test_a_station_that_refuses_profiles_of_transactions_is_driven_by_the_default(at_site, version):
    async def act(site):
        charger = site.charge(version)
        async with site.opened() as connection:
            await connection.apply(watts(3000), revert_after_s=60.0)
        async with site.opened(profile="default") as connection:
            await connection.apply(watts(7000), revert_after_s=60.0)
            return (await connection.read()).power_w, until(charger, 60), purposes(charger)

    # What was for the transaction before is taken away: it would hold.
    assert at_site(act) == (7000, 0, ["TxDefaultProfile"] * 2)


@per_version
def test_a_profile_of_a_transaction_says_itself_what_comes_after(at_site, version):
    # 1.6 knows no validTo for it, and what holds after its duration is not told.
    async def act(site):
        charger = site.charge(version)
        async with site.opened(unit="A") as connection:
            await connection.apply(watts(11_040), revert_after_s=60.0)
            return next(one for one in charger.profiles if one["charging_profile_purpose"] == "TxProfile")

    profile = at_site(act)
    periods = profile["schedule"]["charging_schedule_period"]
    assert [(period["limit"], period["number_phases"]) for period in periods] == [(16.0, 3), (0, 3)]
    assert "valid_to" not in profile
    assert "duration" not in profile["schedule"]


@per_version
def test_a_lease_over_a_clock_far_ahead_is_refused_and_nothing_is_told(at_site, version):
    async def act(site):
        charger = site.charge(version, ahead_s=31.0)
        async with site.opened() as connection:
            with pytest.raises(DeviceError, match=r"clock is 3\d s ahead, wanted less than half of a lease of 60 s"):
                await connection.apply(watts(7000), revert_after_s=60.0)
            return charger.profiles

    assert at_site(act) == []


@per_version
def test_the_station_as_a_whole_is_connector_0(at_site, version):
    async def act(site):
        charger = site.charge(version)
        async with site.opened(connector=0, failsafe=watts(3000)) as connection:
            await connection.apply(watts(9000), revert_after_s=60.0)
            reading = await connection.read()
            return (reading.limit_w, reading.power_w), until(charger, 61), purposes(charger)

    assert at_site(act) == ((9000, 9000), 3000, [WHOLE[version]] * 2)


@per_version
def test_amperes_are_rounded_down_and_read_back_as_the_watts_that_were_told(at_site, version):
    async def act(site):
        charger = site.charge(version)
        async with site.opened(unit="A", phases=3, voltage=230) as connection:
            await connection.apply(watts(5000), revert_after_s=None)
            return (await connection.read()).limit_w, until(charger, 0)

    told_w, lets_w = at_site(act)
    assert told_w == 5000
    assert lets_w == pytest.approx(7.2 * 690)


@per_version
def test_a_relay_begins_and_ends_the_transaction_of_a_car_that_waits(at_site, version):
    async def act(site):
        site.charge(version, waits=True)
        async with site.opened(failsafe=OPEN, rated_w=7000, id_tag="HOUSE") as connection:
            found = []
            for target in (OPEN, CLOSED, OPEN):
                await connection.apply(target, revert_after_s=60.0)
                reading = await read_with(connection, target, 7000 if target.closed else 0)
                found.append((reading.relay_closed, reading.power_w))
            return found

    assert at_site(act) == [(False, 0), (True, 7000), (False, 0)]


@per_version
def test_a_transaction_that_began_later_gets_a_profile_of_its_own_alone(at_site, version):
    async def act(site):
        charger = site.charge(version, waits=True)
        async with site.opened(failsafe=OPEN, rated_w=7000, id_tag="HOUSE") as connection:
            await connection.apply(CLOSED, revert_after_s=60.0)
            before = purposes(charger)
            await read_with(connection, CLOSED, 7000)
            await connection.apply(CLOSED, revert_after_s=60.0)
            return before, purposes(charger)

    assert at_site(act) == (["TxDefaultProfile"] * 2, ["TxDefaultProfile", "TxProfile"])


@per_version
@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"SetChargingProfile": "Rejected"}, "SetChargingProfile was refused: Rejected"),
        ({"SetChargingProfile": "error"}, "SetChargingProfile was answered with an error: NotImplemented"),
    ],
)
def test_a_profile_that_is_refused_is_an_error_of_the_device_and_the_next_is_tried(at_site, version, answer, named):
    async def act(site):
        refuses = dict(answer)
        charger = site.charge(version, refuses=refuses)
        async with site.opened() as connection:
            with pytest.raises(DeviceError, match=named):
                await connection.apply(watts(7000), revert_after_s=60.0)
            refuses.clear()
            await connection.apply(watts(7000), revert_after_s=60.0)
            return until(charger, 0)

    assert at_site(act) == 7000


@per_version
@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"GetCompositeSchedule": "Rejected"}, "GetCompositeSchedule was refused"),
        ({"TriggerMessage": "NotImplemented"}, "NotImplemented when it is asked for meter values; meter=sent takes"),
        ({"TriggerMessage": "error"}, "TriggerMessage was answered with an error"),
    ],
)
def test_a_station_that_cannot_be_read_is_not_opened(at_site, version, answer, named):
    async def act(site):
        site.charge(version, refuses=answer)
        await site.open()

    with pytest.raises(DeviceError, match=named):
        at_site(act)


@per_version
def test_a_station_that_installs_a_profile_and_does_otherwise_is_found_out(at_site, version):
    async def act(site):
        charger = site.charge(version)
        async with site.opened() as connection:
            charger.install = lambda outlet, profile: "Accepted"
            with pytest.raises(DeviceError, match="was told 7000 W, its composite schedule says 22080 W"):
                await connection.apply(watts(7000), revert_after_s=60.0)

    at_site(act)


@per_version
def test_a_station_that_would_not_end_a_lease_is_found_out(at_site, version):
    async def act(site):
        charger = site.charge(version)
        install = charger.install

        def install_for_ever(outlet, profile):
            schedule = profile["schedule"]
            del schedule["charging_schedule_period"][1:]
            schedule.pop("duration", None)
            profile.pop("valid_to", None)
            return install(outlet, profile)

        charger.install = install_for_ever
        async with site.opened() as connection:
            with pytest.raises(DeviceError, match="its composite schedule has 7000 W afterwards, wanted 0 W"):
                await connection.apply(watts(7000), revert_after_s=30.0)

    at_site(act)


def test_an_outlet_with_an_error_is_not_told_to_charge(at_site):
    async def act(site):
        site.charge("1.6", error="GroundFailure")
        async with site.opened() as connection:
            with pytest.raises(DeviceError, match="outlet 1 has GroundFailure"):
                await connection.apply(watts(7000), revert_after_s=60.0)
            await connection.apply(watts(0), revert_after_s=None)

    at_site(act)


def test_devices_of_one_station_share_its_connection_and_its_terms(at_site):
    async def act(site):
        site.charge("1.6")
        async with site.opened() as one, site.opened(connector=0, failsafe=watts(22_000)) as whole:
            await whole.apply(watts(6000), revert_after_s=60.0)
            with pytest.raises(InvalidValueError, match="other options for CP1 than another device of it has"):
                await site.open(tags="NOBODY")
            return (await one.read()).power_w

    assert at_site(act) == 6000


def test_stations_of_one_port_are_told_apart(at_site):
    async def act(site):
        site.charge("1.6", name="left")
        site.charge("2.0.1", name="right")
        async with site.opened(name="left") as left, site.opened(name="right") as right:
            await left.apply(watts(2000), revert_after_s=None)
            await right.apply(watts(3000), revert_after_s=None)
            return [(await connection.read()).power_w for connection in (left, right)]

    assert at_site(act) == [2000, 3000]


@pytest.mark.parametrize(
    ("path", "failsafe", "options", "named"),
    [
        ("", watts(0), {}, "wanted ocpp://HOST"),
        ("a/b", watts(0), {}, "wanted ocpp://HOST"),
        ("CP1", OPEN, {}, "failsafe: got .*, wanted a power, not negative; or, with the option rated_w"),
        ("CP1", watts(-1), {}, "failsafe: got .*, wanted a power, not negative"),
        ("CP1", ProductionLimit(limit_w=0), {}, "failsafe: got"),
        ("CP1", watts(0), {"rated_w": 7000}, "failsafe: got .*, wanted a state of the relay"),
        ("CP1", watts(0), {"version": "2.1"}, "option version: got '2.1', wanted one of 1.6, 2.0.1, any"),
        ("CP1", watts(0), {"unit": "kW"}, "option unit"),
        ("CP1", watts(0), {"phases": 4}, "option phases"),
        ("CP1", watts(0), {"profile": "any"}, "option profile: got 'any', wanted one of default, transaction"),
        ("CP1", watts(0), {"voltage": "nan"}, "option voltage"),
        ("CP1", watts(0), {"connector": -1}, "option connector"),
        ("CP1", watts(0), {"conector": 1}, "option: got conector, wanted .*connector"),
        ("CP1", watts(0), {"meter_age_s": 5}, "option meter_age_s: got it without meter=sent"),
        ("CP1", watts(0), {"id_tag": "HOUSE"}, "option id_tag: got it without rated_w"),
        ("CP1", OPEN, {"id_tag": "x" * 21, "rated_w": 1}, "option id_tag: got 21 characters, wanted 20 at most"),
        ("CP1", OPEN, {"id_tag": "HOUSE", "rated_w": 1, "tags": "A,B"}, "tags: got A, B, wanted HOUSE of id_tag too"),
        ("CP1", watts(0), {"certificate": "/nowhere.pem"}, "option certificate: got it, or key, alone"),
        (
            "CP1",
            watts(0),
            {"certificate": "/no.pem", "key": "/no.key"},
            "option certificate: got '/no.pem', wanted a file",
        ),
        ("CP1", watts(0), {"password_file": "/no.txt"}, "option password_file: /no.txt cannot be read"),
        ("CP1", watts(0), {"password_file": "/no.txt", "password": "x"}, "option password: got it and password_file"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_before_anybody_listens(path, failsafe, options, named):
    address = DeviceUrl(scheme="ocpp", host="127.0.0.1", port=1, path=path)
    with pytest.raises(InvalidValueError, match=named):
        asyncio.run(OcppDriver().open(address, failsafe=failsafe, options=options))


def test_a_name_in_front_of_the_host_is_refused_and_its_password_is_not_said():
    address = DeviceUrl.parse("ocpp://CP1:secret@127.0.0.1/CP1")
    with pytest.raises(InvalidValueError, match="wanted ocpp://HOST") as refusal:
        asyncio.run(OcppDriver().open(address, failsafe=watts(0), options={}))
    assert "secret" not in str(refusal.value)
