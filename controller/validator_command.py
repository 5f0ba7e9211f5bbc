"""The terminal's side of ``gridpact validator``."""

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK

if TYPE_CHECKING:
    from contracts.quorum import Domain
    from controller.validator import Validator

PASSWORD = "GRIDPACT_VALIDATOR_PASSWORD"
LONGEST_S = 3600
ADDRESS_DIGITS = 40


def run(arguments: argparse.Namespace) -> int:
    """Follow, recompute and sign; returns the exit code."""
    # What gRPC itself would write arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from controller.validating.evidence import DoubtError

    try:
        return _run(arguments)
    except InputError as err:
        print(f"gridpact validator: {err}", file=sys.stderr)
        return BAD_INPUT
    except DoubtError as err:
        print(f"gridpact validator: refused: {' '.join(str(err).split())}", file=sys.stderr)
        return CHECK_FAILED
    except ControllerError as err:
        print(f"gridpact validator: {' '.join(str(err).split())}", file=sys.stderr)
        return CHECK_FAILED
    except KeyboardInterrupt:
        return OK


def _run(arguments: argparse.Namespace) -> int:
    from controller.pki_files import read_client, read_identity
    from controller.services.validator_client import ServiceClient, dial
    from controller.validating.journal import SigningJournal
    from controller.validator import Validator
    from controller.validator_key import make_key, read_key

    domain = _checked(arguments)
    files = read_client(arguments.pki, arguments.identity)
    microgrid = f"microgrids/{read_identity(arguments.pki, arguments.identity).grid}"
    if not arguments.key.exists():
        print(f"made a key in {arguments.key}", flush=True)
        make_key(arguments.key)
    key = read_key(arguments.key, password=_password(arguments.password_file))
    journal = SigningJournal(arguments.data)
    with dial(arguments.listen, files) as channel:
        service = ServiceClient(channel, microgrid, timeout_s=arguments.timeout)
        validator = Validator(service, microgrid, key, journal, domain=domain, first=arguments.first)
        print(f"validator {validator.address} of {microgrid}", flush=True)
        try:
            if arguments.once:
                _turn(validator)
                return OK
            _follow(validator, arguments.period)
        finally:
            journal.close()
    return OK


def _follow(validator: "Validator", period_s: float) -> None:
    """Look again and again: a service that does not answer may be back the next time, what is wrong stays wrong."""
    from controller.validating.evidence import DoubtError

    while True:
        try:
            _turn(validator)
        except (DoubtError, InputError):
            raise
        except ControllerError as err:
            print(f"waiting: {' '.join(str(err).split())}", file=sys.stderr, flush=True)
        threading.Event().wait(period_s)


def _turn(validator: "Validator") -> None:
    for signing in validator.turn():
        print(f"signed batch {signing.number}: 0x{signing.hash.hex()}, {len(signing.windows)} windows", flush=True)
        for window in signing.windows:
            for taken in window.taken:
                print(f"  {window.window} run {window.run}: taken as stated: {taken}", flush=True)


def _checked(arguments: argparse.Namespace) -> "Domain | None":
    from controller.config import listen_address

    try:
        listen_address(arguments.listen)
    except ValueError as err:
        raise InputError(f"--listen: got {arguments.listen!r}, {err}") from err
    for name in ("period", "timeout"):
        if not 0 < getattr(arguments, name) <= LONGEST_S:
            raise InputError(f"--{name}: got {getattr(arguments, name)}, wanted more than 0, at most {LONGEST_S}")
    if arguments.first < 0:
        raise InputError(f"--from: got {arguments.first}, wanted 0 or more")
    return _domain(arguments.chain_id, arguments.contract)


def _domain(chain_id: int | None, contract: str | None) -> "Domain | None":
    from contracts.quorum import Domain
    from contracts.transactions import Address

    if chain_id is None and contract is None:
        return None
    if chain_id is None or contract is None:
        raise InputError("--chain-id and --contract: got one of the two, wanted both or none")
    if chain_id < 1:
        raise InputError(f"--chain-id: got {chain_id}, wanted 1 or more")
    digits = contract.lower().removeprefix("0x")
    if len(digits) != ADDRESS_DIGITS or set(digits) - set("0123456789abcdef"):
        raise InputError(f"--contract: got {contract!r:.80}, wanted 0x and {ADDRESS_DIGITS} digits")
    return Domain(chain_id=chain_id, contract=Address("0x" + digits))


def _password(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(PASSWORD)
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"--password-file: {path}: cannot be read") from err
