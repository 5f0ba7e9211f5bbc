"""The terminal's side of ``gridpact driver``."""

import argparse
import asyncio
import json
import logging
import math
import os
import signal
import sys

from controller.exit_codes import BAD_INPUT, CHECK_FAILED, INTERRUPTED, OK
from device_drivers.address import DeviceUrl
from device_drivers.conformance.bench import open_bench
from device_drivers.conformance.result import Result, Verdict
from device_drivers.conformance.suite import run as run_suite
from device_drivers.errors import DriverError, InvalidValueError

LONGEST_WAIT_S = 600
SETTLED_S = 30.0
"""After which everything that stays of a driver is there."""


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked; returns the exit code."""
    # What libraries write arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for library in ("pymodbus", "mqtt"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    try:
        if arguments.action == "check":
            return asyncio.run(_check(arguments))
        return _drive(arguments)
    except DriverError as err:
        print(f"gridpact driver: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _drive(arguments: argparse.Namespace) -> int:
    if arguments.config is None:
        raise InvalidValueError("got neither --config FILE nor an action, wanted one; see gridpact driver --help")
    from controller.logs import configure
    from controller.pauses import ALL_S, collect_all, shorten_pauses
    from device_drivers.config import load_config
    from device_drivers.driving import Driving, read_credentials
    from device_drivers.uplink import Uplink

    config = load_config(arguments.config)
    configure(arguments.log_level, arguments.log_format, sys.stderr)

    async def tend() -> None:
        """Spare the collector what stays: it would look at every device's parts again and again."""
        await asyncio.sleep(SETTLED_S)
        shorten_pauses()
        while True:
            await asyncio.sleep(ALL_S)
            await collect_all()

    async def drive() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        uplink = Uplink(config.controller, config.pki, config.identity, read_credentials)
        driving = Driving(config, uplink)
        count = len(config.devices)
        print(f"driving {count} device{'s' * (count != 1)} for {config.controller}", flush=True)
        tending = asyncio.create_task(tend())
        try:
            await driving.run(stopping)
        finally:
            tending.cancel()

    asyncio.run(drive())
    return OK


async def _check(arguments: argparse.Namespace) -> int:
    for option in ("limit", "settle"):
        value = getattr(arguments, option)
        if not (math.isfinite(value) and 0 < value <= LONGEST_WAIT_S):
            raise InvalidValueError(f"--{option}: got {value:g}, wanted more than 0, at most {LONGEST_WAIT_S}")
    if not 0 < arguments.power_w <= 10**9:
        raise InvalidValueError(f"--power-w: got {arguments.power_w}, wanted 1 to {10**9}")
    bench = await open_bench(
        DeviceUrl.parse(arguments.url),
        power_w=arguments.power_w,
        limit_s=arguments.limit,
        settle_s=arguments.settle,
    )
    # That controllers are lost is part of what is checked.
    logging.getLogger("device_drivers").addHandler(logging.NullHandler())
    results = []
    async for result in run_suite(bench):
        results.append(result)
        print(_as_json(result) if arguments.json else result, flush=True)
    failed = sum(result.verdict is Verdict.FAILED for result in results)
    if not arguments.json:
        counts = ((verdict, sum(result.verdict is verdict for result in results)) for verdict in Verdict)
        print(", ".join(f"{count} {verdict.name.lower()}" for verdict, count in counts))
    return CHECK_FAILED if failed else OK


def _as_json(result: Result) -> str:
    return json.dumps(
        {
            "check": result.check,
            "verdict": result.verdict.name.lower(),
            "detail": result.detail,
            "took_s": round(result.took_s, 3),
        }
    )
