"""What the driven devices drew and fed in, stacked: generators, batteries, appliances."""

from controller.demo.day import DayResult, DeviceKind
from controller.demo.report.formatting import format_energy
from controller.demo.report.picture import (
    BLUE,
    GREEN,
    ORANGE,
    Key,
    Picture,
    Tree,
    base_layout,
    clock_trace,
    merge,
    narrow_time_axes,
    tightened_shapes,
    time_axes,
)

KINDS: tuple[tuple[DeviceKind, str, str], ...] = (
    ("curtailable", "Generators (PV)", ORANGE),
    ("battery", "Batteries", BLUE),
    ("interruptible", "Appliances", GREEN),
)


def draw_devices(day: DayResult) -> Picture:
    """Picture of all driven devices' power, summed by kind."""
    totals = {kind: _total_w(day, kind) for kind, _, _ in KINDS}
    present = {device["kind"] for device in day["devices"]}
    bars: list[Tree] = [
        {
            "type": "bar",
            "name": name,
            "xaxis": "x2",
            "x": [mtu + 0.5 for mtu in range(day["mtus"])],
            "y": [power / 1000 for power in totals[kind]],
            "width": 1,
            "marker": {"color": color, "line": {"width": 0}},
            "hovertemplate": "%{y:,.1f} kW",
        }
        for kind, name, color in KINDS
        if kind in present
    ]
    return Picture(
        id="picture-devices",
        title="What generators, batteries and appliances did",
        caption=_caption(day, totals) if present else "No device was driven on this day.",
        alt="Stacked bars over the day, above zero drawing from the grid, below zero feeding in.",
        keys=tuple(Key(label=name, color=color, mark="area") for kind, name, color in KINDS if kind in present),
        traces=(clock_trace(), *bars) if bars else (),
        layout=merge(
            base_layout(340, unit="kW, negative is feeding in"),
            time_axes(day),
            {"barmode": "relative", "bargap": 0, "shapes": tightened_shapes(day)},
        ),
        narrow=narrow_time_axes(day),
    )


def _total_w(day: DayResult, kind: DeviceKind) -> list[int]:
    series = [day["acted"][device["id"]] for device in day["devices"] if device["kind"] == kind]
    return [sum(powers) for powers in zip(*series, strict=True)] if series else [0] * day["mtus"]


def _caption(day: DayResult, totals: dict[DeviceKind, list[int]]) -> str:
    def energy(kind: DeviceKind, sign: int) -> str:
        series = [day["acted"][device["id"]] for device in day["devices"] if device["kind"] == kind]
        watts = sum(max(0, sign * power) for powers in series for power in powers)
        return format_energy(round(watts * day["mtu_minutes"] / 60))

    return (
        "Above zero devices draw power, below zero they feed in. "
        f"Generators fed in {energy('curtailable', -1)}. Batteries took {energy('battery', 1)} and gave back "
        f"{energy('battery', -1)}. Appliances used {energy('interruptible', 1)}."
    )
