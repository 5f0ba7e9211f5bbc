"""Every handler under messages that are nearly right: nothing fails, and a refusal changes nothing.

The quick run draws through Hypothesis, which shrinks what it finds. The campaign of a million calls is run by hand,
``pytest -m campaign``; ``GRIDPACT_CAMPAIGN`` scales it.
"""

import os
import shutil
from random import Random

import grpc
import pytest
from google.protobuf import message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.microgrid import Device
from controller.wire.flexibility_message import flexibility_message
from gridpact.v1 import driver_pb2, validator_pb2
from tests.controller.flexibility_cases import controls
from tests.controller.fuzzed_service import FuzzedService
from tests.controller.fuzzing import Fuzzer
from tests.controller.test_access import METHODS, requests_for
from tests.controller.validators import signed_batch
from tests.controller.village import SECTIONS, START
from tests.controller.village_site import Site, found

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
CALLS = 4
"""As many are made one after another."""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory, loop, authority, lived):
    """The village half an hour after its start and the hamlet, with valid requests for both and for nowhere."""
    path = shutil.copy(lived, tmp_path_factory.mktemp("fuzzed") / "gridpact.sqlite")
    site = Site(path, loop, authority)
    found(site, "hamlet")
    site.clock.set(START + 1800)
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit")))
    valid = {grid: requests_for(site, grid) for grid in ("village", "hamlet", "atlantis")}
    live(site, valid["village"])
    names = resource_names(site)
    site.close()
    service = FuzzedService(path, START + 1800)
    service.valid, service.names = valid, names
    service.flexibilities = [
        flexibility_message("village", Device(id="ada/pv", member="ada", flexibility=control))
        for control in controls(START, START + 7200).values()
    ]
    yield service
    service.close()


def live(site, valid):
    """Let the village's requests be for now: the first window's gate closed long ago, its readings are in."""
    order = site.order("ada", 3)
    batch = site.batch(START + 1800, sequence=99)
    for reading in batch.readings:
        reading.instant.seconds += 60
    valid["participant/ada /ParticipantService/SubmitOrder"]["order"] = site.signed("ada", "order-ada", order)
    signed = site.signed("gateway", "reading-gateway", batch)
    valid["meter/gateway /MeteringService/SubmitReadings"]["readings"] = signed
    header = next(row for row in site.rows("headers") if row["window"] == site.window(0))
    attestation = validator_pb2.Attestation(window=site.window(0), run=header["run"], header_hash=header["hash"])
    signed = site.signed("val", "attestation-val", attestation)
    valid["validator/val /ValidatorService/SubmitAttestation"]["attestation"] = signed
    site.loop.run(site.service.form_batches())
    valid["validator/val /ValidatorService/SubmitBatchSignature"] |= signed_batch(site)


def resource_names(site):
    """Names of each kind that exist in the village and the hamlet, and the same in atlantis, where nothing does."""
    names = []
    for grid in ("village", "hamlet", "atlantis"):
        base = f"microgrids/{grid}"
        names += [base, f"{base}/envelopes/limit", f"{base}/plans/p1", f"{base}/sections/east"]
        names += [f"{base}/members/{member}" for member in SECTIONS]
        names += [
            f"{base}/members/{device}" for device in ("ada/devices/pv", "bob/devices/boiler", "eve/devices/battery")
        ]
        for number in range(4):
            window = site.window(number, grid)
            names += [window, f"{window}/trades/0", f"{window}/readings/0", f"{window}/postings/999999999"]
    return (*names, *SECTIONS, "wires", "agg", "gateway", "val", "new-key")


def example(service, random):
    """Some calls one after another; what is wrong with their answers."""
    fuzzer = Fuzzer(random, service.names)
    service.begin()
    try:
        for _ in range(random.randint(1, CALLS)):
            path, uri, raws = a_call(service, random, fuzzer)
            answer, changed = service.changed_by(path, uri, raws)
            assert answer.fault() == "", (path, uri, answer, raws)
            # What a stream was told before the message that it is refused for has had its effect.
            assert answer.code is grpc.StatusCode.OK or not changed or len(raws) > 1, (path, uri, answer, raws)
    finally:
        service.forget()


def a_call(service, random, fuzzer):
    grid = random.choice(("village", "village", "village", "village", "hamlet", "atlantis"))
    whos = sorted(service.valid[grid])
    changing = [who for who in whos if changes(who)]
    who = random.choice(changing if fuzzer.chance(0.6) else whos)
    caller, _, short = who.partition(" /")
    path = f"/gridpact.v1.{short}"
    if fuzzer.chance(0.1):
        caller = random.choice(sorted(service.valid[grid])).partition(" /")[0]
    home = grid if fuzzer.chance(0.9) else "village"
    return path, f"spiffe://{home}/{caller}", list(messages(service, random, fuzzer, path, grid, who))


def changes(who):
    method = METHODS[f"/gridpact.v1.{who.partition(' /')[2]}"]
    return method.client_streaming or "request_id" in method.input_type.fields_by_name


def messages(service, random, fuzzer, path, grid, who):
    method = METHODS[path]
    kind = message_factory.GetMessageClass(method.input_type)
    count = random.randint(1, 5) if method.client_streaming else 1
    for number in range(count):
        values = dict(service.valid[grid][who])
        if path.endswith("DriverService/Connect") and number:
            values = {random.choice(("heartbeat", "telemetry", "report")): None}
            values = {name: a_driver_word(name, number) for name in values}
        message = kind(**values)
        if path.endswith("UpdateFlexibility") and number == 0:
            device = message.flexibility.device
            message.flexibility.CopyFrom(random.choice(service.flexibilities))
            message.flexibility.device = random.choice((device, device.replace("pv", "new")))
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            message.request_id = random.choice(("one", "two", "three"))
        chance = random.random()
        if chance < 0.2:
            message = fuzzer.draw(kind)
        elif chance < 0.95:
            fuzzer.mutate(message)
        yield fuzzer.raw(message)


def a_driver_word(name, number):
    if name == "heartbeat":
        return driver_pb2.Heartbeat(counter=number)
    if name == "telemetry":
        return driver_pb2.Telemetry(measure_time={"seconds": START + 1800}, power_w=-5)
    return driver_pb2.CommandReport(command_id="x", state=2, observe_time={"seconds": START})


def test_every_method_is_fuzzed(fuzzed):
    assert {f"/gridpact.v1.{who.partition(' /')[2]}" for who in fuzzed.valid["village"]} == set(METHODS)
    assert set(fuzzed.methods) == set(METHODS)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(random=st.randoms(use_true_random=False))
def test_nothing_fails_and_a_refusal_changes_nothing(fuzzed, random):
    example(fuzzed, random)


@pytest.mark.slow
def test_neither_does_it_with_seeds(fuzzed):
    for seed in range(100):
        example(fuzzed, Random(f"quick {seed}"))


@pytest.mark.campaign
def test_nothing_fails_in_a_million_calls(fuzzed):
    for seed in range(int(400_000 * SCALE)):
        try:
            example(fuzzed, Random(seed))
        except AssertionError as err:
            pytest.fail(f"seed {seed}: {err}")
