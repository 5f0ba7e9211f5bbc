"""Chains of a served controller: the embedded one outlives a restart, one behind a URL gets its contract once."""

import json

import pytest

from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import AnchorError, ChainUnavailableError
from contracts.operator_registry import sign_deployment
from contracts.outbox import AnchorState
from contracts.transactions import FeePolicy, LocalSigner
from controller import anchoring
from controller.anchoring import Beginning, ChainAnchors, embedded, read_key
from controller.errors import InputError
from controller.store.evidence import anchors
from tests.controller.village import START

SECRET = b"\x05" * 32


def states(site):
    return [row.state for row in site.database.run(anchors)]


@pytest.fixture
def lasting(make_site, tmp_path):
    """The village, half an hour old, anchored on the embedded chain of its folder."""
    return make_site("lived", anchored=lambda database: embedded(tmp_path, SECRET, database, now=START))


@pytest.mark.slow
def test_the_embedded_chain_is_the_same_after_a_restart(lasting, tmp_path):
    lasting.anchor()
    assert states(lasting) == ["INCLUDED"]
    beginning = (tmp_path / "chain.json").read_bytes()
    lasting.restart()
    lasting.live(until=START + 3600)
    lasting.anchor()
    assert states(lasting) == ["INCLUDED", "INCLUDED"]
    assert (tmp_path / "chain.json").read_bytes() == beginning
    assert (tmp_path / "chain.json").stat().st_mode & 0o077 == 0


def test_what_was_signed_before_a_crash_is_not_signed_again(lasting, tmp_path):
    lasting.anchor()
    (before,) = lasting.database.run(anchors)
    assert lasting.database.run(anchors, (AnchorState.PENDING, AnchorState.SENT)) == []
    lasting.restart()
    chain = lasting.service._anchorer
    assert chain.run_once().waiting == 0
    replayed = chain._connect(chain._kept())
    (after,) = lasting.database.run(anchors)
    assert after.raw_transaction == before.raw_transaction
    assert replayed.receipt(before.transaction_hash).succeeded


@pytest.mark.parametrize("kept", [b"{}", b"nonsense", b'{"deployment": "zz", "genesis": null}'])
def test_a_damaged_beginning_is_said_and_nothing_is_anchored(lasting, tmp_path, kept, caplog):
    (tmp_path / "chain.json").write_bytes(kept)
    assert lasting.anchor() is None
    assert states(lasting) == ["PENDING"]
    assert "chain.json: got" in caplog.text
    assert lasting.service.status.problems()[0].startswith("chain: failed 1 times in a row: AnchorError")


def test_another_secret_is_another_operator_and_refused(lasting, tmp_path, make_site):
    lasting.anchor()
    stranger = embedded(tmp_path, b"\x06" * 32, lasting.database, now=START)
    with pytest.raises(AnchorError, match=r"got a contract of 0x\w+, wanted one of 0x\w+"):
        stranger.run_once()


class Distant:
    """A chain behind a URL that includes transactions when it is told to."""

    def __init__(self, signer):
        genesis = Genesis(chain_id=9, timestamp=START, gas_limit=30_000_000, balances={signer.address: 10**20})
        self._chain = EmbeddedChain(genesis)
        self.sent = []
        self.includes = False

    def send_raw(self, raw):
        self.sent.append(raw)
        return self._chain.send_raw(raw) if self.includes else b""

    def __getattr__(self, name):
        return getattr(self._chain, name)


@pytest.mark.slow
def test_a_distant_chain_gets_the_contract_once(make_site, tmp_path):
    signer = LocalSigner(SECRET)
    distant = Distant(signer)

    def begin():
        raw, _ = sign_deployment(signer, chain_id=9, nonce=0, fees=FeePolicy())
        return Beginning(deployment=raw, genesis=None)

    def made(database):
        return ChainAnchors(tmp_path / "chain.json", signer, database, begin=begin, connect=lambda _: distant)

    site = make_site("lived", anchored=made)
    with pytest.raises(ChainUnavailableError, match="wanted its deployment in a block"):
        site.service._anchorer.run_once()
    assert site.anchor() is None
    assert states(site) == ["PENDING"]
    distant.includes = True
    assert site.anchor().included == 1
    site.restart()
    site.live(until=START + 3600)
    assert site.anchor().included == 1
    assert len(set(distant.sent)) == 3
    assert json.loads((tmp_path / "chain.json").read_text())["genesis"] is None


def test_modes_do_not_mix(lasting, tmp_path, monkeypatch):
    lasting.anchor()
    monkeypatch.setattr(anchoring, "RpcChain", lambda url: Distant(LocalSigner(SECRET)))
    distant = anchoring.behind("http://127.0.0.1:1", SECRET, tmp_path, lasting.database)
    with pytest.raises(AnchorError, match=r"got an embedded chain, wanted one behind a URL"):
        distant.run_once()


class TestKey:
    def test_it_is_hexadecimal_digits_for_its_owner_alone(self, tmp_path):
        path = tmp_path / "key"
        path.write_text("0x" + "07" * 32 + "\n")
        path.chmod(0o600)
        assert read_key(path) == b"\x07" * 32

    @pytest.mark.parametrize("text", ["", "0x12", "zz" * 32, "07" * 33, "\u00fc"])
    def test_anything_else_is_refused_and_not_repeated(self, tmp_path, text):
        path = tmp_path / "key"
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(InputError, match=r"anchoring\.key_file: ") as caught:
            read_key(path)
        assert not text or text not in str(caught.value)

    def test_one_that_others_can_read_is_refused(self, tmp_path):
        path = tmp_path / "key"
        path.write_text("07" * 32)
        path.chmod(0o640)
        with pytest.raises(InputError, match="others can read this key"):
            read_key(path)

    def test_one_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_key(tmp_path / "none")
