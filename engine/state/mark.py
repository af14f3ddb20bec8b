"""Up to which change a state store is known: what logs, outcome files and witnesses carry."""

from __future__ import annotations

import msgspec


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to which change a store is known.

    Attributes:
        store_id: the store, the same in all its copies.
        sequence: number of the change.
    """

    store_id: str
    sequence: int
