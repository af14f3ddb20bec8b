"""The consent rule must be there and must work: tried at the start on contacts who never gave consent.

A pack can carry the rule and still switch it off, by a parameter, by a rule of the same name from elsewhere, or by a
scope that leaves a purpose out. So the layer does not read the parameters; it looks at what the rule does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import NO, UNKNOWN, YES, ContactBatch, plain_contacts
from engine.errors import EligibilityError
from engine.guardrails.judging import judge, removed
from engine.guardrails.rule import Rule, Scene
from engine.time.localtime import DAY_US
from engine.types import HOLD, NOT_AN_INSTANT, PURPOSES, BoolArray

# Noon of an ordinary day.
_NOW: Final = 20_000 * DAY_US + DAY_US // 2
_LEVELS: Final = {
    "country": ("US",),
    "state": ("NY",),
    "area_state": ("NY",),
    "line_type": ("mobile",),
    "lists": ("",),
    "plausible_zones": ("UTC",),
    "profiling_objection": ("no", "yes"),
}
_CASES: Final = ("no record", "denied", "for the other purpose only", "on the other channels only")


def require_consent(consent: Sequence[Rule], pack: str, catalog: Catalog, latency_margin_s: int) -> None:
    """Refuse consent rules that together let a send through to somebody who never agreed to it.

    Args:
        consent: the pack's rules of that name.
        pack: name of the pack, for the error.
        catalog: the actions.
        latency_margin_s: margin of the pack.

    Raises:
        EligibilityError: a send is left; the message says to whom.
    """
    contacts, agreed = _unconsenting(catalog)
    scene = Scene(catalog, contacts, _NOW, latency_margin_s)
    left = np.ones((contacts.n, catalog.k), dtype=np.bool_)
    for rule in consent:
        left &= removed(judge(rule, scene), contacts.n, catalog).dense()
    left[:, HOLD] = False
    wrong = left & ~agreed
    if wrong.any():
        row, action = (int(position[0]) for position in np.nonzero(wrong))
        raise EligibilityError(
            f"the consent rule of guardrail pack {pack!r} has no effect: with consent {_CASES[row % len(_CASES)]!r} it "
            f"allows {catalog.action_names[action]!r}",
            hint="nothing may be sent without a consent record for its channel and purpose; take the parameters back",
        )


def _unconsenting(catalog: Catalog) -> tuple[ContactBatch, BoolArray]:
    """Contacts of each case for each purpose and channel, and (n, k) the sends to which they did agree.

    Everything else about them is known and in order, so that nothing but consent can remove a send.
    """
    channels, purposes = len(catalog.channels), len(PURPOSES)
    rows = []
    for purpose in range(purposes):
        for channel in range(channels):
            one_purpose = np.full((channels, purposes), NO, dtype=np.int8)
            one_purpose[:, purpose] = YES
            one_channel = np.full((channels, purposes), NO, dtype=np.int8)
            one_channel[channel] = YES
            rows += [np.full_like(one_purpose, UNKNOWN), np.full_like(one_purpose, NO), one_purpose, one_channel]
    consent = np.array(rows, dtype=np.int8)
    n = len(rows)
    per_record = (n, channels, purposes)
    extra: dict[str, Any] = {
        "consent_at": np.full(per_record, _NOW - DAY_US, dtype=np.int64),
        "consent_basis": np.zeros(per_record, dtype=np.int8),
        "consent_expires_at": np.full(per_record, NOT_AN_INSTANT, dtype=np.int64),
        "motive_price": np.zeros(n),
        **{name: np.zeros(n, dtype=np.int32) for name in _LEVELS},
    }
    contacts = plain_contacts(
        np.array([f"nobody-{row}" for row in range(n)], dtype=object),
        catalog,
        zones=("UTC",),
        zone_code=np.zeros(n, dtype=np.int32),
        consent=consent,
        suppressed=np.full((n, channels), NO, dtype=np.int8),
        history_known=np.ones(n, dtype=np.bool_),
        extra=extra,
        levels=dict(_LEVELS),
    )
    on_channel, _, arm = catalog.split(np.arange(1, catalog.k))
    agreed = np.zeros((n, catalog.k), dtype=np.bool_)
    agreed[:, 1:] = consent[:, on_channel, catalog.purpose_codes[arm]] == YES
    return contacts, agreed
