"""When devices of tests were switched, as they themselves say: by whoever told them, or by their own timers."""

import json
import os
import time


class Edges:
    """Notes switchings in a file: a line for each, with s of the machine's monotonic clock.

    Parameters
    ----------
    path : Path
        Appended to; other processes may write to it too.
    """

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._last = {}

    def note(self, device, on):
        """A device does this now; nothing is noted where it did so before."""
        if self._last.get(device) is not on:
            self._last[device] = on
            os.write(self._file, json.dumps({"device": device, "on": on, "at": time.monotonic()}).encode() + b"\n")


def read_edges(path):
    """By device its switchings as (instant in s, on), in order."""
    found = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        edge = json.loads(line)
        found.setdefault(edge["device"], []).append((edge["at"], edge["on"]))
    return found
