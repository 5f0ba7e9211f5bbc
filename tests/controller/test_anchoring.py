"""Chains of a served controller: the embedded one outlives a restart, one behind a URL gets its contract once."""

import json

import pytest

from contracts.chain import Block, EmbeddedChain, Genesis
from contracts.errors import AnchorError, ChainUnavailableError, WrongChainError
from contracts.fees import GWEI, FeeRules
from contracts.sending import Sending
from contracts.transactions import FeePolicy, LocalSigner, Transaction, decode_signed
from controller import anchoring
from controller.anchoring import embedded, own_key, read_key
from controller.attesting import address_of
from controller.clock import VirtualClock
from controller.errors import InputError
from tests.controller.chains import OwnChain
from tests.controller.village import START

SECRET = b"\x05" * 32


CLOCK = VirtualClock(START)


def states(site):
    return [row["state"] for row in site.rows("outbox")]


@pytest.fixture
def lasting(make_site, tmp_path):
    """The village, half an hour old, anchored on the embedded chain of its folder."""
    return make_site("lived", anchored=lambda database: embedded(tmp_path, SECRET, database, clock=CLOCK))


@pytest.mark.slow
def test_the_embedded_chain_is_the_same_after_a_restart(lasting, tmp_path):
    lasting.anchor()
    assert states(lasting) == ["FINAL"]
    beginning = (tmp_path / "chain.json").read_bytes()
    lasting.restart()
    lasting.live(until=START + 3600)
    lasting.anchor()
    assert states(lasting) == ["FINAL", "FINAL"]
    assert lasting.states()[:2] == ["ANCHORED", "ANCHORED"]
    assert (tmp_path / "chain.json").read_bytes() == beginning
    assert (tmp_path / "chain.json").stat().st_mode & 0o077 == 0


def test_what_was_signed_before_a_crash_is_not_signed_again(lasting, tmp_path):
    lasting.anchor()
    before = lasting.rows("outbox_attempts")
    lasting.restart()
    lasting.anchor()
    anchors = lasting.service._anchorer
    replayed = anchors._connect(anchors._kept())
    assert lasting.rows("outbox_attempts") == before
    assert replayed.receipt(decode_signed(before[0]["raw"]).hash).succeeded


def test_the_service_signs_alone_where_it_has_no_validators(lasting):
    lasting.anchor()
    (signature,) = lasting.rows("batch_signatures")
    assert (signature["validator"], signature["submitted_by"]) == (address_of(own_key(SECRET)), "service")


def test_a_beginning_of_a_registry_of_single_windows_is_put_aside(lasting, tmp_path):
    signer = LocalSigner(SECRET)
    old = Transaction(chain_id=61_337, nonce=0, to=None, data=b"\x60", gas=300_000, fees=FeePolicy())
    text = json.dumps({"deployment": signer.sign(old).hex(), "genesis": None})
    (tmp_path / "chain.json").write_text(text)
    lasting.anchor()
    assert states(lasting) == ["FINAL"]
    assert (tmp_path / "chain.json.windows").read_text() == text


@pytest.mark.parametrize("kept", [b"{}", b"nonsense", b'{"deployment": "zz", "genesis": null}'])
def test_a_damaged_beginning_is_said_and_nothing_is_anchored(lasting, tmp_path, kept, caplog):
    (tmp_path / "chain.json").write_bytes(kept)
    assert lasting.anchor() is None
    assert states(lasting) == ["PENDING"]
    assert "chain.json: got" in caplog.text
    assert lasting.service.status.problems()[0].startswith("chain: failed 1 times in a row: AnchorError")


def test_another_secret_is_another_operator_and_refused(lasting, tmp_path, make_site):
    lasting.anchor()
    stranger = embedded(tmp_path, b"\x06" * 32, lasting.database, clock=CLOCK)
    with pytest.raises(AnchorError, match=r"got a contract of 0x\w+, wanted one of 0x\w+"):
        stranger.run_once()


class Distant:
    """A chain behind a URL that includes transactions when it is told to."""

    def __init__(self):
        signer = LocalSigner(SECRET)
        genesis = Genesis(chain_id=9, timestamp=START, gas_limit=30_000_000, balances={signer.address: 10**20})
        self._chain = EmbeddedChain(genesis)
        self.sent = []
        self.includes = False
        self.base_fee = None

    def head(self):
        head = self._chain.head()
        return head if self.base_fee is None else Block(number=head.number, hash=head.hash, base_fee=self.base_fee)

    def send_raw(self, raw):
        self.sent.append(raw)
        return self._chain.send_raw(raw) if self.includes else b""

    def __getattr__(self, name):
        return getattr(self._chain, name)


