"""Batches and quorums: what is committed to, who signed it, what is refused."""

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from contracts.batch import Batch, batch_hash, first_hole, microgrid_key, window_leaf
from contracts.errors import ContractsError, EvidenceError
from contracts.hashing import ZERO_HASH, keccak
from contracts.merkle import verify_proof
from contracts.quorum import Domain, Quorum, SignatureRefusedError, recover, sign
from contracts.transactions import Address

NAME = "microgrids/village"
KEYS = [keccak(bytes([n])) for n in range(5)]
DOMAIN = Domain(chain_id=61337, contract=Address("0x" + "ab" * 20))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def address(key: bytes) -> Address:
    return Address(Account.from_key(key).address.lower())


def quorum(threshold: int = 3) -> Quorum:
    return Quorum(epoch=0, threshold=threshold, validators=tuple(sorted(address(key) for key in KEYS)))


def batches(*counts: int) -> list[Batch]:
    made: list[Batch] = []
    first, previous = 0, ZERO_HASH
    for number, count in enumerate(counts):
        headers = tuple(keccak(f"{number} {k}".encode()) for k in range(count))
        made.append(Batch(microgrid=NAME, number=number, previous=previous, first=first, headers=headers))
        first, previous = first + count, made[-1].hash
    return made


def test_each_header_is_proven_at_its_place_alone() -> None:
    _, batch = batches(2, 7)
    for k, header in enumerate(batch.headers):
        assert verify_proof(window_leaf(2 + k, header), batch.proof(2 + k), batch.windows_root)
        assert not verify_proof(window_leaf(3 + k, header), batch.proof(2 + k), batch.windows_root)


def test_signed_is_what_wallets_sign_for_the_same_structure() -> None:
    batch = batches(3)[0]
    typed = encode_typed_data(
        {"name": "GridpactRegistry", "version": "1", "chainId": 61337, "verifyingContract": DOMAIN.contract},
        {
            "Batch": [
                {"name": "microgrid", "type": "bytes32"},
                {"name": "number", "type": "uint64"},
                {"name": "previous", "type": "bytes32"},
                {"name": "windowsRoot", "type": "bytes32"},
            ]
        },
        {
            "microgrid": microgrid_key(NAME),
            "number": 0,
            "previous": ZERO_HASH,
            "windowsRoot": batch.windows_root,
        },
    )
    signature = sign(KEYS[0], DOMAIN.digest(batch.hash))
    assert signature == Account.sign_message(typed, KEYS[0]).signature
    assert recover(DOMAIN.digest(batch.hash), signature) == address(KEYS[0])


def test_the_hash_follows_from_every_field() -> None:
    hashes = {
        batch_hash(*fields)
        for fields in (
            (NAME, 1, KEYS[0], KEYS[1]),
            (NAME + "x", 1, KEYS[0], KEYS[1]),
            (NAME, 2, KEYS[0], KEYS[1]),
            (NAME, 1, KEYS[2], KEYS[1]),
            (NAME, 1, KEYS[0], KEYS[2]),
        )
    }
    assert len(hashes) == 5


def test_a_hole_between_batches_is_named() -> None:
    made = batches(1, 2, 3)
    assert first_hole(made) is None
    assert "wanted batch 1 from header 1 on" in (first_hole([made[0], made[2]]) or "")
    assert "wanted batch 0 from header 0 on" in (first_hole(made[1:]) or "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": ()},
        {"headers": (bytes(31),)},
        {"number": 1},
        {"previous": KEYS[0]},
        {"first": 1},
        {"number": -1, "previous": KEYS[0]},
        {"headers": (KEYS[0],) * 4097},
    ],
)
def test_a_batch_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {
        "microgrid": NAME,
        "number": 0,
        "previous": ZERO_HASH,
        "first": 0,
        "headers": (KEYS[0],),
    }
    with pytest.raises(EvidenceError):
        Batch(**{**right, **wrong})  # type: ignore[arg-type]


def test_a_quorum_counts_what_it_packs() -> None:
    digest = keccak(b"digest")
    signatures = {address(key): sign(key, digest) for key in KEYS[:4]}
    packed = quorum().pack(signatures)
    assert packed is not None
    assert len(quorum().check(digest, packed)) == 3
    assert quorum(5).pack(signatures) is None
    assert quorum().pack({Address("0x" + "01" * 20): bytes(65)}) is None


def test_what_does_not_count_is_refused_and_named() -> None:
    digest = keccak(b"digest")
    ordered = [sign(key, digest) for key in sorted(KEYS, key=address)]
    stranger = sign(keccak(b"stranger"), digest)
    cases = {
        "wanted 3 or more": b"".join(ordered[:2]),
        "got two of": ordered[0] + ordered[0] + ordered[1],
        "wanted ascending order": ordered[1] + ordered[0] + ordered[2],
        "got 194 bytes": b"".join(ordered[:3])[:-1],
    }
    for said, packed in cases.items():
        with pytest.raises(SignatureRefusedError, match=said):
            quorum().check(digest, packed)
    with pytest.raises(SignatureRefusedError, match="wanted one of 5"):
        quorum().check(digest, b"".join(sorted([stranger, *ordered[:2]], key=lambda each: recover(digest, each))))
    r, s = ordered[0][:32], int.from_bytes(ordered[0][32:64])
    high = r + (ORDER - s).to_bytes(32) + bytes([55 - ordered[0][64]])
    with pytest.raises(SignatureRefusedError, match="upper half"):
        recover(digest, high)
    with pytest.raises(SignatureRefusedError, match="wanted 27 or 28"):
        recover(digest, ordered[0][:64] + b"\x00")
    with pytest.raises(SignatureRefusedError, match="belongs to nobody"):
        recover(digest, bytes(32) + ordered[0][32:])


def test_a_quorum_out_of_bounds_is_refused() -> None:
    addresses = quorum().validators
    for validators, threshold in (
        ((), 1),
        (addresses[::-1], 1),
        ((addresses[0], addresses[0]), 1),
        ((Address("0x" + "00" * 20),), 1),
        (addresses, 0),
        (addresses, 6),
    ):
        with pytest.raises(ContractsError):
            Quorum(epoch=0, threshold=threshold, validators=validators)
