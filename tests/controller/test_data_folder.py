import os
import subprocess
import sys

import pytest

from controller.data_folder import DataFolder
from controller.errors import InputError


def test_a_folder_is_for_one_at_a_time_and_says_for_whom(tmp_path):
    with (
        DataFolder(tmp_path / "d"),
        pytest.raises(InputError, match=rf"got a folder that process {os.getpid()} is working in"),
        DataFolder(tmp_path / "d"),
    ):
        pass
    with DataFolder(tmp_path / "d"):
        pass


def test_a_killed_holder_leaves_the_folder_free(tmp_path):
    code = f"""
import os, pathlib
from controller.data_folder import DataFolder
DataFolder(pathlib.Path({str(tmp_path)!r})).__enter__()
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    with DataFolder(tmp_path):
        pass


def test_its_secret_is_drawn_once_and_for_its_owner_alone(tmp_path):
    with DataFolder(tmp_path / "one") as folder, DataFolder(tmp_path / "other") as other:
        secret = folder.secret()
        assert len(secret) == 32
        assert folder.secret() == secret
        assert other.secret() != secret
        assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "one" / "secret").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_get_into_is_warned_of_and_stays_as_it_is(tmp_path, caplog):
    folder = tmp_path / "one"
    with DataFolder(folder):
        assert not caplog.text
    folder.chmod(0o755)
    with DataFolder(folder):
        assert f"got mode 0755, wanted its owner's alone; chmod 700 {folder}" in caplog.text
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_secret_that_is_cut_short_is_refused(tmp_path):
    with DataFolder(tmp_path) as folder:
        (tmp_path / "secret").write_bytes(b"short")
        with pytest.raises(InputError, match="secret: got 5 bytes, wanted 32"):
            folder.secret()


@pytest.mark.parametrize("make", ["file", "below a file"])
def test_a_folder_that_cannot_be_is_refused(tmp_path, make):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" if make == "file" else tmp_path / "file" / "d"
    with pytest.raises(InputError, match="cannot be used"), DataFolder(path):
        pass
