import json
from dataclasses import replace

import pytest

from contracts.batch import Batch
from contracts.quorum import Domain, recover
from controller.errors import ControllerError, InputError
from controller.store import batches
from controller.validating.evidence import DoubtError
from controller.validating.journal import NAME as JOURNAL
from controller.validating.journal import SigningJournal
from tests.controller.validators import DOMAIN, KEYS, NAME, Signatory, address, client, registry

ELSEWHERE = Domain(chain_id=8, contract=DOMAIN.contract)


@pytest.fixture
def batched(make_site):
    """The village's service with a registry; a window is settled and in a batch."""
    site = make_site("lived", registry=registry)
    site.loop.run(site.service.form_batches())
    return site


@pytest.fixture
def make_signatory(batched, tmp_path):
    """Starts validators of the village."""
    opened = []

    def make(service=None, name="val", **parts):
        opened.append(Signatory(service or client(batched), tmp_path / name, **parts))
        return opened[-1]

    yield make
    for one in opened:
        one.stop()


@pytest.fixture
def signatory(make_signatory):
    return make_signatory()


def kept(site, number=0):
    return site.database.run(batches.batch, "village", number)


def one_more(site):
    """Let the second window be settled and batched."""
    site.live(until=site.start + 3600)
    site.loop.run(site.service.form_batches())


class Told:
    """A service that tells a validator something else; ``lies`` are by the method that tells it.

    Attributes
    ----------
    handed_in : what it was given
    """

    def __init__(self, service, **lies):
        self._service, self._lies = service, lies
        self.handed_in = []

    def _tell(self, method, *args):
        truth = getattr(self._service, method)(*args)
        return self._lies[method](truth) if method in self._lies else truth

    def registry(self):
        return self._tell("registry")

    def batches(self, first, count):
        return self._tell("batches", first, count)

    def evidence(self, window, run):
        return self._tell("evidence", window, run)

    def submit(self, number, batch_hash, signature):
        self.handed_in.append((number, batch_hash, signature))
        if "submit" in self._lies:
            self._lies["submit"]()
        self._service.submit(number, batch_hash, signature)


class TestTurn:
    def test_a_batch_that_is_right_is_signed_once(self, signatory, batched):
        (signing,) = signatory.turn()
        found = kept(batched)
        assert (signing.number, signing.hash) == (0, found.batch.hash)
        assert [window.window for window in signing.windows] == [batched.window(0)]
        assert list(found.signatures) == [address(KEYS[0])]
        assert recover(DOMAIN.digest(found.batch.hash), found.signatures[address(KEYS[0])]) == address(KEYS[0])
        assert signatory.turn() == []

    def test_it_goes_on_where_it_was_after_a_restart(self, signatory, batched):
        signatory.turn()
        one_more(batched)
        signatory.restart()
        (signing,) = signatory.turn()
        assert (signing.number, [window.window for window in signing.windows]) == (1, [batched.window(1)])

    def test_each_validator_counts_on_its_own(self, make_signatory, batched):
        for number, key in enumerate(KEYS[:3]):
            make_signatory(name=f"val{number}", key=key).turn()
        assert set(kept(batched).signatures) == {address(key) for key in KEYS[:3]}

    def test_what_others_signed_can_be_taken_over(self, make_signatory, batched):
        one_more(batched)
        late = make_signatory(first=1)
        assert [signing.number for signing in late.turn()] == [1]
        assert list(kept(batched, 0).signatures) == []
        late.restart()
        assert late.turn() == []


class TestDeath:
    def test_between_signing_and_answering_it_hands_in_the_same_again(self, make_signatory, batched):
        def die():
            raise ControllerError("service: UNAVAILABLE: gone")

        dying = Told(client(batched), submit=die)
        signatory = make_signatory(dying)
        with pytest.raises(ControllerError, match="UNAVAILABLE"):
            signatory.turn()
        signatory.service = client(batched)
        signatory.restart()
        assert signatory.turn() == []
        assert kept(batched).signatures == {address(KEYS[0]): dying.handed_in[0][2]}

    def test_a_line_that_was_cut_off_was_never_signed(self, signatory, batched):
        signatory.turn()
        path = signatory.folder / JOURNAL
        whole = path.read_bytes()
        signatory.stop()
        path.write_bytes(whole[:-9])
        signatory.start()
        assert signatory.journal.newest(NAME) is None
        signatory.turn()
        assert path.read_bytes() == whole

    def test_nothing_leaves_before_it_is_on_disk(self, make_signatory, batched, monkeypatch):
        told = Told(client(batched))
        signatory = make_signatory(told)

        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("controller.validating.journal.os.fsync", full)
        with pytest.raises(InputError, match="cannot be written: No space left"):
            signatory.turn()
        assert told.handed_in == []


def resealed(listed):
    """The batch with its first header as that of another settlement, and all hashes fitting."""
    header = replace(listed.headers[0], settlement_root=b"\x05" * 32)
    return forged(listed, headers=(header, *listed.headers[1:]))


def forged(listed, **changes):
    other = replace(listed, **changes)
    batch = Batch(
        microgrid=NAME,
        number=other.number,
        previous=other.previous,
        first=other.first,
        headers=tuple(header.hash for header in other.headers),
    )
    return replace(other, hash=batch.hash)


