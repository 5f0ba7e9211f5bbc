"""What the service tells its operator about itself."""

import grpc
import pytest

from controller.errors import StoreError
from gridpact.v1 import dispatch_pb2, operator_pb2, operator_pb2_grpc
from tests.controller.stand_ins import FAULT
from tests.controller.village import START


def status(site, name="microgrids/village"):
    stub = site.stub(operator_pb2_grpc.OperatorServiceStub, "operator/op")
    return stub.GetStatus(operator_pb2.GetStatusRequest(name=name))


def test_before_there_is_a_microgrid_there_is_a_service(make_site):
    empty = make_site()
    told = status(empty, "")
    assert (told.epoch, list(told.problems), list(told.microgrids)) == (1, [], [])
    assert (told.database.kind, told.database.answering) == ("sqlite", True)
    assert told.start_time.seconds == empty.clock.now()


def test_windows_devices_and_clearings_are_counted(site):
    site.live(until=START + 1800)
    told = status(site).microgrids[0]
    states = {dispatch_pb2.WindowState.Name(count.state): count.count for count in told.windows}
    assert sum(states.values()) == 4
    assert told.device_count == 3
    assert told.last_clearing.window == site.window(1)
    assert told.last_clearing.certificate.gap >= 0
    assert not told.last_clearing.uplifts
    assert told.next_window_time.seconds == START + 3600
    assert told.anchors_pending == states.get("WINDOW_STATE_SETTLED", 0) == 1


def test_a_window_that_failed_is_a_problem(site):
    site.solver.script.append(FAULT)
    site.advance(START - 300)
    told = status(site)
    assert told.microgrids[0].last_clearing.failure
    assert [problem.split(": ")[:2] for problem in told.problems] == [[site.window(0), "not cleared"]]


def test_it_answers_while_the_database_does_not(site, monkeypatch):
    async def stopped(*_, **__):
        raise StoreError("database: gone")

    monkeypatch.setattr(site.database, "read_async", stopped)
    told = status(site)
    assert not told.database.answering
    assert not told.microgrids
    assert list(told.problems) == ["database: gone"]


def test_nobody_else_may_ask(site):
    stub = site.stub(operator_pb2_grpc.OperatorServiceStub, "aggregator/agg")
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetStatus(operator_pb2.GetStatusRequest())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
