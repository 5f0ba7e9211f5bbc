import asyncio

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.kasa.driver import KasaDriver
from device_drivers.setpoint import Power, RelayState
from tests.device_drivers.kasa.scripted_plug import INFO, scripted_plug

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)


async def opened(port, *, failsafe=OPEN, **options):
    address = DeviceUrl(scheme="kasa", host="127.0.0.1", port=port)
    return await KasaDriver().open(address, failsafe=failsafe, options={"timeout_s": 1.0, **options})


def test_a_plug_says_its_power_and_for_how_long_it_has_been_on(hs110):
    async def switch():
        plug = await opened(hs110.port)
        await plug.apply(CLOSED, revert_after_s=3600)
        on = await plug.read()
        await plug.apply(OPEN, revert_after_s=None)
        return on, await plug.read()

    on, off = asyncio.run(switch())
    assert (on.relay_closed, on.power_w) == (True, 3)
    assert on.held_s is not None
    assert (off.relay_closed, off.held_s) == (False, None)


def test_an_outlet_of_a_strip_is_switched_alone(hs300):
    async def switch():
        one, other = await opened(hs300.port, outlet=1), await opened(hs300.port, outlet=2)
        await one.apply(CLOSED, revert_after_s=None)
        return [(await outlet.read()).relay_closed for outlet in (one, other)]

    assert asyncio.run(switch()) == [True, False]


@pytest.mark.parametrize(("options", "named"), [({}, "none"), ({"outlet": 6}, "6"), ({"outlet": -1}, "-1")])
def test_an_outlet_that_a_strip_lacks_is_refused(hs300, options, named):
    with pytest.raises(InvalidValueError, match=f"option outlet: got '?{named}"):
        asyncio.run(opened(hs300.port, **options))


def test_an_outlet_of_a_plug_without_any_is_refused(hs110):
    with pytest.raises(InvalidValueError, match="outlet"):
        asyncio.run(opened(hs110.port, outlet=0))


def script(**answers):
    kept = {"err_code": 0, "rule_list": [{"enable": 1, "delay": 59, "act": 0, "name": "gridpact"}]}
    plug = {
        "system.get_sysinfo": INFO,
        "emeter.get_realtime": {"err_code": 0, "power_mw": 12_345},
        "count_down.get_rules": kept,
    }
    return plug | {key.replace("__", "."): answer for key, answer in answers.items()}


def told(answers, *calls):
    """What a plug with these answers is told by calls of its connection, and how the last of them ends."""

    async def run():
        async with scripted_plug(answers) as (port, requests):
            plug = await opened(port)
            requests.clear()
            result = None
            try:
                for call in calls:
                    result = await call(plug)
            except DeviceError as err:
                result = err
            return requests, result

    return asyncio.run(run())


def test_the_countdown_runs_before_the_relay_closes():
    requests, _ = told(script(), lambda plug: plug.apply(CLOSED, revert_after_s=59.9))
    rule = {"enable": 1, "delay": 59, "act": 0, "name": "gridpact"}
    assert requests == [
        {"count_down": {"delete_all_rules": None, "add_rule": rule, "get_rules": {}}},
        {"system": {"set_relay_state": {"state": 1}}},
    ]


@pytest.mark.parametrize(
    "answers",
    [
        {"count_down__add_rule": {"err_code": -10, "err_msg": "table is full"}},
        {"count_down__get_rules": {"err_code": 0, "rule_list": []}},
        {
            "count_down__get_rules": {
                "err_code": 0,
                "rule_list": [{"enable": 1, "delay": 590, "act": 0}],
            }
        },
    ],
    ids=["refused", "lost", "other"],
)
def test_a_relay_whose_countdown_does_not_run_is_not_closed(answers):
    requests, err = told(script(**answers), lambda plug: plug.apply(CLOSED, revert_after_s=59.9))
    assert isinstance(err, DeviceError)
    assert not [request for request in requests if "system" in request]


def test_the_failsafe_is_switched_before_the_countdown_is_deleted():
    requests, _ = told(script(), lambda plug: plug.apply(OPEN, revert_after_s=0.1))
    assert [list(request) for request in requests] == [["system"], ["count_down"]]


@pytest.mark.parametrize(
    ("method", "answer", "named"),
    [
        ("system__get_sysinfo", {**INFO, "relay_state": 2}, "relay_state '2'"),
        ("system__get_sysinfo", {**INFO, "relay_state": None}, "relay_state"),
        ("system__get_sysinfo", {**INFO, "relay_state": True}, "relay_state 'True'"),
        ("system__get_sysinfo", {"err_code": -1, "err_msg": "busy"}, "-1 busy"),
        ("system__get_sysinfo", {"relay_state": 1}, "err_code"),
        ("system__get_sysinfo", [], "err_code"),
        ("emeter__get_realtime", {"err_code": 0}, "power_mw or power"),
        ("emeter__get_realtime", {"err_code": 0, "power": "much"}, "power 'much'"),
        ("emeter__get_realtime", {"err_code": 0, "power": float("nan")}, "power 'nan'"),
        ("emeter__get_realtime", {"err_code": 0, "power_mw": 1e300}, "power_mw"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_reading(method, answer, named):
    first = iter([INFO])
    answers = script(**{method: answer})
    if method == "system__get_sysinfo":
        answers["system.get_sysinfo"] = lambda: next(first, answer)
    _, err = told(answers, lambda plug: plug.read())
    assert isinstance(err, DeviceError)
    assert named in str(err)


def test_a_plug_without_countdown_or_meter_says_so():
    answers = script(
        system__get_sysinfo={**INFO, "feature": "TIM"},
        count_down__get_rules={"err_code": -1, "err_msg": "module not support"},
    )

    async def look(plug):
        await plug.apply(CLOSED, revert_after_s=0.1)
        return plug.capabilities, await plug.read()

    requests, (can, reading) = told(answers, look)
    assert (can.timer, can.measures_power) == (None, False)
    assert reading.power_w is None
    assert not [request for request in requests if "count_down" in request]


@pytest.mark.parametrize(
    ("url", "failsafe", "named"),
    [
        ("kasa://127.0.0.1/1", OPEN, "without a path"),
        ("kasa://me@127.0.0.1", OPEN, "without a path or a name"),
        ("kasa://127.0.0.1?timeout_s=0", OPEN, "timeout_s"),
        ("kasa://127.0.0.1", Power(power_w=0), "failsafe"),
    ],
)
def test_an_address_that_is_wrong_is_refused_before_anything_is_sent(url, failsafe, named):
    address = DeviceUrl.parse(url)
    with pytest.raises(InvalidValueError, match=named):
        asyncio.run(KasaDriver().open(address, failsafe=failsafe, options=address.query))