class TestDistant:
    """The contract is deployed by the first anchor, once."""

    @pytest.fixture
    def distant(self):
        return Distant()

    @pytest.fixture
    def remote(self, make_site, tmp_path, distant):
        def made(database):
            sending = Sending(fees=FeeRules(cap=20 * GWEI))
            signer = LocalSigner(SECRET)
            return anchoring.behind(
                distant, signer, tmp_path, database, clock=CLOCK, secret=b"\x09" * 32, sending=sending
            )

        return make_site("lived", anchored=made)

    @pytest.mark.slow
    def test_it_gets_the_contract_once(self, remote, tmp_path, distant):
        with pytest.raises(ChainUnavailableError, match="wanted its deployment in a block"):
            remote.service._anchorer.run_once()
        assert remote.anchor() is None
        assert states(remote) == ["PENDING"]
        distant.includes = True
        assert remote.anchor().included == 1
        remote.restart()
        remote.live(until=START + 3600)
        # Whoever sent before may still be at it, for all that the service knows.
        assert remote.anchor().standby
        CLOCK.set(CLOCK.now() + 121)
        assert remote.anchor().included == 1
        assert len(set(distant.sent)) == 3
        kept = json.loads((tmp_path / "chain.json").read_text())
        assert (kept["genesis"], kept["genesis_hash"]) == (None, distant.block_hash(0).hex())

    def test_a_deployment_that_became_too_cheap_is_raised_to_the_same_address(self, remote, distant):
        assert remote.anchor() is None
        distant.base_fee = 5 * GWEI
        assert remote.anchor() is None
        first, raised = (decode_signed(raw).transaction for raw in distant.sent)
        assert (first.nonce, first.data) == (raised.nonce, raised.data)
        assert raised.fees.max_fee_per_gas == 10 * GWEI + GWEI * 9 // 8 > first.fees.max_fee_per_gas
        distant.base_fee = 25 * GWEI
        with pytest.raises(ChainUnavailableError, match="got a base fee of 25000000000 wei, wanted room under"):
            remote.service._anchorer.run_once()

    def test_nothing_is_deployed_above_the_cap(self, remote, distant, tmp_path):
        distant.base_fee = 25 * GWEI
        with pytest.raises(ChainUnavailableError, match="wanted room for a tip under 20000000000"):
            remote.service._anchorer.run_once()
        assert not (tmp_path / "chain.json").exists()

    def test_another_chain_of_the_same_number_gets_no_contract(self, remote, distant):
        assert remote.anchor() is None
        other = Genesis(chain_id=9, timestamp=START + 1, gas_limit=30_000_000, balances={})
        distant._chain = EmbeddedChain(other)
        with pytest.raises(WrongChainError, match="genesis block: got 0x"):
            remote.service._anchorer.run_once()

    def test_an_account_that_used_the_deployments_number_is_named(self, remote, distant):
        assert remote.anchor() is None
        transaction = Transaction(chain_id=9, nonce=0, to=None, data=b"", gas=100_000, fees=FeePolicy())
        distant._chain.send_raw(LocalSigner(SECRET).sign(transaction))
        with pytest.raises(AnchorError, match="has used nonce 0: its deployment failed"):
            remote.service._anchorer.run_once()


class Dead:
    """A node that answers nothing until it is repaired."""

    def __init__(self, chain):
        self._chain = chain
        self.asked = 0
        self.dead = True

    def __getattr__(self, name):
        if not self.dead:
            return getattr(self._chain, name)
        self.asked += 1
        raise ChainUnavailableError("node: got no answer")


@pytest.mark.slow
def test_control_goes_on_without_a_node_and_all_windows_are_anchored_once_it_is_back(make_site):
    kept = ("trades", "positions", "setpoints", "readings", "postings", "headers", "windows")
    live, hit = OwnChain(), OwnChain()
    dead = hit.chain = Dead(hit.chain)
    calm, cut = make_site("village", anchored=live.anchored), make_site("village", anchored=hit.anchored)
    told = {calm: [], cut: []}
    for site in (calm, cut):

        def advance(instant, site=site):
            site.advance(instant)
            site.anchor()
            told[site].append((instant, site.told("eve/battery")))

        site.live(until=site.end, advance=advance)
    assert (calm.states(), cut.states()) == (["ANCHORED"] * 4, ["SETTLED"] * 4)
    assert told[cut] == told[calm]
    assert any(values for _, values in told[calm])
    assert dead.asked > 4
    assert states(cut) == ["PENDING"] * 4
    dead.dead = False
    assert cut.anchor().included == 4
    assert cut.states() == ["ANCHORED"] * 4
    assert {table: cut.rows(table) for table in kept} == {table: calm.rows(table) for table in kept}


def test_modes_do_not_mix(lasting, tmp_path):
    lasting.anchor()
    distant = anchoring.behind(
        Distant(), LocalSigner(SECRET), tmp_path, lasting.database, clock=CLOCK, secret=b"\x09" * 32
    )
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
