"""Who is let in, and what becomes of stations that say what makes no sense."""

import asyncio
import base64
import json
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from controller.pki_files import init
from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.ocpp.driver import OcppDriver
from device_drivers.setpoint import Power

KEY = "00ff" * 10


async def refused(site, **options):
    """Why a station that dials cannot be opened."""
    with pytest.raises(DeviceError) as refusal:
        await site.open(timeout_s=0.3, **options)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "options", "named"),
    [
        ({"password": "wrong"}, {"password": "right"}, "CP1 is not connected: it came with a wrong password"),
        ({}, {"password": "right"}, "CP1 is not connected: it came without a password"),
        ({}, {"version": "2.0.1"}, r"CP1 is not connected: it speaks ocpp1\.6, wanted ocpp2\.0\.1"),
        ({"subprotocol": "ocpp1.5"}, {}, r"it speaks ocpp1\.5, wanted ocpp2\.0\.1 or ocpp1\.6"),
        ({"name": "CP2"}, {}, "CP1 is not connected; one that calls itself 'CP2' was turned away"),
    ],
)
def test_why_a_station_is_turned_away_is_said_and_others_go_on(at_site, settings, options, named):
    async def act(site):
        site.charge("1.6", name="other")
        site.charge(**{"version": "1.6"} | settings)
        async with site.opened(name="other") as other:
            why = await refused(site, **options)
            await other.read()
            return why

    why = at_site(act)
    assert "right" not in why
    with pytest.raises(DeviceError, match=named):
        raise DeviceError(why)


def test_a_station_that_nobody_heard_of_is_not_connected(at_site):
    assert at_site(refused) == "ocpp: CP1 is not connected"


@pytest.mark.parametrize("said", ["correct horse", KEY])
def test_a_station_is_let_in_with_its_password(at_site, said):
    async def act(site):
        site.charge("2.0.1", password=said)
        (site.folder / "password").write_text(f"{said}\n")
        async with site.opened(password_file=str(site.folder / "password")) as connection:
            return (await connection.read()).limit_w

    assert at_site(act) == 22_080


@asynccontextmanager
async def dialled(site, *, name="CP1", version="ocpp1.6", **headers):
    """A connection to the driver that says only what the test wants."""
    url = f"ws://127.0.0.1:{site.port}/any/path/{name}"
    protocols = [version] if version else None
    async with connect(url, subprotocols=protocols, additional_headers=headers, proxy=None) as end:
        yield end


