"""Keeps the interpreter's own pauses short: what they hold up is the service's one loop, and all who wait for it.

Two things stop a loop that has thousands of streams. The garbage collector looks at every object that there is once
a quarter more are new: half a second with ten thousand drivers, in the middle of telling them something. And whoever
computes in another thread, as the database's writer does, gives the interpreter back after 5 ms only, each time that
the loop let go of it.
"""

import gc
import sys

YOUNG = 20_000
"""So many more containers than before are looked at by themselves: most of what ends is freed without that."""
MIDDLE, ALL = 5, 200
"""After so many looks at the young those that stayed are looked at too, and after so many of these everything."""
TURN_S = 0.0005
"""How long a thread computes while another wants to."""


def shorten_pauses() -> None:
    """Call once, when everything that stays is there: it is not looked at again.

    It concerns the whole process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, ALL)
    sys.setswitchinterval(TURN_S)
