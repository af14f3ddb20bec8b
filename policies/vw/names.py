"""Names of features in Vowpal Wabbit's text: escaped, and made so that no two ever collide.

Namespaces: x context, c channel, h hour slot, a arm (or hold). Channel and hour are left out where the axis has size 1;
their weights would only repeat those of the others.
"""

from __future__ import annotations

from typing import Final

from engine.catalog import Catalog

HOLD_FEATURE: Final = "hold"
# The escape character itself comes first, so that no name can be mistaken for an escaped one.
_RESERVED: Final = ("%", " ", ":", "|", "\n", "\r", "\0", "\t", "\v", "\f")
_TABLE: Final = str.maketrans({character: f"%{ord(character):02X}" for character in _RESERVED})


def escape(name: str) -> str:
    """A name without the characters that VW's text format gives a meaning to; different names stay different."""
    return name.translate(_TABLE)


def channel_features(catalog: Catalog) -> tuple[str, ...]:
    """(C,) feature names, empty where the axis has size 1."""
    return tuple(f"channel={escape(name)}" for name in catalog.channels) if len(catalog.channels) > 1 else ("",)


def hour_features(catalog: Catalog) -> tuple[str, ...]:
    """(H,) feature names, empty where the axis has size 1."""
    return tuple(f"hour={escape(str(slot))}" for slot in catalog.hours) if len(catalog.hours) > 1 else ("",)


def arm_features(catalog: Catalog) -> tuple[str, ...]:
    """(K,) feature names; the prefix keeps an arm called "hold" apart from hold."""
    return tuple(f"arm={escape(name)}" for name in catalog.arm_ids)


def action_lines(catalog: Catalog) -> tuple[str, ...]:
    """(k,) action lines without labels: `|c channel=email |h hour=9 |a arm=A`; hold is `|a hold`."""
    lines = [f"|a {HOLD_FEATURE}"]
    for channel in channel_features(catalog):
        for hour in hour_features(catalog):
            for arm in arm_features(catalog):
                parts = (f"|c {channel} " if channel else "", f"|h {hour} " if hour else "", f"|a {arm}")
                lines.append("".join(parts))
    return tuple(lines)
