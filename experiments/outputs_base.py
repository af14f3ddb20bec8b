"""The base of every object that a command prints; on its own, so that areas can build on it without a circle."""

from __future__ import annotations

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every object that a command prints."""
