"""The integrators' examples of those who look at what is settled: on the village's data, half an hour into its life."""

import re
import shutil
import sys

import pytest

from controller.cli import main
from gridpact.v1 import operator_pb2, operator_pb2_grpc
from tests.integration.served import DEADLINE_S, served
from tests.integration.test_integrators import PAGE, place, public_key, run

__all__ = ["place"]

pytestmark = pytest.mark.slow


def section(title):
    """The Python under one heading of the page."""
    (found,) = re.findall(rf"^##+ {title}\n.*?^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return found


def test_validators_and_auditors_examples_work_on_a_settled_window(place, lived):
    data = place / "lived"
    data.mkdir()
    shutil.copy(lived, data / "gridpact.sqlite")
    with served(data, place / "pki") as service:
        page = place / "invoice.html"
        asked = ["invoice", "--listen", service.target, "--pki", str(place / "pki"), "--member", "eve"]
        assert main([*asked, "--month", "2026-03", "--html", str(page)]) == 0
        assert main([*asked, "--from", "2026-03-02", "--to", "2026-03-02", "--identity", "auditor"]) == 2
        operator = operator_pb2_grpc.OperatorServiceStub(service.channel("operator"))
        operator.RegisterKey(
            operator_pb2.RegisterKeyRequest(
                parent="microgrids/village",
                key_id="validator",
                purpose=operator_pb2.KEY_PURPOSE_ATTESTATION,
                holder="validator",
                public_key=public_key(place / "pki" / "validator.sign.pub"),
                request_id="key",
            ),
            timeout=DEADLINE_S,
        )
        script = "\n".join(section(title) for title in ("Python", "Validator", "Auditor"))
        told = run(
            place,
            [sys.executable, "-"],
            script,
            target=service.target,
            port=str(service.port),
            PYTHONPATH=str(place / "client"),
        )
    assert "Bought from neighbours" in page.read_text(encoding="utf-8")
    validator, auditor = told.splitlines()
    assert validator == "validator: 1 headers attested"
    assert re.fullmatch(r"auditor: [0-9a-f]{64} 1 attestations, \d+ steps of a proof", auditor)