async def waiting(site, **options):
    """A task that opens the station; the port is listened on when it is returned."""
    opening = asyncio.create_task(site.open(**options))
    while True:
        try:
            _, listened = await asyncio.open_connection("127.0.0.1", site.port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            listened.close()
            return opening


async def asked(end, action, payload):
    """The answer to a call of a station's; ours in between are passed over."""
    await end.send(json.dumps([2, "its", action, payload]))
    while True:
        said = json.loads(await end.recv())
        if said[0] != 2 and said[1] == "its":
            return said


def test_a_key_of_40_digits_is_also_taken_as_the_bytes_that_they_stand_for(at_site):
    async def act(site):
        opening = await waiting(site, password=KEY, timeout_s=0.5)
        said = base64.b64encode(b"CP1:" + bytes.fromhex(KEY)).decode()
        async with dialled(site, Authorization=f"Basic {said}") as end:
            answer = await asked(end, "Heartbeat", {})
        opening.cancel()
        return answer[0]

    assert at_site(act) == 3


@pytest.mark.parametrize("said", ["Basic", "Basic %%%", "Bearer x", "Basic Q1Ax", "Basic Q1AxOg=="])
def test_what_is_no_password_is_none(at_site, said):
    async def act(site):
        opening = await waiting(site, password="right", timeout_s=0.3)
        with pytest.raises(InvalidStatus) as refusal:
            async with dialled(site, Authorization=said):
                pass
        with pytest.raises(DeviceError, match="wrong password"):
            await opening
        return refusal.value.response

    response = at_site(act)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="OCPP"'


def test_a_station_without_a_version_is_turned_away_after_the_handshake(at_site):
    async def act(site):
        opening = await waiting(site, timeout_s=0.3)
        async with dialled(site, version=None) as end:
            with pytest.raises(ConnectionClosed) as ended:
                await end.recv()
        with pytest.raises(DeviceError, match=r"it speaks none, wanted ocpp2\.0\.1 or ocpp1\.6"):
            await opening
        return ended.value.rcvd.code

    assert at_site(act) == 1002


@pytest.mark.parametrize(
    ("version", "boot"),
    [
        ("ocpp1.6", {"chargePointVendor": "V", "chargePointModel": "M"}),
        ("ocpp2.0.1", {"chargingStation": {"vendorName": "V", "model": "M"}, "reason": "PowerUp"}),
    ],
)
def test_a_station_is_told_the_time_when_it_starts_and_with_each_heartbeat(at_site, version, boot):
    async def act(site):
        opening = await waiting(site, heartbeat_s=30, timeout_s=0.5)
        async with dialled(site, version=version) as end:
            answers = [await asked(end, "BootNotification", boot), await asked(end, "Heartbeat", {})]
        opening.cancel()
        return [answer[2] for answer in answers]

    started, beat = at_site(act)
    assert (started["status"], started["interval"]) == ("Accepted", 30)
    for answer in (started, beat):
        told = datetime.fromisoformat(answer["currentTime"])
        assert abs(told - datetime.now(UTC)) < timedelta(seconds=60)


ODD_METERS = [
    {"connectorId": 1, "meterValue": [{"timestamp": "then", "sampledValue": [{"value": "x"}]}]},
    {"connectorId": 99999999999999999999, "meterValue": [{"timestamp": "", "sampledValue": []}]},
    {"evseId": 1, "meterValue": [{"timestamp": "9999-12-31T23:59:59-23:59", "sampledValue": [{"value": 1e300}]}]},
]
NONSENSE = [
    *(json.dumps([2, "a", "MeterValues", payload]) for payload in ODD_METERS),
    "",
    "no json",
    "null",
    "7",
    "[]",
    "[2]",
    '[2, "a", "Heartbeat"]',
    '[9, "a", "Heartbeat", {}]',
    '[2, 7, "Heartbeat", {}]',
    '[2, "a", 7, {}]',
    '[2, "a", "Heartbeat", []]',
    '[2, "a", "Heartbeat", 7]',
    '[2, "a", "../../secrets", {}]',
    '[2, "a", "NotAnAction", {}]',
    '[2, "a", "StopTransaction", {"transactionId": 1e400, "meterStop": NaN, "timestamp": "0"}]',
    '[3, "unasked", {}]',
    '[3, {"a": []}, {}]',
    '[4, "unasked", "InternalError", "", {}]',
    "[" * 20_000,
    '[2, "a", "Heartbeat", {"n": ' + "9" * 5000 + "}]",
    b"\xff\xfe\x00",
]


POWER = {"measurand": "Power.Active.Import"}
METER_16 = [
    {"timestamp": "2026-11-22T08:00:00Z", "sampledValue": [POWER | {"value": "7", "unit": "kW", "phase": "L1"}]}
]
METER_201 = [
    {
        "timestamp": "2026-11-22T08:00:00Z",
        "sampledValue": [POWER | {"value": 7.0, "unitOfMeasure": {"unit": "kW", "multiplier": 0}}],
    }
]
SAID = {
    "ocpp1.6": {
        "BootNotification": {"chargePointVendor": "V", "chargePointModel": "M"},
        "StatusNotification": {"connectorId": 1, "errorCode": "NoError", "status": "Charging"},
        "StartTransaction": {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-11-22T08:00:00Z"},
        "StopTransaction": {"transactionId": 7, "meterStop": 0, "timestamp": "2026-11-22T08:00:00Z"},
        "MeterValues": {"connectorId": 1, "transactionId": 7, "meterValue": METER_16},
    },
    "ocpp2.0.1": {
        "StatusNotification": {
            "timestamp": "2026-11-22T08:00:00Z",
            "connectorStatus": "Occupied",
            "evseId": 1,
            "connectorId": 1,
        },
        "TransactionEvent": {
            "eventType": "Updated",
            "timestamp": "2026-11-22T08:00:00Z",
            "triggerReason": "Trigger",
            "seqNo": 1,
            "transactionInfo": {"transactionId": "t"},
            "evse": {"id": 1},
            "idToken": {"idToken": "T", "type": "Central"},
            "meterValue": METER_201,
        },
        "MeterValues": {"evseId": 1, "meterValue": METER_201},
    },
}
ODD = (
    None,
    True,
    -1,
    0,
    7.0,
    1e300,
    10**40,
    "",
    "x" * 300,
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
    [],
    {},
)


def spoilt(value, randomness):
    """The same with one thing in it that is odd, or missing."""
    if not isinstance(value, dict | list) or not value or randomness.random() < 0.2:
        return randomness.choice(ODD)
    key = randomness.choice(list(value) if isinstance(value, dict) else range(len(value)))
    changed = value.copy()
    if isinstance(value, dict) and randomness.random() < 0.1:
        del changed[key]
    else:
        changed[key] = spoilt(value[key], randomness)
    return changed


@pytest.mark.parametrize("version", SAID)
def test_whatever_a_station_says_of_itself_is_answered_over_the_same_connection(at_site, version):
    randomness = Random(7)

    async def act(site):
        opening = await waiting(site, meter="sent", timeout_s=20.0)
        numbers = {str(number) for number in range(200)}
        async with dialled(site, version=version) as end:
            for number in sorted(numbers):
                action, payload = randomness.choice(list(SAID[version].items()))
                await end.send(json.dumps([2, number, action, spoilt(payload, randomness)]))
            while numbers:
                said = json.loads(await end.recv())
                if said[0] != 2:
                    numbers.discard(said[1])
        opening.cancel()

    at_site(act)


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
def test_nonsense_is_passed_over_or_answered_with_an_error_and_the_connection_stays(at_site, version):
    async def act(site):
        opening = await waiting(site, timeout_s=1.5)
        async with dialled(site, version=version) as end:
            for nonsense in NONSENSE:
                await end.send(nonsense)
            answer = await asked(end, "Heartbeat", {})
        opening.cancel()
        return answer

    assert at_site(act)[0] == 3


COMPOSITE = {
    "status": "Accepted",
    # More digits than the schema lets a station say: they are read.
    "chargingSchedule": {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 1.234567}]},
}


