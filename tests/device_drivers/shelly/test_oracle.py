"""The stand-in for a Shelly plug, looked at by somebody else: aioshelly, as home automation uses it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.device_drivers.peer import ROOT, needs

ORACLE = Path(__file__).with_name("oracle.py")


@pytest.mark.slow
def test_somebody_else_reads_and_switches_the_stand_in(shelly):
    python = os.environ.get("GRIDPACT_SHELLY_PYTHON", str(ROOT / ".ci" / "tools" / "shelly" / "bin" / "python"))
    needs(python, f"aioshelly in an environment of its own ({python}); .ci/tools/shelly.txt says what is in it")
    looked = subprocess.run(
        [python, ORACLE, str(shelly.port), "open sesame"], capture_output=True, text=True, timeout=60, check=False
    )
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout) == {
        "wrong password": "refused",
        "device": ["SNPL-00112EU", 2, True],
        "on": [True, 99.7],
        "off": [False, 0.0],
        "for a while": [[True, 99.7], [False, 0.0]],
        "asked": False,
        "another switch": -105,
    }
