"""The allow list: what is not on it stops the start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import plain_contacts
from engine.errors import ConfigError, EligibilityError
from engine.features import ContextBatch, FeatureSchema, FeatureSpec
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry
from tests.engine.guardrails.histories import CATALOG

PREGNANT = FeatureSchema(
    features=(
        FeatureSpec(
            name="pregnancy_guess",
            type="numeric",
            unit="count",
            source="a model",
            collected_where="nowhere",
            customer_benefit="none that anybody asked for",
        ),
    )
)


def pack(**params: object) -> Pack:
    common = {"kind": "eng", "jurisdiction": "any", "source": "test", "checked_on": date(2026, 1, 1)}
    rules = (
        RuleEntry(id="C1", rule="consent", **common),
        RuleEntry(id="O9", rule="features_allowed", params=params, **common),
    )
    return Pack(name="t", version="1", rules=rules)


def test_a_feature_that_is_not_allowed_stops_the_start() -> None:
    with pytest.raises(EligibilityError, match="pregnancy_guess"):
        Guardrails(pack(features=["visits_7d"]), CATALOG, features=PREGNANT)
    Guardrails(pack(features=["pregnancy_guess"]), CATALOG, features=PREGNANT)
    Guardrails(pack(features=None), CATALOG, features=PREGNANT)


def test_a_batch_with_such_a_feature_is_refused() -> None:
    """Also where the layer was built without a schema: nothing is decided with a barred feature."""
    layer = Guardrails(pack(features=[]), CATALOG)
    contacts = plain_contacts(np.array(["c"], dtype=object), CATALOG)
    now = datetime(2026, 11, 3, tzinfo=UTC)
    layer.eligibility(contacts, now)
    with pytest.raises(EligibilityError, match="allow list"):
        layer.eligibility(replace(contacts, context=ContextBatch(PREGNANT, {}, 1)), now)


def test_attributes_of_arms_must_be_on_the_list_too() -> None:
    arms = (Arm(id="a", attributes={"urgency": "high", "topic": "sale", "price_usd": 9.0}),)
    catalog = Catalog(name="c", channels=("email",), hours=(9,), arms=arms)
    Guardrails(pack(features=None, attributes=["urgency"]), catalog)
    Guardrails(pack(features=None), catalog)
    with pytest.raises(ConfigError, match="urgency"):
        Guardrails(pack(features=None, attributes=[]), catalog)
