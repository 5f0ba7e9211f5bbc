"""Batches come to the registry with the signatures of enough validators, and not before."""

import pytest

from controller.anchoring import embedded
from controller.clock import VirtualClock
from gridpact.v1 import operator_pb2
from tests.controller.validators import KEYS, Signatory, client, registry
from tests.controller.village import START


class Anchoring:
    """An embedded chain in a folder, whose registry has these validators."""

    def __init__(self, folder, quorum):
        self.folder, self.quorum, self.anchors = folder, quorum, None

    def __call__(self, database):
        clock = VirtualClock(START)
        self.anchors = embedded(self.folder, b"secret", database, clock=clock, quorum=self.quorum)
        return self.anchors

    def known(self):
        return self.anchors.known()


@pytest.fixture
def make_quorum(make_site, tmp_path):
    """Starts the village with a registry of five, three of whom have to sign; one window is settled."""
    opened = []

    def make(quorum):
        anchoring = Anchoring(tmp_path, quorum)
        site = make_site("lived", anchored=anchoring, registry=anchoring.known)
        site.anchor()

        def sign(*keys):
            for key in keys:
                opened.append(Signatory(client(site), tmp_path / f"val{len(opened)}", key=key))
                opened[-1].turn()

        return site, sign

    yield make
    for one in opened:
        one.stop()


@pytest.mark.slow
def test_two_of_five_may_be_dead(make_quorum):
    site, sign = make_quorum(registry().quorum)
    sign(*KEYS[:2])
    assert (site.anchor().pending, site.states()[0]) == (1, "SETTLED")
    sign(KEYS[4])
    assert (site.anchor().included, site.states()[0]) == (1, "ANCHORED")
    site.restart()
    assert site.anchor().waiting == 0
    assert site.states()[0] == "ANCHORED"


@pytest.mark.slow
def test_without_validators_the_service_signs_itself(make_quorum):
    site, _ = make_quorum(None)
    site.anchor()
    assert site.states()[0] == "ANCHORED"
    (signed,) = site.rows("batch_signatures")
    known = site.service._core.registry()
    assert (signed["submitted_by"], known.quorum.validators) == ("service", (signed["validator"],))
    assert (known.quorum.threshold, known.self_attested) == (1, True)
    status = site.operator.GetStatus(operator_pb2.GetStatusRequest(name="microgrids/village")).microgrids[0]
    assert (status.registry.validator_count, status.registry.self_attested) == (1, True)
