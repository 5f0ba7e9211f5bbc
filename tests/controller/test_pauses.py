import gc
import sys

import pytest

from controller.pauses import TURN_S, shorten_pauses


@pytest.fixture
def interpreter():
    """The interpreter's settings, which are put back in the end."""
    before = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*before[0])
    sys.setswitchinterval(before[1])


@pytest.mark.usefixtures("interpreter")
class TestShortenPauses:
    def test_what_is_there_is_not_looked_at_again(self):
        kept = [[] for _ in range(100)]
        shorten_pauses()
        assert not any(found is kept for found in gc.get_objects())

    def test_rubbish_of_later_is_still_found(self):
        shorten_pauses()
        ring = []
        ring.append(ring)
        del ring
        assert gc.collect() > 0

    def test_other_threads_give_the_interpreter_back_soon(self):
        shorten_pauses()
        assert sys.getswitchinterval() == pytest.approx(TURN_S)
