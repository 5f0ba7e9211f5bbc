"""A result as one JSON object."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from controller.case.result import Result
from controller.case.trading import TradeRow
from optimization.community import Floats
from optimization.market_certificate import MarketCertificate


def as_json(result: Result) -> dict[str, Any]:
    """A result as JSON has it: numbers where there is one MTU, lists where there are several, null for no number."""

    def shown(values: Floats) -> Any:
        finite = [float(value) if np.isfinite(value) else None for value in values]
        return finite[0] if result.mtus == 1 else finite

    def nested(values: Any) -> Any:
        return {name: nested(value) for name, value in values.items()} if isinstance(values, Mapping) else shown(values)

    def of_peers(values: Floats) -> dict[str, Any]:
        if np.isnan(values).all():
            return {}
        return {peer: shown(row) for peer, row in zip(result.peers, values, strict=True)}

    objective = finite_or_none(result.objective)
    return {
        "case": result.case,
        "market": result.market,
        "solver": result.solver,
        "status": result.status,
        "reason": result.reason or None,
        "unit": result.unit,
        "objective": objective,
        "welfare": None if objective is None else 0.0 - objective,
        "powers": nested(result.powers),
        "prices": of_peers(result.price),
        "trades": [dict(_fields(row)) for row in result.trades],
        "grid": dict(_grid(result, shown)),
        "storages": nested(result.storages),
        "limit_prices": nested(result.limit_price),
        "state_prices": nested(result.state_price),
        "iterations": result.iterations,
        "certificate": _certificate(result.certificate),
        "seconds": round(result.seconds, 6),
        "conflict": {"unserved": [dict(entry) for entry in result.conflict]} if result.conflict else None,
        "violations": [dict(entry) for entry in result.violations],
    }


def finite_or_none(value: float | None) -> float | None:
    """A number as JSON can have it."""
    return None if value is None or not np.isfinite(value) else float(value) + 0.0


def _fields(row: TradeRow) -> Iterator[tuple[str, Any]]:
    for name in TradeRow.__dataclass_fields__:
        yield name, finite_or_none(row.price) if name == "price" else getattr(row, name)


def _grid(result: Result, shown: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for n, peer in enumerate(result.peers):
        if (result.imported[n] > 0).any() or (result.exported[n] > 0).any():
            yield peer, {"import": shown(result.imported[n]), "export": shown(result.exported[n])}


def _certificate(certificate: MarketCertificate | None) -> dict[str, float | None]:
    names = ("primal_residual", "dual_residual", "lower_bound", "gap")
    return {name: None if certificate is None else finite_or_none(getattr(certificate, name)) for name in names}
