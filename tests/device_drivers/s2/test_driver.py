"""A device behind its resource manager: told, refused, read, and lost."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from s2python.generated.gen_s2 import ControlType

from device_drivers.clock import BoottimeClock
from device_drivers.errors import DeviceError, InvalidValueError, UnfitError
from device_drivers.s2 import session
from device_drivers.s2.control import Wishes
from device_drivers.s2.driver import S2Driver
from device_drivers.s2.spec import choose_control
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from tests.device_drivers.s2.messages import (
    L1,
    L2,
    L3,
    SYMMETRIC,
    allowed,
    became,
    details,
    heard,
    in_mode,
    measured,
    message,
    modes,
    programme,
    progress,
    revoked,
    storage,
)
from tests.device_drivers.s2.scripted_manager import (
    FRBC,
    OMBC,
    PEBC,
    PPBC,
    Manager,
    answering,
    dialling,
    free_port,
    handshake,
    of,
    opened,
)

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
IDLE, FULL = Power(power_w=0), Power(power_w=4000)


class SkippingClock(BoottimeClock):
    """The machine's, of which some seconds are skipped."""

    skipped_s = 0.0

    def now(self):
        return super().now() + self.skipped_s


def relay(**script):
    return Manager(modes(), in_mode("off"), **script)


def follows(instruction):
    return [became(instruction, "SUCCEEDED"), in_mode(instruction["operation_mode_id"])]


def car(*said, **script):
    return Manager(*(said or (allowed(),)), about=details(PEBC, measures=()), **script)


async def closes(device):
    await device.apply(CLOSED, revert_after_s=None)
    return await device.read()


def test_a_relay_is_told_its_mode_and_read_from_its_status():
    manager = relay(answer=follows)
    assert of(manager, closes).relay_closed is True
    (told,) = manager.told
    assert (told["message_type"], told["operation_mode_id"]) == ("OMBC.Instruction", "on")


@pytest.mark.parametrize("status", ["REJECTED", "ABORTED", "REVOKED"])
def test_an_instruction_that_is_not_followed_is_a_refusal(status):
    with pytest.raises(DeviceError, match=f"did not follow an instruction: {status}"):
        of(relay(answer=lambda told: [became(told, status)]), closes)


def test_an_instruction_that_is_given_up_later_is_told_with_the_next_reading():
    async def call(device):
        await device.apply(CLOSED, revert_after_s=None)
        await manager.say(became(manager.told[0], "ABORTED"))
        with pytest.raises(DeviceError, match="the last instruction was ABORTED"):
            await device.read()
        await device.apply(OPEN, revert_after_s=None)
        return await device.read()

    manager = relay()
    assert of(manager, call).relay_closed is False


def test_a_receipt_that_is_no_yes_is_a_refusal_with_its_reason():
    manager = relay(receipt=lambda found: "TEMPORARY_ERROR" if "Instruction" in found["message_type"] else "OK")
    with pytest.raises(DeviceError, match=r"refused OMBCInstruction: TEMPORARY_ERROR"):
        of(manager, closes)


def test_a_manager_that_gives_no_receipt_is_dropped_and_obeys_when_it_is_back():
    def receipt(found):
        return "OK" if found["message_type"] != "OMBC.Instruction" or manager.sessions > 1 else None

    async def call(device):
        with pytest.raises(DeviceError, match=r"got nothing in 0.4 s"):
            await closes(device)
        return await closes(device)

    manager = relay(answer=follows, receipt=receipt)
    assert of(manager, call, timeout_s=0.4).relay_closed is True


def test_a_manager_that_leaves_in_the_middle_of_an_instruction_is_an_error_and_obeys_when_it_is_back():
    def answer(told):
        return follows(told) if manager.sessions > 1 else None

    async def call(device):
        with pytest.raises(DeviceError, match="ended the connection"):
            await closes(device)
        return await closes(device)

    manager = relay(answer=answer)
    assert of(manager, call).relay_closed is True


