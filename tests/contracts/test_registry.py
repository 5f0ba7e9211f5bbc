"""The contract `GridpactRegistry` on an embedded chain: what it holds, and every refusal by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.batch import Batch
from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import AnchorError, ContractsError, WrongChainError
from contracts.hashing import ZERO_HASH, hash_values, keccak
from contracts.quorum import ROTATION_TYPE, SIGNATURE_BYTES, Quorum, split
from contracts.registry import (
    AnchorCall,
    Deployment,
    Registry,
    RotateCall,
    anchor_data,
    deploy,
    deployment_data,
    parse_anchor_data,
    parse_rotate_data,
    quorum_of_deployment,
    rotate_data,
    sign_deployment,
)
from contracts.transactions import FeePolicy, LocalSigner, Transaction, decode_signed
from tests.contracts.validators import MICROGRID, Account, forgetting, key_of, keys, make_batches, packed, quorum_of

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture(scope="module")
def _deployed() -> tuple[EmbeddedChain, Deployment]:
    deployer = LocalSigner(b"\x01" * 32)
    balances = {deployer.address: 10**18, LocalSigner(b"\x02" * 32).address: 10**18}
    chain = EmbeddedChain(Genesis(chain_id=31337, timestamp=1476849600, gas_limit=30_000_000, balances=balances))
    return chain, deploy(chain, deployer, quorum_of())


@pytest.fixture
def deployed(_deployed: tuple[EmbeddedChain, Deployment]) -> Iterator[Deployment]:
    """The registry on a chain that forgets afterwards what a test did."""
    chain, deployment = _deployed
    with forgetting(chain):
        yield deployment


@pytest.fixture
def registry(deployed: Deployment) -> Registry:
    return deployed.registry


@pytest.fixture
def relay(_deployed: tuple[EmbeddedChain, Deployment], deployed: Deployment, stranger: LocalSigner) -> Account:
    """Anybody: not who deployed, no validator."""
    return Account(_deployed[0], stranger)


def anchor(relay: Account, registry: Registry, batch: Batch, quorum: Quorum | None = None) -> bool:
    signed = packed(registry.domain, batch.hash, quorum, numbers=range(10))
    return relay.send(registry.anchor_transaction, batch, signed)


def raw_call(registry: Registry, data: bytes):
    def make(*, nonce: int, fees: FeePolicy) -> Transaction:
        return Transaction(
            chain_id=registry.chain_id, nonce=nonce, to=registry.address, data=data, gas=900_000, fees=fees
        )

    return make


def test_batches_in_order_are_held(relay: Account, registry: Registry) -> None:
    for batch in make_batches(1, 3, 2):
        assert registry.held(relay.chain, MICROGRID, batch.number) == ZERO_HASH
        assert anchor(relay, registry, batch)
        assert registry.held(relay.chain, MICROGRID, batch.number) == batch.hash


def test_microgrids_do_not_meet(relay: Account, registry: Registry) -> None:
    for microgrid in ("microgrids/a", "microgrids/b"):
        for batch in make_batches(2, 1, microgrid=microgrid):
            assert anchor(relay, registry, batch)
            assert registry.held(relay.chain, microgrid, batch.number) == batch.hash


def test_the_same_batch_again_is_a_no_op_even_without_signatures(relay: Account, registry: Registry) -> None:
    for batch in make_batches(1, 2):
        assert anchor(relay, registry, batch)
    for batch in make_batches(1, 2):
        assert relay.send(registry.anchor_transaction, batch, b"")
        assert registry.held(relay.chain, MICROGRID, batch.number) == batch.hash


def test_another_batch_in_its_place_is_refused_whoever_signed(relay: Account, registry: Registry) -> None:
    batch, fork = make_batches(2)[0], make_batches(3)[0]
    assert anchor(relay, registry, batch)
    said = relay.refusal(registry.anchor_transaction, fork, packed(registry.domain, fork.hash))
    assert said.startswith("AlreadyAnchored")
    assert f"got 0x{fork.hash.hex()}, held 0x{batch.hash.hex()}" in said
    assert registry.held(relay.chain, MICROGRID, 0) == batch.hash


def test_a_batch_that_follows_another_history_is_refused(relay: Account, registry: Registry) -> None:
    batch, fork = make_batches(2, 1), make_batches(3, 1)
    assert anchor(relay, registry, batch[0])
    said = relay.refusal(registry.anchor_transaction, fork[1], packed(registry.domain, fork[1].hash))
    assert said.startswith("WrongPrevious")
    assert f"got 0x{fork[0].hash.hex()}, wanted 0x{batch[0].hash.hex()}" in said
    assert registry.held(relay.chain, MICROGRID, 1) == ZERO_HASH


@pytest.mark.parametrize("previous", [ZERO_HASH, keccak(b"some")])
def test_a_batch_before_its_turn_is_refused(relay: Account, registry: Registry, previous: bytes) -> None:
    call = AnchorCall(
        microgrid=keccak(MICROGRID.encode()), number=1, previous=previous, windows_root=keccak(b""), signatures=b""
    )
    assert relay.refusal(raw_call(registry, call.data)).startswith("NoPrevious: microgrid 0x")


def test_a_first_batch_that_follows_something_is_refused(relay: Account, registry: Registry) -> None:
    call = AnchorCall(
        microgrid=keccak(MICROGRID.encode()),
        number=0,
        previous=keccak(b"some"),
        windows_root=keccak(b""),
        signatures=b"",
    )
    said = relay.refusal(raw_call(registry, call.data))
    assert said.startswith("WrongPrevious")
    assert said.endswith(f"wanted 0x{ZERO_HASH.hex()}")


def refused(relay: Account, registry: Registry, signatures: bytes) -> str:
    """Why the first batch with these signatures is refused; it is not held afterwards."""
    said = relay.refusal(registry.anchor_transaction, make_batches(1)[0], signatures)
    assert registry.held(relay.chain, MICROGRID, 0) == ZERO_HASH
    return said


@pytest.fixture
def signed(registry: Registry) -> list[bytes]:
    """Signatures of three validators over the first batch, in order."""
    return list(split(packed(registry.domain, make_batches(1)[0].hash)))


def test_fewer_signatures_than_the_threshold_are_refused(
    relay: Account, registry: Registry, signed: list[bytes]
) -> None:
    assert refused(relay, registry, b"".join(signed[:2])) == "TooFewSignatures: got 2, wanted 3"
    assert refused(relay, registry, b"") == "TooFewSignatures: got 0, wanted 3"


def test_more_signatures_than_the_threshold_count(relay: Account, registry: Registry) -> None:
    batch = make_batches(1)[0]
    everybody = quorum_of(threshold=5)
    assert relay.send(registry.anchor_transaction, batch, packed(registry.domain, batch.hash, everybody))


@pytest.mark.parametrize("rest", [-1, 1, 64])
def test_signatures_of_an_odd_length_are_refused(
    relay: Account, registry: Registry, signed: list[bytes], rest: int
) -> None:
    cut = (b"".join(signed) + bytes(SIGNATURE_BYTES))[: 3 * SIGNATURE_BYTES + rest]
    assert refused(relay, registry, cut) == f"WrongSignaturesLength: got {len(cut)}"


def test_the_same_validator_twice_is_refused(relay: Account, registry: Registry, signed: list[bytes]) -> None:
    said = refused(relay, registry, b"".join([signed[0], signed[1], signed[1]]))
    first, second = said.removeprefix("SignersNotAscending: got ").split(", previous ")
    assert first == second == quorum_of().validators[1]


def test_signers_out_of_order_are_refused(relay: Account, registry: Registry, signed: list[bytes]) -> None:
    assert refused(relay, registry, b"".join([signed[1], signed[0], signed[2]])).startswith("SignersNotAscending")


def test_a_stranger_is_refused(relay: Account, registry: Registry) -> None:
    six = quorum_of(range(6), threshold=6)
    said = refused(relay, registry, packed(registry.domain, make_batches(1)[0].hash, six, numbers=range(6)))
    (stranger,) = set(keys(range(6))) - set(keys(range(5)))
    assert said == f"NotValidator: got {stranger}, epoch 0"


def high_s(signature: bytes) -> bytes:
    s, v = ORDER - int.from_bytes(signature[32:64]), 55 - signature[64]
    return signature[:32] + s.to_bytes(32) + bytes([v])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "spoil",
    [
        high_s,
        lambda signature: signature[:64] + bytes([signature[64] - 27]),
        lambda signature: signature[:64] + b"\x1d",
        lambda signature: bytes(32) + signature[32:],
        lambda signature: signature[:32] + bytes(32) + signature[64:],
    ],
    ids=["high s", "v of 0 or 1", "v of 29", "r of zero", "s of zero"],
)
def test_a_malformed_signature_is_refused(
    relay: Account, registry: Registry, signed: list[bytes], place: int, spoil
) -> None:
    spoilt = [spoil(one) if k == place else one for k, one in enumerate(signed)]
    assert refused(relay, registry, b"".join(spoilt)) == f"MalformedSignature: place {place}"


def test_a_signature_over_another_contract_or_chain_does_not_count(relay: Account, registry: Registry) -> None:
    batch = make_batches(1)[0]
    for domain in (replace(registry.domain, chain_id=1), replace(registry.domain, contract=relay.signer.address)):
        said = refused(relay, registry, packed(domain, batch.hash))
        assert said.startswith(("NotValidator", "SignersNotAscending"))


def rotate(relay: Account, registry: Registry, quorum: Quorum, by: Quorum) -> bool:
    signed = packed(registry.domain, quorum.rotation_hash, by, numbers=range(10))
    return relay.send(registry.rotate_transaction, quorum, signed)


def test_the_next_validators_sign_and_the_old_ones_no_more(relay: Account, registry: Registry) -> None:
    first, second = make_batches(1, 1)
    assert anchor(relay, registry, first)
    after = quorum_of([3, 4, 5], threshold=2, epoch=1)
    assert rotate(relay, registry, after, by=quorum_of())
    assert registry.quorum(relay.chain) == after
    old = packed(registry.domain, second.hash, quorum_of([0, 1, 2]))
    assert relay.refusal(registry.anchor_transaction, second, old).startswith("NotValidator")
    assert anchor(relay, registry, second, after)


def test_who_returns_may_sign_again(relay: Account, registry: Registry) -> None:
    one, two = quorum_of([5, 6, 7], epoch=1), quorum_of(range(5), epoch=2)
    assert rotate(relay, registry, one, by=quorum_of())
    assert rotate(relay, registry, two, by=one)
    assert anchor(relay, registry, make_batches(1)[0], two)


def test_a_rotation_counts_once(relay: Account, registry: Registry) -> None:
    same = quorum_of(epoch=1)
    signed = packed(registry.domain, same.rotation_hash)
    assert relay.send(registry.rotate_transaction, same, signed)
    again = relay.refusal(registry.rotate_transaction, same, signed)
    assert again.startswith(("NotValidator", "SignersNotAscending"))
    assert registry.quorum(relay.chain) == same


def test_a_rotation_to_other_validators_than_were_signed_is_refused(relay: Account, registry: Registry) -> None:
    meant, other = quorum_of(range(4), epoch=1), quorum_of(range(6), epoch=1)
    signed = packed(registry.domain, meant.rotation_hash)
    for made_up in (other, replace(meant, threshold=1)):
        said = relay.refusal(registry.rotate_transaction, made_up, signed)
        assert said.startswith(("NotValidator", "SignersNotAscending"))
    assert registry.quorum(relay.chain) == quorum_of()


def test_a_rotation_by_too_few_is_refused(relay: Account, registry: Registry) -> None:
    after = quorum_of(epoch=1)
    signed = packed(registry.domain, after.rotation_hash, quorum_of(threshold=2))
    assert relay.refusal(registry.rotate_transaction, after, signed) == "TooFewSignatures: got 2, wanted 3"


ADDRESSES = tuple("0x" + n.to_bytes(20).hex() for n in range(40))


@pytest.mark.parametrize(
    ("validators", "threshold", "reason"),
    [
        ((), 1, "WrongValidatorsCount: got 0, most 32"),
        (ADDRESSES[1:34], 1, "WrongValidatorsCount: got 33, most 32"),
        (ADDRESSES[1:3], 0, "WrongThreshold: got 0, most 2"),
        (ADDRESSES[1:3], 3, "WrongThreshold: got 3, most 2"),
        (ADDRESSES[:2], 1, f"ValidatorsNotAscending: got {ADDRESSES[0]}, previous {ADDRESSES[0]}"),
        ((ADDRESSES[2], ADDRESSES[1]), 1, f"ValidatorsNotAscending: got {ADDRESSES[1]}, previous {ADDRESSES[2]}"),
        ((ADDRESSES[2], ADDRESSES[2]), 1, f"ValidatorsNotAscending: got {ADDRESSES[2]}, previous {ADDRESSES[2]}"),
    ],
)
def test_validators_that_can_be_no_quorum_are_refused_although_signed(
    relay: Account, registry: Registry, validators: tuple[str, ...], threshold: int, reason: str
) -> None:
    words = b"".join(bytes.fromhex(address[2:]).rjust(32, b"\0") for address in validators)
    struct = hash_values(
        ("bytes32", "uint64", "uint64", "bytes32"), (keccak(ROTATION_TYPE), 1, threshold, keccak(words))
    )
    call = RotateCall(
        validators=validators,  # type: ignore[arg-type]
        threshold=threshold,
        signatures=packed(registry.domain, struct),
    )
    assert relay.refusal(raw_call(registry, call.data)) == reason
    assert registry.quorum(relay.chain) == quorum_of()


def test_first_validators_are_those_of_the_deployment(relay: Account, deployed: Deployment) -> None:
    assert deployed.registry.quorum(relay.chain) == deployed.quorum == quorum_of()
    transaction = decode_signed(deployed.raw_transaction).transaction
    assert quorum_of_deployment(transaction) == quorum_of()
    for odd in (
        replace(transaction, to=deployed.registry.address),
        replace(transaction, data=transaction.data + b"\0"),
        replace(transaction, data=transaction.data[:-1]),
        replace(transaction, data=b"\0" + transaction.data[1:]),
    ):
        assert quorum_of_deployment(odd) is None


def test_a_deployment_with_validators_that_can_be_no_quorum_fails(genesis: Genesis, signer: LocalSigner) -> None:
    chain = EmbeddedChain(genesis)
    with pytest.raises(ContractsError, match="epoch: got 1, wanted 0"):
        deployment_data(quorum_of(epoch=1))
    raw, registry = sign_deployment(signer, quorum_of(), chain_id=31337, nonce=0, fees=FeePolicy())
    data = decode_signed(raw).transaction.data
    spoilt = data[:-64] + data[-32:] + data[-64:-32]  # the last two validators change places
    transaction = replace(decode_signed(raw).transaction, data=spoilt)
    receipt = chain.receipt(chain.send_raw(signer.sign(transaction)))
    assert receipt is not None
    assert not receipt.succeeded
    with pytest.raises(WrongChainError, match="code hash"):
        registry.check(chain)


def test_a_deployment_without_gas_is_an_error(genesis: Genesis, signer: LocalSigner) -> None:
    poor = EmbeddedChain(replace(genesis, balances={signer.address: 10**12}))
    with pytest.raises(AnchorError):
        deploy(poor, signer, quorum_of())


def test_another_chain_or_other_code_is_refused(relay: Account, registry: Registry) -> None:
    chain = relay.chain
    registry.check(chain)
    with pytest.raises(WrongChainError, match="got chain 31337, wanted 1"):
        replace(registry, chain_id=1).check(chain)
    with pytest.raises(WrongChainError, match="code hash"):
        replace(registry, address=LocalSigner(key_of(0)).address).check(chain)


def test_calls_are_read_back_and_nothing_else_is(registry: Registry) -> None:
    batch = make_batches(1, 2)[1]
    signed = packed(registry.domain, batch.hash)
    data = anchor_data(batch, signed)
    call = parse_anchor_data(data)
    assert call is not None
    assert (call.number, call.previous, call.windows_root, call.signatures) == (
        1,
        batch.previous,
        batch.windows_root,
        signed,
    )
    rotation = rotate_data(quorum_of(epoch=1), signed)
    assert parse_rotate_data(rotation) == RotateCall(validators=quorum_of().validators, threshold=3, signatures=signed)
    for parse, good in ((parse_anchor_data, data), (parse_rotate_data, rotation)):
        for odd in (b"", good[:3], good[:-1], good + b"\0", bytes([good[0] ^ 1]) + good[1:], good[:-1] + b"\1"):
            assert parse(odd) is None


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 32])
def test_gas_limits_suffice_for_any_quorum(chain: EmbeddedChain, signer: LocalSigner, count: int) -> None:
    account = Account(chain, signer)
    quorum = quorum_of(range(count), threshold=count)
    registry = deploy(chain, signer, quorum).registry
    for batch in make_batches(1, 1):
        signed = packed(registry.domain, batch.hash, quorum, numbers=range(count))
        assert account.send(registry.anchor_transaction, batch, signed)
    after = quorum_of(range(40, 40 + count), threshold=count, epoch=1)
    signed = packed(registry.domain, after.rotation_hash, quorum, numbers=range(count))
    assert account.send(registry.rotate_transaction, after, signed)


def test_an_anchor_under_three_of_five_costs_under_82000_gas(relay: Account, registry: Registry) -> None:
    for batch in make_batches(1, 1, 96, 96):
        gas = relay.gas(registry.anchor_transaction, batch, packed(registry.domain, batch.hash))
        assert gas is not None
        assert gas < 82_000
