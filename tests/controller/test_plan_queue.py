"""Turns of those who want plans made."""

import asyncio

import pytest

from controller.plan_queue import PlanQueue, QueueFullError


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Queue:
    """A queue whose turns are ended by name."""

    def __init__(self, **bounds):
        self.queue = PlanQueue(**bounds)
        self.served = []
        self._ends = {}

    def join(self, name, caller, microgrid="m"):
        async def wait():
            with self.queue.place(microgrid, caller) as waiting:
                await waiting.turn()
                self.served.append(name)
                self._ends[name] = asyncio.Event()
                await self._ends[name].wait()

        return asyncio.create_task(wait())

    async def end(self):
        """End the turns that there are; return when others have theirs."""
        for name in list(self._ends):
            self._ends.pop(name).set()
        await settle()


def test_a_caller_who_asks_often_holds_up_no_other():
    async def run():
        queue = Queue()
        for name, caller in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")):
            queue.join(name, caller)
        for _ in range(6):
            await settle()
            await queue.end()
        return queue.served

    assert asyncio.run(run()) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_microgrids_go_on_beside_each_other_and_one_at_a_time_in_each():
    async def run():
        queue = Queue()
        for name, microgrid in (("m1", "m"), ("m2", "m"), ("n1", "n")):
            queue.join(name, "a", microgrid)
        await settle()
        return list(queue.served)

    assert asyncio.run(run()) == ["m1", "n1"]


@pytest.mark.parametrize(("bounds", "callers"), [({"own": 2}, "aa"), ({"total": 2}, "ab")])
def test_what_is_beyond_the_bounds_is_refused_until_somebody_leaves(bounds, callers):
    async def run():
        queue = Queue(**bounds)
        for k, caller in enumerate(callers):
            queue.join(f"{caller}{k}", caller)
        await settle()
        with pytest.raises(QueueFullError, match="at most 2 may"):
            await queue.join("late", callers[-1])
        await queue.end()
        queue.join("again", callers[-1])
        await queue.end()
        await queue.end()
        return queue.served

    assert asyncio.run(run())[-1] == "again"


def test_who_goes_away_leaves_its_place():
    async def run():
        queue = Queue()
        gone = [queue.join("first", "a"), queue.join("second", "a")]
        queue.join("third", "b")
        await settle()
        for task in reversed(gone):
            task.cancel()
        await settle()
        return queue.served

    assert asyncio.run(run()) == ["first", "third"]
