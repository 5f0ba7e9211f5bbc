"""Keeps the interpreter's own pauses short: what they hold up is the service's one loop, and all who wait for it.

Two things stop a loop that has thousands of streams. The garbage collector looks at every object that there is once
a quarter more are new: half a second with ten thousand drivers, in the middle of telling them something. Here it looks
at what is new alone, little by little; what outlived that once and is garbage later waits for `collect_all`. And
whoever computes in another thread, as the database's writer does, gives the interpreter back after 5 ms only, each time
that the loop let go of it.
"""

import gc
import sys

YOUNG = 1_000
"""So many more containers than before are looked at by themselves: most of what ends is freed without that."""
NEVER = 2**31 - 1
TURN_S = 0.0005
"""How long a thread computes while another wants to."""
ALL_S = 3_600.0
"""Between two looks at everything, for which the loop stands still: tens of milliseconds for a thousand drivers."""


def shorten_pauses() -> None:
    """Call once, when everything that stays is there: it is not looked at again. It concerns the whole process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    sys.setswitchinterval(TURN_S)


async def collect_all() -> int:
    """Free what is garbage and was overlooked; returns how many objects that were."""
    return gc.collect()
