"""Who signed what is anchored: a validator of the registry's present set, or a refusal that says why not."""

from contracts.quorum import SignatureRefusedError, recover
from contracts.transactions import Address
from controller.refusals import Code, Refusal, invalid, not_now
from controller.registry_identity import RegistryIdentity
from controller.services.core import Core

ADDRESS_BYTES = 20


def require_registry(core: Core) -> RegistryIdentity:
    """The registry, or the refusal that there is none yet."""
    known = core.registry()
    if known is None:
        raise not_now("NO_REGISTRY", "anchoring: got no registry yet, wanted one that signatures count for")
    return known


def address_bytes(address: Address) -> bytes:
    """An address as messages carry it, 20 bytes."""
    return bytes.fromhex(address[2:])


def read_address(field: str, value: bytes) -> Address:
    """The address in a message."""
    if len(value) != ADDRESS_BYTES:
        raise invalid(field, got=f"{len(value)} bytes", wanted=f"an address of {ADDRESS_BYTES}")
    return Address("0x" + value.hex())


def signer_of(known: RegistryIdentity, struct_hash: bytes, signature: bytes) -> Address:
    """The validator who signed a struct hash.

    Raises
    ------
    Refusal
        INVALID_ARGUMENT where it is no signature, PERMISSION_DENIED where its signer is none of the validators.
    """
    try:
        signer = recover(known.domain.digest(struct_hash), signature)
    except SignatureRefusedError as err:
        got, _, wanted = str(err).removeprefix("signature: got ").partition(", wanted ")
        raise invalid("signature", got=got, wanted=wanted) from err
    if signer not in known.quorum.validators:
        raise Refusal(
            code=Code.PERMISSION_DENIED,
            reason="NOT_A_VALIDATOR",
            message=f"signature: got signer {signer}, wanted one of the {len(known.quorum.validators)} validators "
            f"of epoch {known.quorum.epoch} of registry {known.domain.contract} on chain {known.domain.chain_id}",
            metadata={"field": "signature", "signer": signer},
        )
    return signer
