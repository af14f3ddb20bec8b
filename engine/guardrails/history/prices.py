"""The prices that a catalog shows, and which arms show another one than a send did."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from engine.catalog import Arm, Catalog
from engine.guardrails.rules.cooldown import template_of
from engine.guardrails.rules.margin_floor import PRICE
from engine.names import may_mean
from engine.numeric.money import exact
from engine.types import BoolArray

ITEM = "item"
_HALF_CENT = Decimal("0.005")
_SAME_DEPTH = 1e-9
# Distinct (template, category, depth) remembered; depths may be anything, so there must be an end.
_REMEMBERED = 8192


class Offer(NamedTuple):
    """What an arm shows: the names under which its sends appear, what it is about, and the price."""

    names: tuple[str, ...]
    item: str
    category: str
    price_usd: float | None
    depth: float

    @property
    def shows_price(self) -> bool:
        return self.depth > 0 or self.price_usd is not None

    def about(self, sent: Offer, categories: frozenset[str]) -> bool:
        """Whether a send of another arm, in one of some categories, was about the same."""
        if self.item:
            return sent.item == self.item
        return bool(self.category) and self.category in (sent.category, *categories)

    def same_price(self, sent: Offer, depth: float) -> bool:
        """Whether a send of an arm at a depth showed the same price; NaN never did."""
        if np.isnan(depth) or self.price_usd is None or sent.price_usd is None:
            return abs(self.depth - depth) <= _SAME_DEPTH
        mine, theirs = (
            exact(price) * (1 - exact(share))
            for price, share in ((self.price_usd, self.depth), (sent.price_usd, depth))
        )
        return abs(mine - theirs) < _HALF_CENT


def offer_of(arm: Arm) -> Offer:
    """What an arm shows."""
    price = arm.attributes.get(PRICE)
    return Offer(
        (arm.id, template_of(arm)),
        str(arm.attributes.get(ITEM, "")),
        arm.category,
        float(price) if isinstance(price, int | float) else None,
        arm.discount_depth,
    )


@dataclass(frozen=True)
class PriceList:
    """The offers of a catalog's arms, in order."""

    offers: tuple[Offer, ...]
    _known: dict[tuple[str, str, float | None], BoolArray] = field(default_factory=dict)

    @property
    def priced(self) -> frozenset[str]:
        """Names under which sends appear that show a price, also where the discount was none."""
        return frozenset(name for offer in self.offers if offer.shows_price for name in offer.names)

    def differ(self, template: str, category: str, depth: float) -> BoolArray:
        """(K,) arms that show another price for what was sent; "" is no template, no category, NaN no known depth."""
        key = (template, category, None if np.isnan(depth) else depth)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            # An arm's own id says more than the name of a template that several arms may share.
            meant = may_mean(template, (name for offer in self.offers for name in offer.names))
            exact = [offer for offer in self.offers if offer.names[0] in meant]
            sent = exact or [offer for offer in self.offers if not meant.isdisjoint(offer.names)]
            categories = {offer.category for offer in self.offers} - {""}
            about = may_mean(category, categories) if category.strip() else None
            known = np.array([_differs(offer, sent, about, depth) for offer in self.offers], dtype=np.bool_)
            self._known[key] = known
        return known


def _differs(offer: Offer, sent: list[Offer], categories: frozenset[str] | None, depth: float) -> bool:
    """Whether an offer shows another price; the categories are None where that of the send is not known."""
    if not offer.shows_price:
        return False
    if not sent:
        # Of a send whose arm is gone, or not known, at most the category is known: it may have been this item.
        told = bool(offer.category) and categories is not None
        named = offer.category in (categories or ()) if told else bool(offer.item or offer.category)
        return named and not abs(offer.depth - depth) <= _SAME_DEPTH
    return any(
        offer.about(one, categories or frozenset()) and not offer.same_price(one, depth)
        for one in sent
        if depth != 0.0 or one.shows_price
    )


@lru_cache(maxsize=16)
def _listed(offers: tuple[Offer, ...]) -> PriceList:
    return PriceList(offers)


def price_list(catalog: Catalog) -> PriceList:
    """The prices of a catalog; kept between blocks, because every block asks again."""
    return _listed(tuple(offer_of(arm) for arm in catalog.arms))
