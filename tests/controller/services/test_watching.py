import asyncio
from types import SimpleNamespace

import pytest
from grpc import RpcError, StatusCode

from controller.access import Identity, Role
from controller.clock import VirtualClock
from controller.errors import StoreError
from controller.services.feed import EventFeed
from controller.services.watching import Subjects, Watcher
from controller.store import events
from controller.store.database import Database
from gridpact.v1 import dispatch_pb2 as pb
from gridpact.v1 import dispatch_pb2_grpc
from tests.controller.refused_calls import refusal

NAME = "microgrids/village"


class Follower:
    """Someone who watches, and notes what came."""

    def __init__(self, call, request):
        self.stream = call(request, timeout=30)
        self.token = request.resume_token

    def next(self):
        """The next message; its token is kept, as a client would."""
        message = next(self.stream)
        self.token = message.resume_token or self.token
        return message

    def state(self):
        """All that comes before the end of the state of now."""
        found = []
        while (message := self.next()).WhichOneof("event") != "snapshot_complete":
            found.append(message)
        return found

    def until(self, window, state):
        """The states of windows until one is reached, as they come."""
        found = []
        while True:
            clearing = self.next().clearing
            found.append((clearing.window, clearing.state))
            if found[-1] == (window, state):
                return found


def clearings(site, token=""):
    return Follower(site.aggregator.WatchClearings, pb.WatchClearingsRequest(parent=NAME, resume_token=token))


def plans(stub, token=""):
    return Follower(stub.WatchPlans, pb.WatchPlansRequest(parent=NAME, resume_token=token))


class TestClearings:
    def test_the_state_of_now_comes_first_and_then_what_happens(self, settled):
        follower = clearings(settled)
        assert [m.clearing.window for m in follower.state()] == [settled.window(1)]
        settled.live(until=settled.start + 3300)
        found = follower.until(settled.window(2), pb.WINDOW_STATE_CLEARED)
        assert {window for window, _ in found} <= {settled.window(1), settled.window(2)}

    def test_a_token_goes_on_without_loss_or_duplicate_after_a_restart(self, settled):
        follower = clearings(settled)
        follower.state()
        settled.restart()
        settled.live(until=settled.start + 3300)
        again = clearings(settled, follower.token)
        assert again.until(settled.window(2), pb.WINDOW_STATE_CLEARED)
        settled.restart()
        settled.live(until=settled.start + 3600)
        found = clearings(settled, again.token).until(settled.window(2), pb.WINDOW_STATE_DELIVERING)
        assert found == [(settled.window(1), pb.WINDOW_STATE_SETTLED), (settled.window(2), pb.WINDOW_STATE_DELIVERING)]

    def test_who_was_away_gets_of_each_window_its_latest_state_only(self, site):
        follower = clearings(site)
        assert follower.state() == []
        site.close()
        site.open()
        site.live(until=site.start + 3600)
        again = clearings(site, follower.token)
        found = again.until(site.window(2), pb.WINDOW_STATE_DELIVERING)
        assert len(found) == len({window for window, _ in found}) == 3

    def test_too_old_a_token_tells_of_the_gap_and_begins_anew(self, settled):
        follower = clearings(settled)
        follower.state()
        settled.live(until=settled.start + 3300)
        table = events.schema.events
        newest = settled.database.run(events.newest, "village")
        settled.database.run(lambda connection: connection.execute(table.delete().where(table.c.sequence < newest)))
        again = clearings(settled, follower.token)
        assert again.next().WhichOneof("event") == "gap"
        assert [m.clearing.window for m in again.state()] == [settled.window(1), settled.window(2)]

    @pytest.mark.parametrize("token", ["1", "x" * 600, "ö"])
    def test_what_is_no_token_is_refused(self, settled, token):
        with pytest.raises(RpcError) as caught:
            clearings(settled, token).next()
        answer = refusal(caught.value)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("resume_token",))

    def test_anothers_token_is_refused(self, settled):
        follower = clearings(settled)
        follower.state()
        other = settled.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        for call in (other.WatchClearings, settled.aggregator.WatchPlans):
            with pytest.raises(RpcError) as caught:
                next(call(pb.WatchClearingsRequest(parent=NAME, resume_token=follower.token), timeout=30))
            assert caught.value.code() is StatusCode.INVALID_ARGUMENT

    def test_a_foreign_microgrid_is_not_found(self, settled):
        with pytest.raises(RpcError) as caught:
            next(settled.aggregator.WatchClearings(pb.WatchClearingsRequest(parent="microgrids/hamlet"), timeout=30))
        assert caught.value.code() is StatusCode.NOT_FOUND


class TestPlans:
    def ask(self, site, stub):
        return stub.RequestPlan(pb.RequestPlanRequest(parent=NAME, request_id=site.request_id())).plan

    def test_they_come_as_they_are_made(self, site):
        follower = plans(site.aggregator)
        assert follower.state() == []
        plan = self.ask(site, site.aggregator)
        assert follower.next().plan == plan
        assert [m.plan for m in plans(site.aggregator).state()] == [plan]

    def test_anothers_do_not(self, site):
        follower = plans(site.aggregator)
        follower.state()
        other = site.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        theirs = self.ask(site, other)
        plan = self.ask(site, site.aggregator)
        assert theirs.name != plan.name
        assert follower.next().plan == plan
        assert site.refused(site.aggregator.GetPlan, pb.GetPlanRequest(name=theirs.name)).code is StatusCode.NOT_FOUND


class TestEvents:
    @pytest.fixture
    def database(self, tmp_path):
        database = Database(f"sqlite:///{tmp_path / 'gridpact.sqlite'}")
        yield database
        database.close()

    def test_the_oldest_are_let_go_and_the_numbers_go_on(self, database, monkeypatch):
        monkeypatch.setattr(events, "RETAINED", 10)
        monkeypatch.setattr(events, "PRUNED_EVERY", 5)

        def fill(connection):
            for k in range(40):
                events.add(connection, "village", events.CLEARING, f"w{k}")
            return [events.covers(connection, "village", n) for n in (29, 30, 40, 41)]

        assert database.run(fill) == [False, True, True, False]
        assert database.run(events.newest, "village") == 40

    def test_a_stream_that_waits_says_that_it_is_alive(self, database):
        clock = VirtualClock(1_800_000_000)
        watcher = Watcher(
            database=database,
            feed=EventFeed(database, poll_s=0.001),
            caller=Identity(grid="village", role=Role.AUDITOR, id="aud"),
            microgrid="village",
            subjects=Subjects(
                kind=events.CLEARING,
                answer=pb.WatchClearingsResponse,
                state=lambda _: [],
                change=lambda _, name: pb.WatchClearingsResponse(clearing=pb.Clearing(window=name)),
            ),
            now=clock.now,
            heartbeat_s=0.01,
        )

        async def first_three():
            stream = watcher.stream(pb.WatchClearingsRequest(parent=NAME))
            return [(await anext(stream)).WhichOneof("event") for _ in range(3)]

        assert asyncio.run(first_three()) == ["snapshot_complete", "heartbeat", "heartbeat"]

    def test_a_database_that_is_stopped_for_a_while_ends_no_wait(self):
        answers = iter([StoreError("stopped"), {"village": 0}, {"village": 3}])

        async def read_async(_statement):
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        feed = EventFeed(SimpleNamespace(read_async=read_async), poll_s=0.001)

        async def wait():
            return await feed.after("village", 2, wait_s=20)

        assert asyncio.run(wait())
