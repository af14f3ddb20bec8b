"""Consent per channel and purpose: no record, no message (catalogue C1, C4, C12).

Consent for transactional messages never opens promotional ones, and consent for one channel never opens another: each
(channel, purpose) needs its own record. A record counts only with source and timestamp; the reader sees to that. A
consent that ends must outlast the whole span in which a slot may be sent. An event that says stop (an unsubscription, a
complaint, a hard bounce) closes its channel whatever the record says: it holds here because every pack has this rule.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.contacts.contacts import UNKNOWN, YES
from engine.guardrails.history.bounds import WITHOUT_END, too_late
from engine.guardrails.history.stops import stopped, stops_on
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.time.localtime import datetime_of
from engine.types import NOT_AN_INSTANT, PURPOSES, IntArray


class ConsentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes every action whose channel and purpose lack a granted consent record; it has no parameters."""

    reads: ClassVar[tuple[str, ...]] = ("consent",)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        """Removed unless the record says granted and lasts long enough; missing blocks."""
        refused = (scene.contacts.consent != YES).transpose(0, 2, 1)[..., None]
        ends = _ends(scene)
        late = None if ends is None else too_late(scene, ends)
        by_event = stopped(scene.contacts)
        if by_event is not None:
            refused = refused | by_event[:, None, :, None]
        return Verdict(channel_hour=refused if late is None else refused | late)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The record's state; no instant at which it would change by itself."""
        level = int(scene.contacts.consent[row, cell.channel, cell.purpose])
        what = f"{scene.catalog.channels[cell.channel]} / {PURPOSES[cell.purpose]}"
        stops = stops_on(scene.contacts, row, cell.channel)
        if stops:
            names = ", ".join(stops)
            return Finding(names, "no such event", f"{scene.catalog.channels[cell.channel]} is closed by: {names}")
        ends = _ends(scene)
        if level == YES and ends is not None:
            end = datetime_of(int(ends[row, cell.channel, cell.purpose])).isoformat()
            return Finding(f"ends {end}", "granted until after the send", f"consent for {what} ends {end}")
        observed = "no record" if level == UNKNOWN else "denied or withdrawn"
        return Finding(observed, "granted", f"consent for {what}: {observed}")


def _ends(scene: Scene) -> IntArray | None:
    """(n, C, P) ends of consents; None where the batch has none."""
    expires = scene.contacts.extra.get("consent_expires_at")
    return None if expires is None else np.where(expires == NOT_AN_INSTANT, WITHOUT_END, expires)


RULE = ConsentRule
