"""A contact never sees two live prices for one item (catalogue O5).

A price that was sent is alive for a while; until it ends, arms that show another price for the same item, or where no
item is named for the same category, are removed. An arm shows a price where it gives a discount or carries `price_usd`.
Two prices in dollars differ from half a cent on; where either is not known in dollars, the depths are compared.
A depth that nobody knows differs from every other; a send without a template may have been about anything, in its
category where that is known. Planned sends bind as those that have left. By arm, so judged at every planned instant.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.guardrails.history.bounds import alone, arms_in, require_purposes, require_window, rows_of
from engine.guardrails.history.key_caps import recent
from engine.guardrails.history.prices import ITEM, price_list
from engine.guardrails.history.spans import first_clear, reached, spans_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.names import may_mean
from engine.types import MICROSECONDS_PER_S, BoolArray, IntArray


class StickyPriceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms that show another price than one that is still alive.

    Attributes:
        life_s: how long a price lives, seconds; null: prices bind nobody.
        applies_to: purposes that are held; prices bind whatever the purpose of the send that showed them.
    """

    life_s: int | None
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_window("sticky_price", "life_s", self.life_s)
        require_purposes("sticky_price", applies_to=self.applies_to)

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.life_s is None else ("sends", "sent_template", "sent_category", "sent_discount")

    @property
    def _life_us(self) -> int:
        return (self.life_s or 0) * MICROSECONDS_PER_S

    def verdict(self, scene: Scene) -> Verdict:
        """Distinct (template, category, depth) among the live prices are compared with the arms, not every send."""
        if self.life_s is None or not scene.contacts.n:
            return Verdict()
        sends, conflicts = self._conflicts(scene)
        rows = rows_of(scene.contacts.sent_offsets, sends)
        spans = spans_of(rows, scene.contacts.sent_at[sends], 1, self._life_us)
        at, arms = np.nonzero(conflicts & reached(scene, rows, spans)[:, None])
        if not len(at):
            return Verdict()
        closed = np.zeros((scene.contacts.n, len(scene.catalog.arms)), dtype=np.bool_)
        closed[rows[at], arms] = True
        return Verdict(channel_arm=closed[:, None, :])

    def _conflicts(self, scene: Scene) -> tuple[IntArray, BoolArray]:
        """(m,) recent sends that conflict with some arm, and (m, K) with which."""
        contacts = scene.contacts
        prices = price_list(scene.catalog)
        with_price = prices.priced
        # A send without a template may have been of any arm, also of one that shows a price.
        shows = (bool(may_mean(name, with_price)) or not name.strip() for name in contacts.levels["sent_template"])
        priced = np.array([*shows, True], dtype=np.bool_)
        sends = recent(scene, contacts.sent_at, self._life_us)
        details = contacts.sent_details
        sends = sends[(details["sent_discount"][sends] != 0.0) | priced[details["sent_template"][sends]]]
        in_scope = arms_in(scene, self.applies_to)
        if not len(sends):
            return sends, np.zeros((0, len(in_scope)), dtype=np.bool_)
        templates, categories, depths = (
            details[name][sends] for name in ("sent_template", "sent_category", "sent_discount")
        )
        # NaN sorts last and is one value; codes are shifted so that none is 0.
        values, which = np.unique(depths, return_inverse=True)
        mixed = ((templates.astype(np.int64) + 1) << 40) | ((categories.astype(np.int64) + 1) << 20) | which
        _, firsts, kinds = np.unique(mixed, return_index=True, return_inverse=True)
        offers = [_sent(contacts, templates[at], categories[at], float(values[which[at]])) for at in firsts]
        table = np.stack([prices.differ(*offer) for offer in offers]) & in_scope
        some: BoolArray = np.logical_or.reduce(table, axis=1)
        hit = np.flatnonzero(some[kinds])
        return sends[hit], table[kinds[hit]]

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The price that was sent last among those that differ."""
        one, arm = alone(scene, row), scene.catalog.arms[cell.arm]
        sends, conflicts = self._conflicts(one)
        sends = sends[conflicts[:, cell.arm]]
        rows = np.zeros(len(sends), dtype=np.int64)
        spans = spans_of(rows, one.contacts.sent_at[sends], 1, self._life_us)
        last = int(sends[reached(one, rows, spans)][-1])
        depth = float(one.contacts.sent_details["sent_discount"][last])
        observed = {"depth_sent": None if np.isnan(depth) else depth, "depth": arm.discount_depth}
        reason = f"another price for {arm.attributes.get(ITEM) or arm.category!r} was sent and is still alive"
        return Finding(observed, {"live_prices": 1, "life_s": self.life_s}, reason, first_clear(one, spans.pairs()))


def _sent(contacts: ContactBatch, template: int, category: int, depth: float) -> tuple[str, str, float]:
    """(template, category, depth) of one kind of send; "" where none."""
    names = [
        "" if code < 0 else contacts.levels[column][code]
        for column, code in (("sent_template", template), ("sent_category", category))
    ]
    return names[0], names[1], depth


RULE = StickyPriceRule
