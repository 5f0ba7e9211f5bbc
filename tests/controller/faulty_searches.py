"""Searches that go wrong in the process that they are given; light, as each such process loads this first."""

import ctypes
import time
from dataclasses import replace
from pathlib import Path


def search(community):
    """What the reference says."""
    from optimization.reference.dispatch import dispatch

    return dispatch(community)


def hang(community):
    time.sleep(3600)


def crash(community):
    ctypes.string_at(0)


def ramble(community):
    return "what a nice evening"


def cheat(community):
    """Says that everything rests, whatever the rules are."""
    found = search(community)
    return replace(found, device_kw={device: 0.0 * power for device, power in found.device_kw.items()})


def devour(community):
    return bytearray(2**34)


def linger(path, community):
    """Hangs the first time that it is asked."""
    if Path(path).exists():
        return search(community)
    Path(path).touch()
    time.sleep(3600)
    return None
