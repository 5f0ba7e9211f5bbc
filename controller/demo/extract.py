"""Makes the shipped SimBench extracts. Needs the ``simbench`` extra: ``python -m controller.demo.extract``.

Takes the topology, the loads, the PV plants and the storages of two low-voltage grids, and thirty hours of
quarter-hour profiles on four days, one per season. SimBench's data is published under ODbL 1.0, and so is
the extract; its notice is ``data/NOTICE.md``.

References
----------
Meinecke et al. (2020), "SimBench: A Benchmark Dataset of Electric Power Systems to Compare Innovative
Solutions based on Power Flow Analysis", Energies 13(12), 3290.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GRIDS = ("1-LV-rural1--2-sw", "1-LV-rural3--2-sw")
DAYS = ("2016-01-20", "2016-04-20", "2016-07-20", "2016-10-19")
DEFAULT_DAY = "2016-10-19"
"""Autumn: sun at noon, heating in the evening."""
MTUS_PER_DAY = 96
MTUS = 120
"""Thirty hours from midnight: the dispatch day of 06:00 to 06:00 lies inside."""


def extract(grid: str, days: Sequence[str]) -> dict[str, Any]:
    """The extract of one SimBench grid, ready for JSON.

    Parameters
    ----------
    grid : SimBench code, such as ``1-LV-rural1--2-sw``
    days : ISO dates of 2016; SimBench's profile year is a leap year of 35,136 quarter-hours

    Returns
    -------
    dict; powers in whole W. Load is consumption, PV is available production, both positive.
    """
    import pandas as pd
    import simbench

    net = simbench.get_simbench_net(grid)
    values = simbench.get_absolute_values(net, profiles_instead_of_study_cases=True)
    load_w = (values[("load", "p_mw")] * 1e6).round().astype(int)
    pv_w = (values[("sgen", "p_mw")] * 1e6).round().astype(int)
    transformer = net.trafo.iloc[0]

    def window(day: str) -> slice:
        start = (pd.Timestamp(day) - pd.Timestamp("2016-01-01")).days * MTUS_PER_DAY
        return slice(start, start + MTUS)

    return {
        "format": "gridpact.grid.v1",
        "name": grid,
        "source": f"SimBench {simbench.__version__}, grid {grid}",
        "license": "ODbL-1.0",
        "time_zone": "Europe/Berlin",
        "mtu_minutes": 15,
        "transformer": {
            "id": "transformer",
            "bus": int(transformer.lv_bus),
            "rated_va": round(transformer.sn_mva * 1e6),
        },
        "buses": [
            {"id": int(index), "x": geo["coordinates"][0], "y": geo["coordinates"][1]}
            for index, geo in ((i, json.loads(row.geo)) for i, row in net.bus.iterrows() if row.vn_kv < 1)
        ],
        "lines": [
            {
                "id": _identifier(row["name"]),
                "from_bus": int(row.from_bus),
                "to_bus": int(row.to_bus),
                "length_m": round(row.length_km * 1e3, 1),
                "r_ohm_per_km": row.r_ohm_per_km,
                "x_ohm_per_km": row.x_ohm_per_km,
                "max_current_a": round(row.max_i_ka * 1e3),
            }
            for _, row in net.line.iterrows()
        ],
        "loads": [
            {"id": _identifier(row["name"]), "bus": int(row.bus), "profile": row.profile}
            for _, row in net.load.iterrows()
        ],
        "pv": [
            {"id": _identifier(row["name"]), "bus": int(row.bus), "rated_w": round(row.p_mw * 1e6)}
            for _, row in net.sgen.iterrows()
        ],
        "storages": [
            {
                "id": _identifier(row["name"]),
                "bus": int(row.bus),
                "rated_w": round(row.sn_mva * 1e6),
                "capacity_wh": round(row.max_e_mwh * 1e6),
                "efficiency": row.efficiency_percent,
            }
            for _, row in net.storage.iterrows()
        ],
        "default_day": DEFAULT_DAY,
        "days": {
            day: {
                "load_w": {
                    _identifier(net.load.at[i, "name"]): load_w[i].iloc[window(day)].tolist() for i in net.load.index
                },
                "pv_w": {
                    _identifier(net.sgen.at[i, "name"]): pv_w[i].iloc[window(day)].tolist() for i in net.sgen.index
                },
            }
            for day in days
        },
    }


def _identifier(name: str) -> str:
    """``LV1.101 Load 14`` as a resource id: ``load-14``."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"^\S+ ", "", name).lower()).strip("-")


def main() -> None:
    """Write the extracts beside this module, or into the folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    out: Path = parser.parse_args().out
    for grid in GRIDS:
        path = out / f"{grid}.json"
        path.write_text(json.dumps(extract(grid, DAYS), separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
