"""What each field of a community file means, with its unit: the one source of the JSON Schema's descriptions."""

from collections.abc import Mapping
from types import MappingProxyType


def meaning(part: str, name: str) -> str:
    """What a field means, of a part of the format: an object, or a kind of device.

    Raises
    ------
    KeyError
        If nobody has said so: a field without its meaning must not come into the format.
    """
    own = MEANINGS.get(part, {})
    return own[name] if name in own else MEANINGS["device"][name]


_COMMUNITY = {
    "version": "Version of this format.",
    "id": "Name of the community, for people.",
    "note": "Anything, for people; planning does not look at it.",
    "currency": "Of all prices and costs, for people; EUR if left out.",
    "horizon": "The market time units (MTUs) that are planned.",
    "profiles": "Series by name, which other series refer to.",
    "tariff": "What the grid asks and pays per kWh; a series alone is what it asks, and it pays nothing.",
    "peers": "The members, each behind a meter of its own.",
    "links": "Who may sell to whom; if left out, nobody.",
    "envelopes": "Limits on summed power; if left out, none.",
    "planned_kw": "By device id, the kW in each MTU that an earlier plan foresaw, positive when consumed.",
    "change_price": "Currency per kWh by which the new plan departs from planned_kw.",
}
_HORIZON = {
    "start": "Instant in UTC at which the first MTU begins, on a whole MTU, such as 2026-03-18T15:00:00Z.",
    "mtus": "Number of MTUs.",
    "mtu_minutes": "Length of an MTU in minutes; 15 if left out.",
    "time_zone": "IANA name such as Europe/Berlin, in which days and clock times are meant; UTC if left out.",
}
_TARIFF = {
    "import_price": "Currency per kWh that a member pays the grid.",
    "export_price": "Currency per kWh that the grid pays a member, never above import_price; 0 if left out.",
}
_SERIES = {
    "profile": "Name of one of the community's profiles.",
    "times": "Factor by which the profile is multiplied; 1 if left out.",
    "periods": "Times of the day with a value each, every day; of those that overlap the first counts.",
    "otherwise": "Value outside of all periods, in the unit of the series.",
    "from": "Local time of day, HH:MM, from which on the value holds for MTUs that begin then.",
    "to": "Local time of day, HH:MM, before which they begin; no later than 'from' means across midnight.",
    "value": "Value of the series in this period, in the unit of the series.",
}
_PEER = {
    "id": "Id of the member, unique in the community.",
    "note": "Anything, for people.",
    "section": "Feeder section that its meter hangs on.",
    "devices": "What it has: loads, plants, stores, appliances, any number of each kind.",
}
_LINK = {
    "seller": "Id of the peer that may sell.",
    "buyer": "Id of the peer that may buy from it.",
    "peers": "Ids of two peers: a link in both directions.",
    "seller_preference": "Currency per kWh of dislike that the seller feels and nobody pays.",
    "buyer_preference": "Currency per kWh of dislike that the buyer feels and nobody pays.",
    "network_charge": "Currency per kWh that the buyer pays the grid's operator.",
    "all_pairs": "Links between all peers, in both directions, at these costs.",
    "same_section": "Links between all peers of a section, in both directions, at these costs.",
}
_ENVELOPE = {
    "name": "Name of the limit, for messages.",
    "note": "Anything, for people.",
    "peer": "Id of the one peer whose power is limited.",
    "section": "Feeder section whose peers' summed power is limited.",
    "peers": "Ids of the peers whose summed power is limited, or 'all' for the connection point.",
    "lower_kw": "Series, kW: the least net consumption (negative: the most production); null for no bound.",
    "upper_kw": "Series, kW: the most net consumption; null for no bound.",
}
_DEVICE = {
    "id": "Id of the device, unique in the community.",
    "kind": "What kind of device it is.",
    "note": "Anything, for people.",
    "first_mtu": "First MTU of its window, from 0; the horizon's first if left out.",
    "first": "The same as local time: '18:30', or '07:00+1' on the day after the one the horizon begins in.",
    "end_mtu": "MTU before which its window ends; the horizon's end if left out.",
    "end": "The same as local time: '18:30', or '07:00+1' on the day after the one the horizon begins in.",
    "running": "Whether it is on when the horizon begins.",
    "elapsed_mtus": "MTUs that it has been on, or off, when the horizon begins; null: long enough for any change.",
    "min_on_mtus": "Least length of a run, in MTUs.",
    "min_off_mtus": "Least length of a rest after a run, in MTUs.",
    "start_cost": "Currency per start.",
    "charge_efficiency": "Part of the energy taken at the terminals that is stored.",
    "discharge_efficiency": "Part of the energy taken from the store that arrives at the terminals.",
    "cycle_cost": "Wear: currency per kWh given back at the terminals.",
}
_GENERATOR = {
    "min_kw": "Least output while up, kW.",
    "max_kw": "Most output, kW.",
    "quadratic_cost": "a, currency per kW^2 h: an hour up at g kW costs a/2 g^2 + b g + c.",
    "linear_cost": "b, currency per kWh: an hour up at g kW costs a/2 g^2 + b g + c.",
    "running_cost": "c, currency per hour up: an hour up at g kW costs a/2 g^2 + b g + c.",
    "min_up_mtus": "Least length of a run, in MTUs.",
    "min_down_mtus": "Least length of a rest, in MTUs.",
}
_BATTERY = {
    "max_charge_kw": "Most power while charging, kW at the terminals.",
    "max_discharge_kw": "Most power while discharging, kW at the terminals.",
    "capacity_kwh": "Usable energy, kWh.",
    "initial_kwh": "Energy stored when the horizon begins, kWh.",
    "final_kwh": "Energy wanted in store when the horizon ends, kWh.",
    "min_kwh": "Reserve, kWh; a battery that starts below it is not drawn on further.",
    "self_discharge": "Part of the stored energy that is lost in an hour.",
    "final_value": "Currency per kWh stored when the horizon ends.",
    "waiting_cost": "Currency per kWh missing to a full store, and hour: makes it charge early at equal prices.",
}
_VEHICLE = {
    "arrival_mtu": "MTU from which on it is plugged in, from 0; the horizon's first if left out.",
    "arrival": "The same as local time: '18:30', or '18:30-1' on the day before the one the horizon begins in.",
    "departure_mtu": "MTU before which it leaves; the horizon's end if left out.",
    "departure": "The same as local time: '07:00', or '07:00+1' on the day after the one the horizon begins in.",
    "capacity_kwh": "Usable energy of its battery, kWh.",
    "initial_kwh": "Energy stored on arrival, kWh.",
    "required_kwh": "Energy wanted in store on departure, kWh.",
    "levels": "Ranges of charging power, ascending, one for each number of phases; it may also not charge.",
    "max_discharge_kw": "Most power that it gives back, kW at the terminals; 0: none.",
    "min_kwh": "What giving back leaves in it at least, kWh.",
    "waiting_cost": "Currency per kWh missing to a full battery, and hour: makes it charge early at equal prices.",
}
_PROGRAMME = {
    "phases": "Stretches that nothing interrupts, one after the other.",
    "follows": "Id of the programme of the same peer after whose end it begins: a dryer follows its washer.",
    "min_delay_mtus": "Least MTUs between the end of what it follows and its own begin.",
    "max_delay_mtus": "Most MTUs between the end of what it follows and its own begin.",
    "progress": "How far it has come, if it was begun before the horizon.",
    "waiting_cost": "Currency per kWh consumed later, and hour: makes it run early where prices are equal.",
}
_INTERRUPTIBLE = {
    "power_kw": "Power while on, kW.",
    "required_mtus": "MTUs that it still has to run, over the whole horizon.",
    "max_starts": "Starts allowed in a local day; null for any number.",
    "starts_today": "Starts made on the first day before the horizon begins.",
    "waiting_cost": "Currency per kWh consumed later, and hour: makes it run early where prices are equal.",
}
_THERMOSTATIC = {
    "rated_kw": "Electric power while on, kW; the most where it modulates.",
    "modulating": "Whether it can hold any power from min_kw to rated_kw; else it is on or off.",
    "min_kw": "Least electric power while on of one that modulates, kW.",
    "heat_capacity_kwh_per_k": "Heat that warms what it heats or cools by 1 K, kWh/K: litres of water x 0.001163.",
    "loss_kw_per_k": "Heat that it loses to its surroundings for each K of difference, kW/K.",
    "performance": "Series: thermal kW per electric kW (COP); positive heats, negative cools.",
    "ambient_c": "Series, degrees Celsius around it.",
    "draw_kw": "Series, kW of heat taken out, such as hot water; negative where heat comes in, such as sun or people.",
    "lower_c": "Series, degrees Celsius: lower end of the comfort band at the end of each MTU.",
    "upper_c": "Series, degrees Celsius: upper end of the comfort band at the end of each MTU.",
    "initial_c": "Degrees Celsius when the horizon begins.",
    "discomfort_cost": "Currency per K outside the band, and hour.",
}
_PHASE = {
    "power_kw": "kW in each of its MTUs as a list, or one number for as many MTUs as 'mtus' says.",
    "mtus": "Length in MTUs, where power_kw is one number.",
    "min_pause_mtus": "Least MTUs between the end of the phase before and its begin; 0 if left out.",
    "max_pause_mtus": "Most MTUs between the end of the phase before and its begin; 0 if left out.",
}
_LEVEL = {
    "lower_kw": "Least charging power of this range, kW at the terminals.",
    "upper_kw": "Most charging power of this range, kW at the terminals.",
}
_PROGRESS = {
    "phase": "Index, from 0, of the phase that runs, or that was the last to end.",
    "elapsed_mtus": "MTUs of that phase that are done.",
    "paused_mtus": "MTUs since it ended; 0 while it runs.",
}

MEANINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "community": _COMMUNITY,
        "horizon": _HORIZON,
        "tariff": _TARIFF,
        "series": _SERIES,
        "peer": _PEER,
        "link": _LINK,
        "envelope": _ENVELOPE,
        "device": _DEVICE,
        "fixed_load": {"power_kw": "Series, kW that it consumes."},
        "curtailable": {
            "available_kw": "Series, kW of production that sun or wind allow; not negative.",
            "curtailment_cost": "Currency per kWh available and not produced.",
        },
        "generator": _GENERATOR,
        "battery": _BATTERY,
        "electric_vehicle": _VEHICLE,
        "programme": _PROGRAMME,
        "interruptible": _INTERRUPTIBLE,
        "thermostatic": _THERMOSTATIC,
        "phase": _PHASE,
        "level": _LEVEL,
        "progress": _PROGRESS,
    }
)
"""By part of the format and field; what several kinds of device share stands under ``device``."""