class TestDoubt:
    def doubted(self, signatory, match):
        with pytest.raises(DoubtError, match=match):
            signatory.turn()
        assert getattr(signatory.service, "handed_in", []) == []

    @pytest.mark.parametrize(
        ("lie", "match"),
        [
            (lambda one: replace(one, hash=bytes(32)), "got hash 0x0000.*its headers give"),
            (lambda one: replace(one, number=1), "got number 1 from header 0.*wanted 0 from header 0"),
            (lambda one: replace(one, first=1), "got number 0 from header 1"),
            (lambda one: replace(one, previous=b"\x01" * 32), "after 0x0101"),
            (resealed, "got another header than in batch 0"),
            (lambda one: forged(one, headers=(replace(one.headers[0], microgrid="microgrids/x"),)), "of microgrids/x"),
            (lambda one: forged(one, headers=(replace(one.headers[0], previous=b"\x01" * 32),)), "got header 0x0101"),
            (lambda one: replace(one, headers=()), "batch 0: field 'headers': got 0"),
        ],
        ids=["hash", "number", "first", "previous", "header", "microgrid", "link", "empty"],
    )
    def test_a_batch_that_does_not_follow_is_not_signed(self, make_signatory, batched, lie, match):
        told = Told(client(batched), batches=lambda listed: [lie(one) for one in listed])
        self.doubted(make_signatory(told), match)

    def test_a_window_that_was_changed_after_the_fact_is_named_by_each(self, make_signatory, batched):
        """In the database itself, with everything sealed anew."""
        for number, key in enumerate(KEYS):
            told = Told(
                client(batched), batches=lambda listed: [resealed(one) for one in listed], evidence=settled_anew
            )
            self.doubted(
                make_signatory(told, name=f"val{number}", key=key),
                f"{batched.window(0)} run 0: settlement_root: got 0x0505.*the records give",
            )

    def test_a_key_that_became_another_is_named(self, signatory, make_signatory, batched):
        signatory.turn()
        one_more(batched)

        def change(evidence):
            key = evidence.keys["order-bob"]
            return replace(evidence, keys={**evidence.keys, "order-bob": replace(key, public_key=bytes(32))})

        signatory.service = Told(signatory.service, evidence=change)
        signatory.restart()
        self.doubted(signatory, "key order-bob: got 0000.*as before")

    def test_what_was_signed_stays_what_it_was(self, signatory, batched):
        signatory.turn()
        signatory.service = Told(signatory.service, batches=lambda listed: [resealed(one) for one in listed])
        signatory.restart()
        self.doubted(signatory, r"batch 0: got 0x\w+, signed 0x\w+ before")

    def test_it_never_signs_two_of_one_number(self, signatory):
        """Whoever asks, and however: the journal refuses."""
        signatory.turn()
        known = signatory.journal.newest(NAME)
        signatory.journal.sign(known)
        signatory.restart()
        with pytest.raises(DoubtError, match=r"signed 0x.* as that number before"):
            signatory.journal.sign(replace(known, hash="00" * 32))


def settled_anew(evidence):
    return replace(evidence, header=replace(evidence.header, settlement_root=b"\x05" * 32))


class TestRegistry:
    def test_of_another_it_signs_nothing(self, make_signatory, batched):
        told = Told(client(batched))
        with pytest.raises(
            DoubtError, match=r"registry: got contract .* on chain 7 from the service, wanted .* chain 8"
        ):
            make_signatory(told, domain=ELSEWHERE).turn()
        assert told.handed_in == []

    def test_it_stays_with_the_first(self, signatory, batched):
        signatory.turn()
        signatory.service = Told(signatory.service, registry=lambda known: replace(known, domain=ELSEWHERE))
        signatory.restart()
        with pytest.raises(
            DoubtError, match=r"registry: got contract .* on chain 8 from the service, wanted .* chain 7"
        ):
            signatory.turn()

    def test_what_it_is_told_to_sign_for_is_what_it_signed_for_before(self, signatory):
        signatory.turn()
        signatory.parts = {"domain": ELSEWHERE}
        signatory.restart()
        with pytest.raises(DoubtError, match=r"registry: got contract .* on chain 8, signed for .* on chain 7 before"):
            signatory.turn()

    def test_one_who_is_no_validator_says_so(self, make_signatory):
        with pytest.raises(DoubtError, match=rf"validators: got 5 of epoch 0 without {address(bytes([9]) * 32)}"):
            make_signatory(key=bytes([9]) * 32).turn()

    def test_before_there_is_one_nothing_is_signed(self, make_site, tmp_path):
        signatory = Signatory(client(make_site("lived")), tmp_path / "val")
        with pytest.raises(ControllerError, match="FAILED_PRECONDITION: anchoring: got no registry yet"):
            signatory.turn()
        signatory.stop()


class TestJournal:
    def test_two_do_not_share_one(self, signatory):
        with pytest.raises(InputError, match="another validator uses"):
            SigningJournal(signatory.folder)

    def test_it_is_its_owners_alone(self, signatory):
        assert (signatory.folder / JOURNAL).stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("line", [b"{}\n", b"x\n", b'{"kind": "x"}\n', b'{"kind": "batch"}\n', b"[]\n"])
    def test_a_line_that_is_none_is_named(self, tmp_path, line):
        (tmp_path / JOURNAL).write_bytes(line)
        with pytest.raises(InputError, match="line 1: got"):
            SigningJournal(tmp_path)

    def test_it_reads_back_what_it_noted(self, signatory):
        signatory.turn()
        before = signatory.journal.newest(NAME), signatory.journal.runs(signatory.journal.newest(NAME).runs[0].window)
        signatory.restart()
        assert (signatory.journal.newest(NAME), signatory.journal.runs(before[1][0].window)) == before
        assert signatory.journal.domain == DOMAIN
        kinds = [json.loads(line)["kind"] for line in (signatory.folder / JOURNAL).read_text().splitlines()]
        assert (kinds[0], kinds[-1], set(kinds)) == ("registry", "batch", {"registry", "key", "batch"})