async def answer_all(end, answer):
    """Be a station that gives this answer to all calls, composite schedules excepted."""
    async for message in end:
        said = json.loads(message)
        if said[0] == 2:
            sane = said[2] == "GetCompositeSchedule"
            await end.send(json.dumps([3, said[1], COMPOSITE]) if sane else answer.format(said[1]))


@asynccontextmanager
async def answered(site, answer, *first):
    """A connection over which that is done, once this was said."""
    async with dialled(site) as end:
        for message in first:
            await end.send(message)
        answering = asyncio.create_task(answer_all(end, answer))
        try:
            yield
        finally:
            answering.cancel()


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ('[3, "{}", {{"status": "Perhaps"}}]', "TriggerMessage: got .*Perhaps.*, wanted its answer"),
        ('[3, "{}", []]', r"got '\[\]', wanted an object"),
        (
            '[4, "{}", "InternalError", "broken", {{}}]',
            "TriggerMessage was answered with an error: InternalError broken",
        ),
        ('[4, "{}", 7, null, {{}}]', "TriggerMessage was answered with an error: 7"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_the_device(at_site, answer, named):
    async def act(site):
        opening = await waiting(site, timeout_s=2.0)
        async with answered(site, answer):
            await opening

    with pytest.raises(DeviceError, match=named):
        at_site(act)


def metered(*values):
    sample = {"timestamp": "2026-11-22T08:00:00Z", "sampledValue": list(values)}
    return json.dumps([2, "m", "MeterValues", {"connectorId": 1, "meterValue": [sample]}])


def test_meter_values_that_a_station_sends_by_itself_count_for_a_while(at_site, clock):
    async def act(site):
        site.driver = OcppDriver(clock)
        opening = await waiting(site, meter="sent", meter_age_s=90, timeout_s=2.0)
        said = metered({"value": "7.2", "unit": "kW", "measurand": "Power.Active.Import"})
        async with answered(site, '[3, "{}", {{"status": "NotImplemented"}}]', said):
            connection = await opening
            clock.advance(90)
            power_w = (await connection.read()).power_w
            clock.advance(1)
            with pytest.raises(DeviceError, match="CP1 sent no meter values within 90 s"):
                await connection.read()
            await connection.aclose()
            return power_w

    assert at_site(act) == 7200


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"value": "12", "unit": "Wh"}, r"got the meter values Energy\.Active\.Import\.Register, wanted Power"),
        ({"value": "16", "unit": "A", "measurand": "Power.Active.Import"}, "got the meter values nan W, wanted"),
    ],
)
def test_meter_values_without_a_power_are_no_reading(at_site, value, named):
    async def act(site):
        opening = await waiting(site, meter="sent", timeout_s=2.0)
        async with answered(site, '[3, "{}", {{"status": "NotImplemented"}}]', metered(value)):
            await opening

    with pytest.raises(DeviceError, match=named):
        at_site(act)


