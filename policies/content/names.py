"""Features of blocks in Vowpal Wabbit's text.

Namespaces: x context, c channel, h hour slot, a whether it sends, and one letter per slot. A block is its id, and the
attributes that blocks of one slot share; so what was learnt of a block goes with its id, and a block that is new starts
with what its attributes are worth.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import modular_of
from engine.content.modular import MOST_SLOTS, Block
from engine.errors import ParameterError
from engine.types import HOLD, CodeArray
from policies.vw.arguments import VwConfig
from policies.vw.examples import HOLD_FEATURE, channel_features, escape, hour_features

SLOT_SPACES: Final = "pqrstuvw"[:MOST_SLOTS]
SEND_FEATURE: Final = "send"
HOLD_LINE: Final = f"|a {HOLD_FEATURE}"


def id_feature(block_id: str) -> str:
    return f"block={escape(block_id)}"


def block_features(block: Block) -> tuple[tuple[str, float], ...]:
    """Names and values of a block's features, its id first; zeros are left out."""
    found = [(id_feature(block.id), 1.0)]
    for name, value in sorted({**block.attributes, "discount": block.discount_depth}.items()):
        if isinstance(value, str):
            found.append((f"{escape(name)}={escape(value)}", 1.0))
        elif value:
            found.append((escape(name), float(np.float32(value))))
    return tuple(found)


def interactions(config: VwConfig, catalog: Catalog) -> tuple[str, ...]:
    """Pairs of namespaces whose products are learnt.

    Of the configured ones `xa` is context x (send, every slot) and `ca` channel x every slot; `ha` has no part here: an
    hour and a block add up. `slot_pairs` adds products of two slots.
    """
    slots = SLOT_SPACES[: len(modular_of(catalog).slots)]
    found: list[str] = []
    for pair in config.interactions:
        if pair == "ha":
            continue
        found += {"xa": ["xa", *(f"x{slot}" for slot in slots)], "ca": [f"c{slot}" for slot in slots]}.get(pair, [pair])
    return (*found, *(SLOT_SPACES[one] + SLOT_SPACES[other] for one, other in slot_links(config, catalog)))


def slot_links(config: VwConfig, catalog: Catalog) -> tuple[tuple[int, int], ...]:
    """Positions of the slots whose products are learnt.

    Raises:
        ParameterError: a name that is no slot, or a pair of one slot.
    """
    names = [slot.id for slot in modular_of(catalog).slots]
    pairs = []
    for pair in config.slot_pairs:
        unknown = sorted(set(pair) - set(names))
        if unknown or len(set(pair)) != 2:
            raise ParameterError("slot_pairs", "VwConfig", allowed=f"pairs of two slots of {names}", got=pair)
        one, other = sorted(names.index(name) for name in pair)
        pairs.append((one, other))
    return tuple(dict.fromkeys(pairs))


def lines_of(catalog: Catalog, actions: CodeArray) -> tuple[str, ...]:
    """Action lines, without labels, of some actions."""
    modular = modular_of(catalog)
    channels, hours = channel_features(catalog), hour_features(catalog)
    texts = [
        [f"|{SLOT_SPACES[at]} {' '.join(_written(*one) for one in block_features(block))}" for block in slot.blocks]
        for at, slot in enumerate(modular.slots)
    ]
    channel, hour, arm = catalog.split(actions)
    positions = modular.positions(np.maximum(arm, 0))
    lines = []
    for row, action in enumerate(np.asarray(actions).tolist()):
        if action == HOLD:
            lines.append(HOLD_LINE)
            continue
        c, h = channels[int(channel[row])], hours[int(hour[row])]
        head = [f"|c {c}"] * bool(c) + [f"|h {h}"] * bool(h)
        blocks = [texts[slot][at] for slot, at in enumerate(positions[row].tolist())]
        lines.append(" ".join([*head, f"|a {SEND_FEATURE}", *blocks]))
    return tuple(lines)


def _written(name: str, value: float) -> str:
    return name if value == 1.0 else f"{name}:{np.float32(value)!s}"
