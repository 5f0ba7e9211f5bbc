"""What a charging station does with charging profiles, whatever the version of the protocol; and a car.

Profiles are as both versions say them, with keys in snake case. Nothing here is shared with the driver.
"""

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta

RATED_W = 22_080
CAR_W = 11_000
VOLTAGE_V = 230


def parsed(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Charger:
    """One outlet, whose clock may be wrong, and which keeps its profiles over a loss of power.

    Parameters
    ----------
    flash : Path
        Where it keeps them.
    ahead_s : float
        s by which its clock is ahead; negative where it is behind.
    waits : bool
        Whether the car's transaction has to be begun from afar.
    """

    def __init__(self, flash, *, ahead_s=0.0, waits=False):
        self.flash = flash
        self.ahead = timedelta(seconds=ahead_s)
        self.profiles = json.loads(flash.read_text()) if flash.exists() else []
        self.transaction = None
        self.waits = waits

    def now(self):
        return datetime.now(UTC) + self.ahead

    def install(self, outlet, profile):
        """What a station says to a profile."""
        if profile["charging_profile_purpose"] == "TxProfile" and self.transaction is None:
            return "Rejected"
        same = ("charging_profile_purpose", "stack_level")
        kept = [
            one
            for one in self.profiles
            if one["number"] != profile["number"] and any(one[key] != profile[key] for key in same)
        ]
        self.profiles = [*kept, profile | {"outlet": outlet}]
        self.keep()
        return "Accepted"

    def clear(self, number):
        before = len(self.profiles)
        self.profiles = [one for one in self.profiles if one["number"] != number]
        self.keep()
        return "Accepted" if len(self.profiles) < before else "Unknown"

    def end(self):
        """The transaction is over, and what was for it."""
        self.transaction = None
        self.profiles = [one for one in self.profiles if one["charging_profile_purpose"] != "TxProfile"]

    def keep(self):
        lasting = [one for one in self.profiles if one["charging_profile_purpose"] != "TxProfile"]
        self.flash.write_text(json.dumps(lasting))

    def limit_w(self, at):
        """What it lets through at a time of its clock."""
        valid = [one for one in self.profiles if self.holds(one, at)]
        limits = [RATED_W]
        for purposes in (("ChargePointMaxProfile", "ChargingStationMaxProfile"), self.of_transactions(valid)):
            named = [one for one in valid if one["charging_profile_purpose"] in purposes]
            if named:
                limits.append(self.watts(max(named, key=lambda one: one["stack_level"]), at))
        return min(limits)

    @staticmethod
    def of_transactions(valid):
        own = any(one["charging_profile_purpose"] == "TxProfile" for one in valid)
        return ("TxProfile",) if own else ("TxDefaultProfile",)

    @staticmethod
    def holds(profile, at):
        schedule = profile["schedule"]
        start = parsed(schedule["start_schedule"])
        ends = [start + timedelta(seconds=schedule["duration"])] if "duration" in schedule else []
        ends += [parsed(profile["valid_to"])] if "valid_to" in profile else []
        return start <= at and all(at < end for end in ends)

    @staticmethod
    def watts(profile, at):
        schedule = profile["schedule"]
        passed_s = (at - parsed(schedule["start_schedule"])).total_seconds()
        periods = [one for one in schedule["charging_schedule_period"] if one["start_period"] <= passed_s]
        limit, phases = float(periods[-1]["limit"]), periods[-1].get("number_phases", 3)
        return limit if schedule["charging_rate_unit"] == "W" else limit * VOLTAGE_V * phases

    def composite(self, seconds, unit):
        """Periods of what it will let through from now on, as the protocol has them."""
        now = self.now()
        ends = {0.0}
        for profile in self.profiles:
            schedule = profile["schedule"]
            edges = [parsed(profile["valid_to"])] if "valid_to" in profile else []
            after_s = [one["start_period"] for one in schedule["charging_schedule_period"]]
            after_s += [schedule["duration"]] if "duration" in schedule else []
            edges += [parsed(schedule["start_schedule"]) + timedelta(seconds=seconds) for seconds in after_s]
            ends |= {(edge - now).total_seconds() for edge in edges}
        per_unit = 1 if unit == "W" else VOLTAGE_V * 3
        return [
            {
                "start_period": math.ceil(edge),
                "limit": round(self.limit_w(now + timedelta(seconds=edge + 1e-3)) / per_unit, 1),
                "number_phases": 3,
            }
            for edge in sorted(ends)
            if 0 <= edge < seconds
        ]

    def power_w(self):
        return min(self.limit_w(self.now()), CAR_W) if self.transaction is not None else 0

    async def follow(self, tell):
        """Tell the power whenever it changes, from the first profile on: before, nobody drives it."""
        last = None
        while True:
            power_w = self.power_w()
            if power_w != last and self.profiles:
                tell(power_w)
                last = power_w
            await asyncio.sleep(0.02)
