"""Small modular catalogs, and eligible sets of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.catalog import Catalog, catalog_from
from engine.content.eligibility import BlockEligibility, modular_of


def block(name: str, **changes: Any) -> dict[str, Any]:
    return {"id": name, "status": "approved", **changes}


def small_catalog(**changes: Any) -> Catalog:
    """Three slots (2 x 3 x 2), two channels, three hours: 73 actions."""
    slots = [
        {"id": "head", "fallback": "h0", "blocks": [block("h0"), block("h1", attributes={"tone": "warm"})]},
        {
            "id": "pic",
            "fallback": "p0",
            "blocks": [block("p0"), block("p1", channels=["email"]), block("p2", attributes={"richness": 0.5})],
        },
        {"id": "offer", "fallback": "o0", "blocks": [block("o0"), block("o1", discount_depth=0.2)]},
    ]
    modular = {"slots": slots, "offer": "offer", "forbidden": [], **changes}
    return catalog_from({"name": "small", "channels": ["email", "sms"], "hours": [9, 12, 20], "modular": modular})


def random_eligibility(catalog: Catalog, n: int, seed: int = 0, share: float = 0.7) -> BlockEligibility:
    """Random factors; some rows are left with hold alone."""
    rng = np.random.default_rng(seed)
    channels, hours, _ = catalog.shape
    blocks = sum(modular_of(catalog).sizes)
    return BlockEligibility(
        catalog, rng.random((n, channels, blocks)) < share, rng.random((n, channels, hours)) < share
    )
