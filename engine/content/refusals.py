"""What cannot be done with a modular catalog without listing its assemblies is refused, in one sentence."""

from __future__ import annotations

from engine.catalog import Catalog
from engine.content.eligibility import is_modular
from engine.errors import DataError


def refuse_modular(catalog: Catalog, what: str) -> None:
    """Refuse a modular catalog.

    Args:
        what: that lists every action: "explain", "a backtest" ...

    Raises:
        DataError: the catalog is modular.
    """
    if is_modular(catalog):
        raise DataError(
            f"{what} lists every action, and the modular catalog {catalog.name!r} has {catalog.k}",
            hint="docs/modular-content.md says which commands work with blocks",
        )
