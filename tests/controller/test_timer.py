import asyncio

from controller.timer import LONGEST_WAIT_S, Timer, wait_s


def test_each_failure_doubles_the_wait_up_to_a_bound():
    assert [wait_s(1.0, failures) for failures in range(6)] == [1, 2, 4, 8, LONGEST_WAIT_S, LONGEST_WAIT_S]
    assert wait_s(60.0, 10_000) == 60.0


def test_it_goes_on_after_an_exception_and_tells_of_it(caplog):
    calls, failed = [], []

    def tell(name, seconds, error):
        assert seconds >= 0
        failed.append((name, type(error)))

    async def run():
        stop = asyncio.Event()

        async def act():
            calls.append(len(calls))
            if len(calls) == 2:
                raise RuntimeError("no luck")
            if len(calls) == 4:
                stop.set()

        await Timer("windows", act, period_s=0.0, on_round=tell).run(stop)

    asyncio.run(run())
    assert calls == [0, 1, 2, 3]
    assert failed == [("windows", kind) for kind in (type(None), RuntimeError, type(None), type(None))]
    assert "windows failed, 1 in a row" in caplog.text
    assert "no luck" in caplog.text


def test_what_has_begun_is_finished():
    done = []

    async def run():
        stop, begun = asyncio.Event(), asyncio.Event()

        async def act():
            begun.set()
            await asyncio.sleep(0)
            done.append(stop.is_set())

        task = asyncio.create_task(Timer("x", act, period_s=60.0, on_round=lambda *_: None).run(stop))
        await begun.wait()
        stop.set()
        await task

    asyncio.run(run())
    assert done == [True]
