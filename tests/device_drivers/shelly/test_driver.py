import asyncio
import json

import pytest
from aiohttp import web

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, RelayState
from device_drivers.shelly.driver import ShellyDriver

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)


async def opened(port, *, failsafe=OPEN, password="open sesame", path="", username="admin", **options):
    address = DeviceUrl(scheme="shelly", host="127.0.0.1", port=port, username=username, password=password, path=path)
    return await ShellyDriver().open(address, failsafe=failsafe, options={"timeout_s": 2.0, **options})


def test_a_plug_is_switched_and_measured_with_its_password(shelly):
    async def switch():
        plug = await opened(shelly.port)
        await plug.apply(CLOSED, revert_after_s=3600)
        on = await plug.read()
        await plug.apply(OPEN, revert_after_s=None)
        return on, await plug.read()

    on, off = asyncio.run(switch())
    assert (on.relay_closed, on.power_w, off.relay_closed, off.power_w) == (True, 100, False, 0)
    assert json.loads(shelly.flash.read_text())["initial_state"] == "off"


@pytest.mark.parametrize(("password", "named"), [("wrong", "refuses the password$"), (None, "the URL names none")])
def test_wrong_credentials_are_said_and_the_password_is_not(shelly, password, named):
    with pytest.raises(DeviceError, match=named) as refusal:
        asyncio.run(opened(shelly.port, password=password, username=password and "admin"))
    assert "wrong" not in str(refusal.value)


def test_a_switch_that_is_not_there_is_an_error_of_the_device(shelly):
    with pytest.raises(DeviceError, match=r"GetConfig was refused: -105 .*value 7 not found"):
        asyncio.run(opened(shelly.port, switch=7))


STATUS = {"id": 0, "output": True, "apower": 5.0, "timer_duration": 50.0}


def told(call, status=STATUS, /, **answers):
    """How a call ends of a plug with these answers, and the methods that it was called by."""
    methods = []

    async def serve(request):
        asked = await request.json()
        methods.append((asked["method"], asked["params"]))
        results = {"Switch.GetConfig": {}, "Switch.SetConfig": {}, "Switch.Set": {}, "Switch.GetStatus": status}
        answer = {"id": asked["id"], "result": results[asked["method"]]}
        return web.Response(**({"text": json.dumps(answer)} | (answers if len(methods) > 3 else {})))

    async def run():
        app = web.Application()
        app.router.add_post("/rpc", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            plug = await opened(runner.addresses[0][1], password=None, username=None)
            return await call(plug)
        except DeviceError as err:
            return err
        finally:
            await runner.cleanup()

    return asyncio.run(run()), methods


def test_switching_and_its_end_are_one_call():
    ended, methods = told(lambda plug: plug.apply(CLOSED, revert_after_s=50.95))
    assert ended is None
    assert [params for method, params in methods if method == "Switch.Set"] == [
        {"id": 0, "on": True, "toggle_after": 50.9}
    ]


@pytest.mark.parametrize(
    ("target", "revert_after_s", "status", "named"),
    [
        (CLOSED, 60, {**STATUS, "timer_duration": 600}, "timer of 600 s"),
        (CLOSED, 60, {"output": True}, "timer of None"),
        (CLOSED, 60, {**STATUS, "output": False}, "read back output False"),
        (OPEN, None, {**STATUS, "output": False}, "that nobody asked for"),
        (OPEN, None, {"output": "off"}, "output 'off'"),
    ],
)
def test_what_the_plug_does_not_say_back_is_an_error(target, revert_after_s, status, named):
    ended, _ = told(lambda plug: plug.apply(target, revert_after_s=revert_after_s), {"apower": 0.0, **status})
    assert isinstance(ended, DeviceError)
    assert named in str(ended)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"text": "<html>"}, "wanted JSON"),
        ({"text": "[]"}, "wanted the answer to call"),
        ({"text": '{"id": 999, "result": {}}'}, "wanted the answer to call"),
        ({"text": '{"id": 4}'}, "wanted a result"),
        ({"status": 500, "text": '{"id": 4, "error": {"code": -103, "message": "busy"}}'}, "-103 busy"),
        ({"status": 302, "headers": {"Location": "http://elsewhere/"}, "text": ""}, "HTTP 302"),
        ({"text": '{"id": 4, "result": {"output": true, "apower": "much"}}'}, "power 'much'"),
        ({"text": '{"id": 4, "result": {"output": true, "apower": NaN}}'}, "power 'nan'"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_reading(answer, named):
    ended, _ = told(lambda plug: plug.read(), **answer)
    assert isinstance(ended, DeviceError)
    assert named in str(ended)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": "relay/0"}, "wanted shelly://"),
        ({"username": "me"}, "wanted shelly://"),
        ({"switch": -1}, "switch"),
        ({"failsafe": Power(power_w=0)}, "failsafe"),
    ],
)
def test_what_the_user_got_wrong_is_bad_input(options, named):
    with pytest.raises(InvalidValueError, match=named):
        asyncio.run(opened(1, **options))
