import asyncio
import os
import sys

import pytest

from controller.warming import kernels_missing, warm_up


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with a kernel, and where it would lie compiled."""
    (tmp_path / "kernelled.py").write_text("")
    (tmp_path / "__pycache__").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_kernel_counts_where_it_is_no_older_than_its_code(module):
    assert kernels_missing("kernelled")
    index = module / "__pycache__" / "kernelled.solve-1.py311.nbi"
    index.write_bytes(b"")
    assert not kernels_missing("kernelled")
    os.utime(index, (1, 1))
    assert kernels_missing("kernelled")
    assert "kernelled" not in sys.modules


def test_a_module_that_is_not_there_has_no_kernel():
    assert kernels_missing("controller.no_such_module")


@pytest.mark.slow
def test_warming_up_ends_with_its_process(caplog):
    with caplog.at_level("INFO"):
        asyncio.run(warm_up())
    assert "kernels are compiled" in caplog.messages
