"""The base of every object that a command prints; on its own, so that areas can build on it without a circle."""

from __future__ import annotations

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every object that a command prints."""


class CommandOutput(Output, frozen=True, kw_only=True):
    """Base of what a whole command prints.

    Attributes:
        warnings: sentences about what went through without an error and yet is hardly what was meant; `show` prints
            them beside the tables.
    """

    warnings: tuple[str, ...] = ()