def test_a_manager_that_asks_for_the_end_of_the_session_gets_it():
    async def call(device):
        await manager.say(message("SessionRequest", request="RECONNECT"))
        await manager.began(2)
        return await closes(device)

    manager = relay(answer=follows)
    assert of(manager, call).relay_closed is True


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ({"hello": []}, "wanted Handshake"),
        ({"hello": [handshake(role="CEM")]}, "wanted Handshake"),
        ({"hello": [handshake(versions=["0.0.1-alpha"])]}, "got the versions 0.0.1-alpha, wanted 0.0.2-beta"),
        ({"hello": ["{"], "receipt": lambda found: None}, "wanted Handshake; it was refused got '{', wanted JSON"),
        ({"about": measured(1)}, "wanted ResourceManagerDetails"),
        ({"receipt": lambda found: None}, "wanted Resource"),
        ({"receipt": lambda found: None if found["message_type"] == "SelectControlType" else "OK"}, "wanted Reception"),
        ({"said": ()}, r"wanted OMBC.SystemDescription"),
        ({"said": (modes(),)}, r"wanted OMBC.Status"),
        ({"said": (modes(), in_mode("nowhere"))}, r"wanted OMBC.Status; it was refused OMBC.Status: got nowhere"),
    ],
)
def test_what_a_manager_does_not_say_is_named(script, named):
    script = dict(script)
    manager = Manager(*script.pop("said", (modes(), in_mode("off"))), **script)
    said = None
    for timeout_s in (0.15, 1, 5):  # on a busy machine it has not come so far the first time
        with pytest.raises(DeviceError) as refusal:
            of(manager, closes, timeout_s=timeout_s)
        said = str(refusal.value)
        if re.search(named, said):
            break
    assert re.search(named, said)
    assert manager.told == []


def test_what_makes_no_sense_is_receipted_so_and_the_session_goes_on():
    async def call(device):
        wrong = [
            message("Teapot"),
            in_mode("nowhere"),
            message("OMBC.Status", operation_mode_factor=1.0),
            measured(1, 2, quantities=(L1, L1)),
            measured(1e300),
        ]
        right = in_mode("on")
        await manager.say("{", "[]", *wrong, right)
        receipts = [await manager.heard(one) for one in [*wrong, right]]
        return [one["status"] for one in receipts], receipts[1]["diagnostic_label"], await device.read()

    manager = relay()
    statuses, label, reading = of(manager, call)
    assert statuses == ["INVALID_MESSAGE", "INVALID_CONTENT", "INVALID_MESSAGE", *["INVALID_CONTENT"] * 2, "OK"]
    assert label == "OMBC.Status: got nowhere, wanted one of the operation modes"
    assert (reading.relay_closed, manager.sessions) == (True, 1)


@pytest.mark.parametrize("early", [measured(5), modes(), details(OMBC)])
def test_what_comes_before_its_time_is_refused(early):
    async def call(device):
        return await manager.heard(early)

    manager = relay(hello=[early, handshake()])
    found = of(manager, call)
    assert (found["status"], found["diagnostic_label"].partition(": ")[2]) == (
        "INVALID_CONTENT",
        "got it first, wanted a Handshake before it",
    )


def test_a_device_is_read_once_its_manager_has_answered():
    async def call(device):
        await manager.say(*(in_mode(name) for name in ["on", "off"] * 20), in_mode("on"))
        return await device.read()

    manager = relay()
    assert of(manager, call).relay_closed is True


@pytest.mark.parametrize(
    ("quantities", "said", "power_w"),
    [
        ((L1, L2, L3), [(100.4, -20.0, 3.0)], 83),
        ((L1, L2), [(100.0,)], None),
        ((L1, L2), [(100.0, 1.0), (50.0,)], 51),
        ((SYMMETRIC, L1), [(700.0,)], 700),
        ((), [], None),
    ],
)
def test_phases_add_up_to_a_power_once_all_were_told(monkeypatch, quantities, said, power_w):
    async def call(device):
        return await device.read(), device.capabilities.measures_power

    monkeypatch.setattr(session, "GRACE_S", 0.1)
    told = [measured(*values, quantities=quantities) for values in said]
    manager = Manager(modes(), in_mode("off"), *told, about=details(OMBC, measures=quantities))
    reading, measures = of(manager, call)
    assert (reading.power_w, measures) == (power_w, bool(quantities))


def test_a_power_that_was_told_long_ago_counts_no_more():
    async def call(device):
        fresh = await device.read()
        clock.skipped_s = 60.1
        return fresh.power_w, (await device.read()).power_w

    clock = SkippingClock()
    manager = Manager(modes(), in_mode("off"), measured(5), about=details(OMBC))
    assert of(manager, call, clock=clock) == (5, None)


def test_an_envelope_holds_the_target_for_the_lease_and_the_failsafe_after_it():
    async def call(device):
        await device.apply(FULL, revert_after_s=60)
        held = (await device.read()).limit_w
        await device.apply(IDLE, revert_after_s=None)
        # Nothing at all is no limit that leaves room: the power itself shows it.
        return held, (await device.read()).limit_w, device.capabilities.timer is not None

    manager = car()
    assert of(manager, call, failsafe=IDLE) == (4000, None, True)
    first, *rest = manager.told[0]["power_envelopes"][0]["power_envelope_elements"]
    assert (first["upper_limit"], {one["upper_limit"] for one in rest}) == (4000, {0})
    assert 59_000 < first["duration"] < 60_000


