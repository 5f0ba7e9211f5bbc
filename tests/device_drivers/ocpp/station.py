"""A charging station on the `ocpp` library's charge point, over a real WebSocket. What makes it one is in charger.py.

Usage: python -m tests.device_drivers.ocpp.station SETTINGS PORT

SETTINGS is JSON: `version`, `name`, `url`, `flash`, and where they are wanted `password`, `ca`, `ahead_s`, `waits`,
`refuses` (answers by action), `error`. PORT is said back on the first line.
"""

import asyncio
import base64
import json
import logging
import ssl
import sys
from contextlib import suppress
from pathlib import Path

from ocpp import v16, v201
from ocpp.exceptions import NotImplementedError as NotAnswered
from ocpp.routing import after, on
from ocpp.v16 import call as call16
from ocpp.v16 import call_result as result16
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201
from websockets.asyncio.client import connect

from tests.device_drivers.ocpp.charger import Charger

RECONNECT_S = 0.1
# How its connections end is what it is there to get over.
QUIET = logging.Logger("station", logging.CRITICAL + 1)


def stamp(instant):
    # In whole seconds, as many stations say it.
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(value):
    """Without the decimals that the library makes of numbers."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value if isinstance(value, str | int) else float(value)


class Station:
    """What both versions have in common."""

    def refuse(self, action):
        """A status other than the right one, where the test wants that."""
        answer = self.settings.get("refuses", {}).get(action)
        if answer == "error":
            raise NotAnswered
        return answer


class Station16(Station, v16.ChargePoint):
    async def introduce(self):
        charger = self.charger
        await self.call(call16.BootNotification(charge_point_vendor="Stand", charge_point_model="In"))
        if not charger.waits and charger.transaction is None:
            started = call16.StartTransaction(
                connector_id=1, id_tag="CAR", meter_start=0, timestamp=stamp(charger.now())
            )
            charger.transaction = (await self.call(started)).transaction_id
        await self.say_status()

    async def say_status(self):
        status = "Preparing" if self.charger.transaction is None else "Charging"
        error = self.settings.get("error", "NoError")
        await self.call(call16.StatusNotification(connector_id=1, error_code=error, status=status))

    @on("SetChargingProfile")
    def set_profile(self, connector_id, cs_charging_profiles):
        profile = plain(cs_charging_profiles)
        profile |= {"number": profile["charging_profile_id"], "schedule": profile.pop("charging_schedule")}
        status = self.refuse("SetChargingProfile") or self.charger.install(connector_id, profile)
        return result16.SetChargingProfile(status=status)

    @on("ClearChargingProfile")
    def clear_profile(self, id):
        return result16.ClearChargingProfile(status=self.charger.clear(id))

    @on("GetCompositeSchedule")
    def composite(self, connector_id, duration, charging_rate_unit):
        if self.refuse("GetCompositeSchedule"):
            return result16.GetCompositeSchedule(status="Rejected")
        schedule = {
            "duration": duration,
            "charging_rate_unit": charging_rate_unit,
            "charging_schedule_period": self.charger.composite(duration, charging_rate_unit),
        }
        start = stamp(self.charger.now())
        return result16.GetCompositeSchedule(
            status="Accepted", connector_id=connector_id, schedule_start=start, charging_schedule=schedule
        )

    @on("TriggerMessage")
    def trigger(self, requested_message, connector_id=None):
        return result16.TriggerMessage(status=self.refuse("TriggerMessage") or "Accepted")

    @after("TriggerMessage")
    async def triggered(self, requested_message, connector_id=None):
        if requested_message == "StatusNotification":
            await self.say_status()
            return
        power_w = self.charger.power_w()
        values = [
            {"value": f"{power_w / 3:.2f}", "measurand": "Power.Active.Import", "phase": f"L{n}", "unit": "W"}
            for n in (1, 2, 3)
        ]
        values.append({"value": "1234", "unit": "Wh"})
        sample = {"timestamp": stamp(self.charger.now()), "sampled_value": values}
        transaction = self.charger.transaction
        await self.call(
            call16.MeterValues(connector_id=connector_id or 0, meter_value=[sample], transaction_id=transaction)
        )

    @on("RemoteStartTransaction")
    def start_remotely(self, id_tag, connector_id):
        return result16.RemoteStartTransaction(status="Accepted")

    @after("RemoteStartTransaction")
    async def started_remotely(self, id_tag, connector_id):
        started = call16.StartTransaction(
            connector_id=1, id_tag=id_tag, meter_start=0, timestamp=stamp(self.charger.now())
        )
        self.charger.transaction = (await self.call(started)).transaction_id
        await self.say_status()

    @on("RemoteStopTransaction")
    def stop_remotely(self, transaction_id):
        same = transaction_id == self.charger.transaction
        return result16.RemoteStopTransaction(status="Accepted" if same else "Rejected")

    @after("RemoteStopTransaction")
    async def stopped_remotely(self, transaction_id):
        self.charger.end()
        await self.call(
            call16.StopTransaction(
                transaction_id=transaction_id, meter_stop=9, timestamp=stamp(self.charger.now()), reason="Remote"
            )
        )
        await self.say_status()


class Station201(Station, v201.ChargePoint):
    async def introduce(self):
        boot = call201.BootNotification(charging_station={"vendor_name": "Stand", "model": "In"}, reason="PowerUp")
        await self.call(boot)
        if not self.charger.waits and self.charger.transaction is None:
            self.charger.transaction = "tx-1"
            await self.say_transaction("Started", "Authorized")
        await self.say_status()

    async def say_status(self):
        await self.call(
            call201.StatusNotification(
                timestamp=stamp(self.charger.now()), connector_status="Occupied", evse_id=1, connector_id=1
            )
        )

    async def say_transaction(self, event, why, **more):
        transaction = self.charger.transaction
        if event == "Ended":
            self.charger.end()
        await self.call(
            call201.TransactionEvent(
                event_type=event,
                timestamp=stamp(self.charger.now()),
                trigger_reason=why,
                seq_no=0,
                transaction_info={"transaction_id": transaction},
                evse={"id": 1, "connector_id": 1},
                **more,
            )
        )

    @on("SetChargingProfile")
    def set_profile(self, evse_id, charging_profile):
        profile = plain(charging_profile)
        profile |= {"number": profile["id"], "schedule": profile.pop("charging_schedule")[0]}
        if profile.get("transaction_id", self.charger.transaction) != self.charger.transaction:
            return result201.SetChargingProfile(status="Rejected", status_info={"reason_code": "TxNotFound"})
        refused = self.refuse("SetChargingProfile")
        if refused:
            return result201.SetChargingProfile(status=refused, status_info={"reason_code": "NoPermission"})
        return result201.SetChargingProfile(status=self.charger.install(evse_id, profile))

    @on("ClearChargingProfile")
    def clear_profile(self, charging_profile_id):
        return result201.ClearChargingProfile(status=self.charger.clear(charging_profile_id))

    @on("GetCompositeSchedule")
    def composite(self, evse_id, duration, charging_rate_unit):
        if self.refuse("GetCompositeSchedule"):
            return result201.GetCompositeSchedule(status="Rejected")
        schedule = {
            "evse_id": evse_id,
            "duration": duration,
            "schedule_start": stamp(self.charger.now()),
            "charging_rate_unit": charging_rate_unit,
            "charging_schedule_period": self.charger.composite(duration, charging_rate_unit),
        }
        return result201.GetCompositeSchedule(status="Accepted", schedule=schedule)

    @on("TriggerMessage")
    def trigger(self, requested_message, evse=None):
        return result201.TriggerMessage(status=self.refuse("TriggerMessage") or "Accepted")

    @after("TriggerMessage")
    async def triggered(self, requested_message, evse=None):
        if requested_message == "StatusNotification":
            await self.say_status()
        elif requested_message == "TransactionEvent":
            if self.charger.transaction is not None:
                await self.say_transaction("Updated", "Trigger")
        else:
            power = {
                "value": self.charger.power_w() / 1000,
                "measurand": "Power.Active.Import",
                "unit_of_measure": {"unit": "kW"},
            }
            sample = {"timestamp": stamp(self.charger.now()), "sampled_value": [power]}
            await self.call(call201.MeterValues(evse_id=0 if evse is None else evse["id"], meter_value=[sample]))

    @on("RequestStartTransaction")
    def start_remotely(self, remote_start_id, id_token, evse_id):
        return result201.RequestStartTransaction(status="Accepted")

    @after("RequestStartTransaction")
    async def started_remotely(self, remote_start_id, id_token, evse_id):
        self.charger.transaction = "tx-2"
        await self.say_transaction("Started", "RemoteStart", id_token=id_token)

    @on("RequestStopTransaction")
    def stop_remotely(self, transaction_id):
        same = transaction_id == self.charger.transaction
        return result201.RequestStopTransaction(status="Accepted" if same else "Rejected")

    @after("RequestStopTransaction")
    async def stopped_remotely(self, transaction_id):
        await self.say_transaction("Ended", "RemoteStop")


STATIONS = {"1.6": (Station16, "ocpp1.6"), "2.0.1": (Station201, "ocpp2.0.1")}


async def stay(settings, charger):
    """Connect, again and again."""
    make, subprotocol = STATIONS[settings["version"]]
    headers = {}
    if "password" in settings:
        said = f"{settings['name']}:{settings['password']}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(said).decode()
    context = ssl.create_default_context(cafile=settings["ca"]) if "ca" in settings else None
    introduced = False
    while True:
        with suppress(Exception):  # whatever ends its connection, a station connects again
            async with connect(
                f"{settings['url']}/{settings['name']}",
                subprotocols=[settings.get("subprotocol", subprotocol)],
                additional_headers=headers,
                ssl=context,
                proxy=None,
                open_timeout=2,
            ) as socket:
                station = make(settings["name"], socket, response_timeout=2, logger=QUIET)
                station.charger, station.settings = charger, settings
                hearing = asyncio.create_task(station.start())
                try:
                    if not introduced:
                        await station.introduce()
                        introduced = True
                    await hearing
                finally:
                    hearing.cancel()
        await asyncio.sleep(RECONNECT_S)


async def main():
    settings = json.loads(sys.argv[1])
    charger = Charger(Path(settings["flash"]), ahead_s=settings.get("ahead_s", 0), waits=settings.get("waits", False))
    print(sys.argv[2], flush=True)
    await stay(settings, charger)


if __name__ == "__main__":
    asyncio.run(main())
