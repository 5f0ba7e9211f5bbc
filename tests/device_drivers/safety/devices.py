"""All devices of a measurement in one process. Usage: devices.py FOLDER BROKER_PORT PLACES; says a port for each.

At each place stand a relay with a timer and a SunSpec inverter (units 2 k + 1 and 2 k + 2 of the Modbus server whose
port is said first), a Shelly plug (one port each), a Tasmota plug (topic plug-k) and a switch without a timer
(switch-k). Each notes in FOLDER/edges when it is switched.
"""

import asyncio
import logging
import sys
from pathlib import Path

from tests.device_drivers.edges import Edges
from tests.device_drivers.modbus import server as modbus
from tests.device_drivers.mqtt import switch, tasmota
from tests.device_drivers.shelly import plug as shelly


async def main(folder, broker, places):
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
    for port in ports:
        print(port, flush=True)
    await asyncio.gather(*plugs)


if __name__ == "__main__":
    # How its connection ended is what each is there to get over.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
