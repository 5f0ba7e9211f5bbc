"""The terminal's side of ``gridpact serve``: settings in, a service that runs until it is told to stop."""

import argparse
import asyncio
import logging
import os
import sys
from contextlib import ExitStack
from typing import Any

from controller.config import ServeConfig, load_config
from controller.config_text import as_toml
from controller.errors import ControllerError, InputError, StoreError
from controller.exit_codes import BAD_INPUT, INTERRUPTED, OK
from controller.logs import configure

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit code."""
    # What gRPC itself would write arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        config = load_config(arguments.config, _overrides(arguments))
        if arguments.print_config:
            print(as_toml(config), end="")
            return OK
        configure(config.log.level, config.log.format, sys.stderr)
        _serve(config)
    except (InputError, StoreError, ControllerError) as err:
        print(f"gridpact serve: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says, nested as the sections are."""
    overrides: dict[str, Any] = {}
    for text in arguments.set:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--set: got {key!r}, wanted KEY=VALUE, such as log.level=debug")
        *sections, name = key.split(".")
        place = overrides
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InputError(f"--set: got {key!r} beside a value for {section!r}")
        place[name] = value
    for name in ("data", "pki", "listen"):
        if getattr(arguments, name) is not None:
            overrides[name] = getattr(arguments, name)
    if arguments.development:
        overrides["development"] = True
    return overrides


def _serve(config: ServeConfig) -> None:
    # Loaded late: settings are refused, and helped with, before seconds of imports.
    from controller.serving import open_parts, serve

    with ExitStack() as stack:
        parts = open_parts(config, stack)
        asyncio.run(serve(config, parts))
    log.info("stopped")
