"""All devices of a measurement in one process; says a port for each.

Usage: devices.py FOLDER BROKER_PORT PLACES STATION_PORT...; the ports are those that charging stations dial, two for
each place.

At each place stand a relay with a timer and a SunSpec inverter (units 2 k + 1 and 2 k + 2 of the Modbus server whose
port is said first), a Shelly plug (one port each), a Tasmota plug (topic plug-k) and a switch without a timer
(switch-k), and charging stations of both versions of OCPP. Each notes in FOLDER/edges when it is switched.
"""

import asyncio
import logging
import sys
from pathlib import Path

from tests.device_drivers.edges import Edges
from tests.device_drivers.modbus import server as modbus
from tests.device_drivers.mqtt import switch, tasmota
from tests.device_drivers.ocpp.charger import Charger
from tests.device_drivers.ocpp.station import stay
from tests.device_drivers.shelly import plug as shelly


def stations(folder, place, ports, noting):
    """A task for each charging station of a place, and one that notes what it does."""
    for version, port in zip(("1.6", "2.0.1"), ports, strict=True):
        kind = f"ocpp-{version.replace('.', '')}"
        note = noting(kind, place)
        charger = Charger(folder / f"{kind}-{place}.json")
        settings = {"version": version, "name": "CP1", "url": f"ws://127.0.0.1:{port}"}
        yield asyncio.create_task(stay(settings, charger))
        yield asyncio.create_task(charger.follow(lambda power_w, note=note: note(power_w > 0)))


async def main(folder, broker, places, dialled):
    edges = Edges(folder / "edges")

    def noting(kind, place):
        return lambda on: edges.note(f"{kind} {place}", on)

    units, ports, plugs = [], [], []
    connected = asyncio.Semaphore(0)
    for place in range(places):
        relay, inverter = modbus.relay(2 * place + 1), modbus.New(2 * place + 2)
        relay.switched, inverter.switched = noting("modbus-relay", place), noting("modbus-sunspec", place)
        units += [relay, inverter]
        flashes = [folder / f"{kind}-{place}.json" for kind in ("shelly", "tasmota")]
        ports.append(await shelly.serve(shelly.Plug(flashes[0], "", noting("shelly", place))))
        plug = tasmota.Plug(flashes[1], noting("mqtt-tasmota", place))
        plugs.append(asyncio.create_task(tasmota.serve(plug, broker, f"plug-{place}", connected.release)))
        name, note = f"bridge/switch-{place}", noting("mqtt-template", place)
        plugs.append(asyncio.create_task(switch.serve(broker, name, connected.release, note)))
    ports.insert(0, await modbus.serve(units))
    for _ in plugs:
        await connected.acquire()
    for place in range(places):
        plugs += stations(folder, place, dialled[2 * place : 2 * place + 2], noting)
    for port in ports:
        print(port, flush=True)
    await asyncio.gather(*plugs)


if __name__ == "__main__":
    # How its connection ended is what each is there to get over.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