def test_an_envelope_is_told_again_to_a_manager_that_was_away():
    async def call(device):
        await device.apply(FULL, revert_after_s=60)
        await manager.hang_up()
        reading = await device.read()
        return reading.limit_w, manager.sessions

    manager = car()
    assert of(manager, call, failsafe=IDLE) == (4000, 2)
    again = manager.told[-1]["power_envelopes"][0]["power_envelope_elements"]
    assert again[0]["upper_limit"] == 4000
    assert again[0]["duration"] < manager.told[0]["power_envelopes"][0]["power_envelope_elements"][0]["duration"]


def test_an_envelope_is_told_again_when_what_is_allowed_changes():
    async def call(device):
        await device.apply(FULL, revert_after_s=60)
        await manager.say(allowed(("lower", 0, 0), ("upper", 0, 3000), name="limits-2"))
        return (await device.read()).limit_w

    manager = car()
    assert of(manager, call, failsafe=IDLE) == 3000
    assert [manager.told[at]["power_constraints_id"] for at in (0, -1)] == ["limits-1", "limits-2"]


def test_an_envelope_whose_lease_is_over_is_followed_by_the_failsafe():
    async def call(device):
        await device.apply(FULL, revert_after_s=60)
        clock.skipped_s = 60.0
        held = (await device.read()).limit_w
        await manager.hang_up()
        await device.read()
        return held

    clock, manager = SkippingClock(), car()
    assert of(manager, call, failsafe=IDLE, clock=clock) is None
    assert {one["upper_limit"] for one in manager.told[-1]["power_envelopes"][0]["power_envelope_elements"]} == {0}


@pytest.mark.parametrize(("amiss_s", "named"), [(-30, "0 s behind"), (30, "0 s ahead")])
def test_a_clock_that_would_begin_or_end_an_envelope_at_another_time_is_refused(amiss_s, named):
    def answer(told):
        return [became(told, "STARTED", datetime.now(UTC) + timedelta(seconds=amiss_s))]

    async def leased(device):
        await device.apply(FULL, revert_after_s=60)

    with pytest.raises(DeviceError, match=rf"{named}, wanted it right within 1 s"):
        of(car(answer=answer), leased, failsafe=IDLE)

    async def lasting(device):
        await device.apply(IDLE, revert_after_s=None)

    if amiss_s > 0:
        of(car(answer=answer), lasting, failsafe=IDLE)
        return
    with pytest.raises(DeviceError, match=named):  # it would wait that long to begin
        of(car(answer=answer), lasting, failsafe=IDLE)


def test_a_manager_without_a_programme_is_open_after_a_moment(monkeypatch):
    async def call(device):
        before = await device.read()
        await manager.say(programme(), progress(("wash", "NOT_SCHEDULED")))
        await device.read()
        await device.apply(CLOSED, revert_after_s=None)
        return before.relay_closed

    monkeypatch.setattr(session, "GRACE_S", 0.1)
    manager = Manager(about=details(PPBC, measures=()))
    assert of(manager, call) is False
    assert [told["message_type"] for told in manager.told] == ["PPBC.ScheduleInstruction"]


@pytest.mark.parametrize(
    ("failsafe", "role", "control", "chosen"),
    [
        (OPEN, "ENERGY_CONSUMER", None, OMBC),
        (OPEN, "ENERGY_STORAGE", FRBC, FRBC),
        (IDLE, "ENERGY_STORAGE", None, FRBC),
        (IDLE, "ENERGY_CONSUMER", PEBC, PEBC),
        (ProductionLimit(limit_w=0), "ENERGY_PRODUCER", None, PEBC),
    ],
)
def test_the_best_control_type_for_the_failsafe_is_chosen(failsafe, role, control, chosen):
    wishes = Wishes(failsafe=failsafe, control=None if control is None else ControlType(control))
    about = heard(details(PEBC, PPBC, FRBC, OMBC, "NOT_CONTROLABLE", role=role))
    assert choose_control(wishes, about).kind.value == chosen


@pytest.mark.parametrize(
    ("offered", "role", "failsafe", "named"),
    [
        ("NOT_CONTROLABLE", "ENERGY_CONSUMER", OPEN, "with NOT_CONTROLABLE can do as ENERGY_CONSUMER"),
        ("DEMAND_DRIVEN_BASED_CONTROL", "ENERGY_CONSUMER", IDLE, "with DEMAND_DRIVEN_BASED_CONTROL"),
        (PEBC, "ENERGY_CONSUMER", ProductionLimit(limit_w=0), "with POWER_ENVELOPE_BASED_CONTROL can do as ENERGY_CON"),
        (PEBC, "ENERGY_PRODUCER", IDLE, "can do as ENERGY_PRODUCER"),
    ],
)
def test_a_manager_that_cannot_do_the_failsafe_is_bad_input(offered, role, failsafe, named):
    with pytest.raises(InvalidValueError, match=rf"^failsafe: got .* {named}"):
        choose_control(Wishes(failsafe=failsafe), heard(details(offered, role=role)))


