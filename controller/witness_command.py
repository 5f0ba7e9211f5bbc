"""The terminal's side of ``gridpact witness``: whether a service shows everybody the same, and what is anchored."""

import argparse
import os
import sys
import time
from pathlib import Path

from contracts.chain_evidence import read_address
from contracts.errors import ContractsError, EvidenceError
from contracts.evidence import StatedHeader
from contracts.registry import Registry
from contracts.rpc_chain import RpcChain
from contracts.witness import check_held, check_seen, compare, held_batches, read_seen
from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK
from controller.witnessing import SplitViewError, WitnessFile

LONGEST_WAIT_S = 86_400


def run(arguments: argparse.Namespace) -> int:
    """Follow or compare; returns the exit code."""
    # What gRPC itself would write arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return _compare(arguments.files) if arguments.action == "compare" else _follow(arguments)
    except SplitViewError as err:
        print(f"CONTRADICTS: {err}")
        return CHECK_FAILED
    except (ControllerError, ContractsError) as err:
        print(f"gridpact witness: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return OK


def _compare(paths: list[Path]) -> int:
    if len(paths) < 2:
        raise InputError(f"FILE: got {len(paths)}, wanted two or more to compare")
    if len(set(map(str, paths))) < len(paths):
        raise InputError("FILE: got one twice, wanted each once")
    parties: dict[str, tuple[StatedHeader, ...]] = {}
    for path in paths:
        seen = parties[str(path)] = read_seen(path)
        check = check_seen(seen)
        if check.failures:
            print(f"CONTRADICTS: {path}: {check.failures[0]}")
            return CHECK_FAILED
        print(f"{path}: {len(seen):,} headers")
    found = compare(parties)
    if found.failures:
        print("\n".join(f"CONTRADICTS: {failure}" for failure in found.failures))
        return CHECK_FAILED
    print(f"AGREES: all saw the same, as far as the shortest goes: {min(map(len, parties.values())):,} headers")
    return OK


def _follow(arguments: argparse.Namespace) -> int:
    # Comparing needs none of this, and works where a service never ran.
    from controller.config import listen_address
    from controller.pki_files import read_client, read_identity
    from controller.services.witness_client import shown

    try:
        listen_address(arguments.listen)
    except ValueError as err:
        raise InputError(f"--listen: got {arguments.listen!r}, {err}") from err
    for name in ("every", "timeout"):
        if not 0 < getattr(arguments, name) <= LONGEST_WAIT_S:
            got = getattr(arguments, name)
            raise InputError(f"--{name}: got {got}, wanted more than 0, at most {LONGEST_WAIT_S}")
    anchored = _registry(arguments)
    files = read_client(arguments.pki, arguments.identity)
    microgrid = f"microgrids/{read_identity(arguments.pki, arguments.identity).grid}"
    witness = WitnessFile(arguments.file)
    if witness.seen and witness.seen[0].header.microgrid != microgrid:
        got = witness.seen[0].header.microgrid
        raise InputError(f"--file {arguments.file}: got headers of {got}, wanted those of {microgrid}")
    while True:
        try:
            # Before the headers, so that what the contract holds was settled already.
            held = None if anchored is None else held_batches(*anchored, microgrid)
            new = 0
            for first, headers in shown(
                arguments.listen, files, microgrid, first=max(0, len(witness.seen) - 1), timeout_s=arguments.timeout
            ):
                new += witness.take(first, headers)
            last = f", head {witness.seen[-1].header.hash.hex()}" if witness.seen else ""
            print(f"{len(witness.seen):,} headers, {new:,} new{last}", flush=True)
            if held is not None:
                found = check_held(microgrid, held, [each.header.hash for each in witness.seen])
                for failure in found.check.failures:
                    raise SplitViewError(failure)
                print(f"{found.headers:,} of them in {found.batches:,} batches on the chain", flush=True)
        except InputError:
            raise
        except (ControllerError, ContractsError) as err:
            if arguments.once:
                raise
            print(f"gridpact witness: {' '.join(str(err).split())}", file=sys.stderr, flush=True)
        if arguments.once:
            return OK
        time.sleep(arguments.every)


def _registry(arguments: argparse.Namespace) -> tuple[RpcChain, Registry] | None:
    if (arguments.rpc is None) != (arguments.contract is None):
        given, missing = ("--rpc", "--contract") if arguments.contract is None else ("--contract", "--rpc")
        raise InputError(f"{given}: got it without {missing}, wanted both or none")
    if arguments.rpc is None:
        return None
    try:
        address = read_address(arguments.contract.lower(), "contract")
    except EvidenceError as err:
        raise InputError(f"--contract: {err}") from err
    chain = RpcChain(arguments.rpc)
    registry = Registry(chain_id=chain.chain_id(), address=address)
    registry.check(chain)
    return chain, registry
