"""Validators of the village: a registry that they sign for, and clients of theirs."""

from contracts.quorum import Domain, Quorum, sign
from contracts.transactions import Address, LocalSigner
from controller.registry_identity import RegistryIdentity
from controller.services.validator_client import ServiceClient
from controller.store import batches
from controller.validating.journal import SigningJournal
from controller.validator import Validator

NAME = "microgrids/village"
KEYS = tuple(bytes([k]) * 32 for k in range(1, 6))
DOMAIN = Domain(chain_id=7, contract=Address("0x" + "0c" * 20))


def address(key):
    return LocalSigner(key).address


def registry(keys=KEYS, threshold=3, epoch=0, domain=DOMAIN):
    """A registry of these validators."""
    quorum = Quorum(epoch=epoch, threshold=threshold, validators=tuple(sorted(map(address, keys))))
    return RegistryIdentity(domain=domain, genesis=None, quorum=quorum)


def client(site, name="val", grid="village"):
    """What a validator asks of a site's service."""
    return ServiceClient(site.channel(f"spiffe://{grid}/validator/{name}"), f"microgrids/{grid}")


def signed_batch(site, number=0, key=KEYS[0], domain=DOMAIN):
    """The fields of a signature under a batch of the village's."""
    batch = site.database.run(batches.batch, "village", number).batch
    return {
        "parent": NAME,
        "number": number,
        "hash": batch.hash,
        "signature": sign(key, domain.digest(batch.hash)),
    }


class Signatory:
    """A validator with a journal of its own.

    Parameters
    ----------
    service : that it asks
    folder : of its journal
    key : its own
    microgrid : whose batches
    """

    def __init__(self, service, folder, key=KEYS[0], *, microgrid=NAME, **parts):
        self.service, self.folder, self.key, self.parts = service, folder, key, parts
        self.microgrid = microgrid
        self.start()

    def start(self):
        """Begin, or begin again after an end."""
        self.journal = SigningJournal(self.folder)
        self.validator = Validator(self.service, self.microgrid, self.key, self.journal, **self.parts)

    def stop(self):
        self.journal.close()

    def restart(self):
        self.stop()
        self.start()

    def turn(self):
        return list(self.validator.turn())
