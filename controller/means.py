"""What a member's devices and forecasts give and take in some MTUs."""

from collections.abc import Mapping, Sequence

from controller.capability import Means, Store
from controller.flexibility import Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device, DeviceState, Microgrid, Order


def means_of(
    microgrid: Microgrid, starts: Sequence[int], order: Order, own: Sequence[Device], states: Mapping[str, DeviceState]
) -> Means:
    """What a member has in each MTU that starts at ``starts``, by an order whose forecasts begin with the first."""
    produced, flexible = [0] * len(starts), [0] * len(starts)
    stores = []
    for device in own:
        state = states.get(device.id)
        stored = None if state is None else state.stored_wh
        match device.flexibility:
            case Plant(rated_w=rated_w):
                forecast = order.production.get(device.id, ())
                for k in range(min(len(starts), len(forecast))):
                    produced[k] += min(forecast[k], rated_w)
            case Generator(max_w=max_w):
                produced = [power + max_w for power in produced]
            case Storage() as storage:
                stores.append(
                    Store(
                        charge_w=[storage.max_charge_w] * len(starts),
                        discharge_w=[storage.max_discharge_w] * len(starts),
                        stored_wh=storage.stored_wh if stored is None else stored,
                        floor_wh=storage.reserve_wh,
                        capacity_wh=storage.capacity_wh,
                        charge_efficiency_ppm=storage.charge_efficiency_ppm,
                        discharge_efficiency_ppm=storage.discharge_efficiency_ppm,
                    )
                )
            case Vehicle() as vehicle:
                there = [
                    start < vehicle.departure and start + microgrid.mtu_seconds > vehicle.arrival for start in starts
                ]
                stores.append(
                    Store(
                        charge_w=[vehicle.levels[-1].upper_w * at for at in there],
                        discharge_w=[vehicle.max_discharge_w * at for at in there],
                        stored_wh=vehicle.stored_wh if stored is None else stored,
                        floor_wh=vehicle.reserve_wh,
                        capacity_wh=vehicle.capacity_wh,
                        charge_efficiency_ppm=vehicle.charge_efficiency_ppm,
                        discharge_efficiency_ppm=vehicle.discharge_efficiency_ppm,
                    )
                )
            case Relay(rated_w=rated_w) | Thermostat(rated_w=rated_w):
                flexible = [power + rated_w for power in flexible]
            case Programme() as programme:
                flexible = [power + max(programme.profile_w) for power in flexible]
    return Means(
        mtu_s=microgrid.mtu_seconds,
        load_w=order.load_w[: len(starts)],
        produced_w=produced,
        flexible_w=flexible,
        stores=stores,
    )