def test_a_description_that_does_not_fit_the_options_is_bad_input_and_later_an_error_of_the_device():
    with pytest.raises(UnfitError, match="option on: got 'full', wanted one of 'off', 'on'"):
        of(relay(), closes, on="full")

    async def call(device):
        manager.said = (storage(),)
        manager.about = details("NOT_CONTROLABLE")
        await manager.hang_up()
        await device.read()

    manager = relay()
    with pytest.raises(DeviceError, match=r"NOT_CONTROLABLE|wanted the resource manager to connect again"):
        of(manager, call)


def test_a_revoked_description_is_waited_for():
    async def call(device):
        await manager.say(revoked("OMBC.SystemDescription", first["message_id"]))
        with pytest.raises(DeviceError, match=r"wanted OMBC.SystemDescription"):
            await device.read()
        await manager.say(modes(), in_mode("on"))
        return await device.read()

    first = modes()
    manager = Manager(first, in_mode("off"))
    assert of(manager, call, timeout_s=0.5).relay_closed is True


def test_targets_of_other_kinds_are_refused():
    with pytest.raises(DeviceError, match=r"got Power\(power_w=0\), wanted a RelayState"):
        of(relay(), lambda device: device.apply(IDLE, revert_after_s=None))


def test_a_manager_that_listens_is_dialled_with_its_token():
    async def run():
        manager = relay(answer=follows)
        headers = []
        async with answering(manager, process_request=lambda _, asked: headers.append(asked.headers)) as port:
            device = await opened(port, mode="connect", password="secret")
            try:
                return (await closes(device)).relay_closed, headers[0]["Authorization"]
            finally:
                await device.aclose()

    assert asyncio.run(run()) == (True, "Bearer secret")


def test_a_manager_that_is_not_there_or_sends_elsewhere_is_an_error_of_the_device():
    async def run(port):
        with pytest.raises(DeviceError, match=f"ws://127.0.0.1:{port}/dev"):
            await opened(port, mode="connect")

    async def redirected():
        def elsewhere(connection, _):
            answer = connection.respond(302, "")
            answer.headers["Location"] = "ws://127.0.0.1:1/"
            return answer

        async with answering(relay(), process_request=elsewhere) as port:
            await run(port)

    asyncio.run(run(free_port()))
    asyncio.run(redirected())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": "", "mode": "both"}, "mode"),
        ({"control": "ddbc"}, "control"),
        ({"control": "pebc"}, "failsafe: got .* with control=pebc, wanted control=ombc, ppbc, frbc"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"capacity_wh": "much"}, "capacity_wh"),
        ({"fill": "litres"}, "fill"),
        ({"key": "k"}, "got one of certificate and key, wanted both"),
        ({"certificate": "/nowhere", "key": "/nowhere"}, "got '/nowhere' and its key, wanted PEM"),
        ({"mode": "connect", "ca": "/nowhere"}, "got one without tls=yes"),
        ({"mode": "connect", "tls": True, "ca": "/nowhere"}, "wanted a file of PEM"),
        ({"ca": "/nowhere"}, "ca"),
        ({"token_file": "/nowhere"}, "token_file: got '/nowhere', wanted a text"),
        ({"token_file": "/nowhere", "password": "s3cret"}, "token_file: got a token in the URL too"),
        ({"port": None}, "wanted s2://"),
    ],
)
def test_what_the_user_got_wrong_is_bad_input(options, named):
    with pytest.raises(InvalidValueError, match=named):
        asyncio.run(opened(**{"port": 1, **options}))


def test_a_driver_serves_many_devices_on_one_port_each_by_its_path():
    async def run():
        port, driver = free_port(), S2Driver()
        first, second = relay(answer=follows), relay(answer=follows)
        async with dialling(first, port, "/one"), dialling(second, port, "/two"):
            one = await opened(port, driver=driver, path="one")
            two = await opened(port, driver=driver, path="two")
            await one.apply(CLOSED, revert_after_s=None)
            seen = (await one.read()).relay_closed, (await two.read()).relay_closed
            with pytest.raises(InvalidValueError, match=r"/one for two devices, wanted a path for each"):
                await opened(port, driver=driver, path="one", failsafe=CLOSED)
            await one.aclose()
            await two.aclose()
        return seen

    assert asyncio.run(run()) == (True, False)
