"""Only features and attributes on the allow list (catalogue O9; requirement R10): anything else stops the start.

This rule removes nothing. A catalog whose arms or blocks carry an attribute that is not on the list is refused when the
layer is built, and so is a feature schema, where the layer is given one; a batch whose context carries an unlisted
feature is refused before anything is decided.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from engine.catalog import Catalog
from engine.content.modular import READ_BY_RULES
from engine.errors import ConfigError, EligibilityError, ParameterError
from engine.features import FeatureSchema
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import PURPOSES


class FeaturesAllowedRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses what is not on the lists.

    Attributes:
        features: names that the context may carry; null is any that the feature schema justifies, [] is none.
        attributes: keys that arms may carry beside those that rules read; null is any, [] is none.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    features: tuple[str, ...] | None
    attributes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("features", "attributes"):
            if any(not name.strip() for name in getattr(self, field) or ()):
                raise ParameterError(field, "features_allowed", allowed="non-empty names", got=getattr(self, field))

    def verdict(self, scene: Scene) -> Verdict:
        """Nothing is removed.

        Raises:
            ConfigError: an attribute of an arm is not on the list.
            EligibilityError: a feature of the context is not on the list.
        """
        self.require_catalog(scene.catalog)
        self.require_schema(scene.contacts.context.schema)
        return Verdict()

    def require_catalog(self, catalog: Catalog) -> None:
        """Refuse arms and blocks with an attribute that is not on the list.

        Raises:
            ConfigError: such an arm, or such a block.
        """
        if self.attributes is None:
            return
        allowed = {*self.attributes, *READ_BY_RULES}
        held = [("arm", arm.id, arm.attributes) for arm in catalog.arms]
        if catalog.modular is not msgspec.UNSET:
            held += [("block", block.id, block.attributes) for block in catalog.modular.blocks]
        for what, name, attributes in held:
            barred = sorted(attributes.keys() - allowed)
            if barred:
                raise ConfigError(
                    f"{what} {name!r} carries attributes that are not on the allow list: {barred}",
                    hint="take them out, or have them approved and add them to `attributes`",
                )

    def require_schema(self, schema: FeatureSchema) -> None:
        """Refuse features that are not on the list.

        Raises:
            EligibilityError: such a feature.
        """
        barred = [] if self.features is None else sorted(set(schema.names) - set(self.features))
        if barred:
            raise EligibilityError(
                f"the context carries features that are not on the allow list: {barred}",
                hint="take them out of the feature schema, or have them approved and add them to `features`",
            )

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """Never asked: nothing is removed."""
        return Finding(None, None, "features and attributes are on the allow list")


RULE = FeaturesAllowedRule
