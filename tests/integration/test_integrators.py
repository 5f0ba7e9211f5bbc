"""The integrators' page, run as it stands: clients made from the .proto files alone, against a served process."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from grpc_tools import protoc

from controller.cli import main
from tests.integration.served import DEADLINE_S, ROOT, served

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "integrators.md").read_text("utf-8")
ROLES = ["operator", "participant", "dso", "aggregator", "driver", "meter", "validator"]
"""Those of whom the first half hour of a microgrid's life has something to tell."""
TOOLS = ROOT / ".ci" / "tools" / "node_modules" / ".bin"


def blocks(language):
    """The page's code, in its order."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with identities and the .proto files, and of this repository nothing else."""
    folder = tmp_path_factory.mktemp("integrator")
    assert main(["pki", "init", str(folder / "pki"), "--grid", "village"]) == 0
    for path in (ROOT / "proto").rglob("*.proto"):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (folder / "client").mkdir()
    protos = sorted(str(path) for path in (folder / "proto").rglob("*.proto"))
    out = str(folder / "client")
    known = str(Path(protoc.__file__).parent / "_proto")
    options = [f"-I{folder / 'proto'}", f"-I{known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    assert protoc.main(["protoc", *options, *protos]) == 0
    return folder


def public_key(path):
    """The 32 bytes of a public key."""
    key = serialization.load_pem_public_key(path.read_bytes())
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@pytest.fixture(scope="module")
def service(place):
    with served(place / "data", place / "pki", "--set", "metrics.listen=127.0.0.1:0") as running:
        yield running


def run(place, command, script, **variables):
    script = script.replace("127.0.0.1:50051", variables.pop("target")).replace("localhost:50051", "localhost:{port}")
    done = subprocess.run(
        command,
        input=script.replace("{port}", variables.pop("port")),
        cwd=place,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(place, service):
    """What the Python examples print."""
    return run(
        place,
        [sys.executable, "-"],
        blocks("python"),
        target=service.target,
        port=str(service.port),
        PYTHONPATH=str(place / "client"),
    )


def test_each_role_has_an_example_in_python_that_works(told, service):
    lines = told.splitlines()
    assert [line.partition(":")[0] for line in lines] == ROLES
    assert "driver: epoch 1 and then idle" in lines
    assert "meter: 1 reading" in lines
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text()


@pytest.mark.usefixtures("told")
def test_each_role_has_an_example_for_buf_curl_that_works(place, service):
    path = os.pathsep.join((str(TOOLS), os.environ["PATH"]))
    for tool in ("buf", "openssl"):
        if shutil.which(tool, path=path) is None:
            if "CI" in os.environ:
                pytest.fail(f"{tool} is missing")
            pytest.skip(f"{tool} is missing")
    said = run(
        place,
        ["bash", "-euo", "pipefail"],
        blocks("sh"),
        target=service.target,
        port=str(service.port),
        PATH=path,
        HOME=str(place),
    )
    assert '"deviceCount": 1' in said
    assert '"welcome"' in said
    assert '"reason": "noon"' in said
    assert "Traceback" not in service.log.read_text()


@pytest.mark.usefixtures("told")
def test_what_they_did_shows_in_figures_and_status(place, service, capsys):
    (page,) = re.findall(r"metrics on (http://127\.0\.0\.1:\d+/metrics)", service.log.read_text())
    with urllib.request.urlopen(page, timeout=DEADLINE_S) as answer:
        figures = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    created = 'gridpact_calls_total{code="OK",method="/gridpact.v1.DsoService/CreateEnvelope"}'
    assert float(figures[created]) >= 1
    assert float(figures["gridpact_limits_journal_seconds_count"]) >= 1
    assert float(figures["gridpact_database_commit_seconds_count"]) >= 1
    assert float(figures["gridpact_database_up"]) == 1
    assert float(figures['gridpact_windows{microgrid="village",state="OPEN"}']) >= 20
    assert main(["status", "--listen", service.target, "--pki", str(place / "pki")]) == 0
    said = capsys.readouterr().out
    assert "microgrid         microgrids/village" in said
    assert "  devices         1, " in said
    assert said.endswith("healthy           yes\n")
