"""The terminal's side of ``gridpact sample``: a community of realistic devices on standard output."""

import argparse
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from controller.errors import InputError
from controller.exit_codes import BAD_INPUT, INTERRUPTED, OK
from controller.plan.sample import Sampling, write_sample

WORDS: Mapping[str, Literal["binding", "none"]] = MappingProxyType({"binding": "binding", "none": "none"})


def run(arguments: argparse.Namespace) -> int:
    """Write a sample; returns the exit code."""
    try:
        sampling = Sampling(
            homes=arguments.homes,
            seed=arguments.seed,
            mtus=arguments.mtus,
            mtu_minutes=arguments.mtu_minutes,
            links=arguments.links,
            transformer=_transformer(arguments.transformer),
        )
        for piece in write_sample(sampling):
            sys.stdout.write(piece)
    except InputError as err:
        print(f"gridpact sample: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gridpact sample: interrupted", file=sys.stderr)
        return INTERRUPTED
    return OK


def _transformer(text: str) -> float | Literal["binding", "none"]:
    try:
        return WORDS[text] if text in WORDS else float(text)
    except ValueError as err:
        raise InputError(f"--transformer: got {text!r}, wanted kW per home, 'binding' or 'none'") from err