def test_a_station_that_dials_again_is_heard_over_its_newest_connection(at_site):
    async def act(site):
        opening = await waiting(site, timeout_s=1.0)
        async with dialled(site) as first, dialled(site) as second:
            answer = await asked(second, "Heartbeat", {})
            with pytest.raises(ConnectionClosed):
                await asked(first, "Heartbeat", {})
        opening.cancel()
        return answer[0]

    assert at_site(act) == 3


def test_a_port_that_somebody_has_is_an_error_of_the_device(at_site):
    async def act(site):
        with socket.create_server(("127.0.0.1", site.port)):
            return await refused(site)

    assert "cannot be listened on: " in at_site(act)


async def free_server(port):
    """Listens on a port once nobody else does."""
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            await asyncio.sleep(0.01)


def test_a_port_that_nobody_needs_any_more_is_given_back(at_site):
    async def act(site):
        site.driver = OcppDriver(linger_s=0.0)
        site.charge("1.6")
        async with site.opened():
            pass
        (await free_server(site.port)).close()
        async with site.opened() as connection:
            await connection.read()

    at_site(act)


def test_a_station_is_reached_over_tls(at_site):
    async def act(site):
        init(site.folder / "pki", grid="village", days=1, hosts=())
        paths = {
            name: str(site.folder / "pki" / f"server.{end}") for name, end in (("certificate", "pem"), ("key", "key"))
        }
        site.charge("2.0.1", scheme="wss", ca=str(site.folder / "pki" / "ca.pem"))
        async with site.opened(**paths) as connection:
            found = (await connection.read()).limit_w
            with pytest.raises(InvalidValueError, match="option certificate: got another than other stations at"):
                await site.open(name="CP2")
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(f"wss://localhost:{site.port}/CP1", ssl=ssl.create_default_context(), proxy=None)
            return found

    assert at_site(act) == 22_080


def test_a_certificate_that_cannot_be_used_is_said(tmp_path):
    (tmp_path / "odd.pem").write_text("nothing")
    address = DeviceUrl(scheme="ocpp", host="127.0.0.1", port=1, path="CP1")
    options = {"certificate": str(tmp_path / "odd.pem"), "key": str(tmp_path / "odd.pem")}
    with pytest.raises(InvalidValueError, match=r"option certificate: .*odd\.pem with its key cannot be used"):
        asyncio.run(OcppDriver().open(address, failsafe=Power(power_w=0), options=options))


def test_whoever_knocks_does_not_fill_the_log(at_site, caplog):
    async def act(site):
        opening = await waiting(site, timeout_s=20.0)
        for name in ("left", "right") * 3:
            with pytest.raises(InvalidStatus):
                async with dialled(site, name=name):
                    pass
        opening.cancel()

    at_site(act)
    assert [record.levelname for record in caplog.records if "is not known" in record.message] == ["WARNING"]
