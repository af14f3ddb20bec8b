"""How consent must have been given, and for how long it holds, by jurisdiction (catalogue C2, C3, C5).

Canada: implied consent ends 730 days after a purchase, 183 after an inquiry. United States: marketing texts need
express written consent. European Union and United Kingdom: opt-in, or the soft opt-in for the sender's own similar
products. A contact whose country is unknown is judged as if it lived there; a basis that is unknown is none.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.contacts.contacts import CONSENT_BASES, UNKNOWN, YES
from engine.errors import ParameterError
from engine.guardrails.history.bounds import WITHOUT_END, too_late
from engine.guardrails.hours.places import Place
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.time.localtime import DAY_US, datetime_of
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

SOFT: str = "soft_opt_in"
# What an arm's attribute must say for a soft opt-in to cover it.
SIMILAR: tuple[str, str] = ("own_similar", "yes")
_LONGEST_DAYS = 36_600


class ConsentBasisRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes actions whose consent was not given in one of the allowed ways, or too long ago.

    Attributes:
        bases: basis -> days for which it holds, null without end. A soft opt-in covers only arms whose attribute
            `own_similar` is "yes".
        countries: where the rule holds; null is everywhere.
        except_countries: where it does not.
        channels: to which it applies; null is all.
        applies_to: purposes to which it applies.
    """

    may_read: ClassVar[tuple[str, ...]] = ("country", "consent_at", "consent_basis")

    bases: dict[str, int | None]
    countries: tuple[str, ...] | None = None
    except_countries: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        if not set(self.applies_to) <= set(PURPOSES):
            raise ParameterError("applies_to", "consent_basis", allowed=f"among {PURPOSES}", got=self.applies_to)
        unknown = sorted(set(self.bases) - set(CONSENT_BASES))
        if unknown or not self.bases:
            raise ParameterError("bases", "consent_basis", allowed=f"some of {CONSENT_BASES}", got=unknown)
        for basis, days in self.bases.items():
            if days is not None and not 0 <= days <= _LONGEST_DAYS:
                raise ParameterError(basis, "consent_basis", allowed=f"in 0 to {_LONGEST_DAYS} days, or null", got=days)
        for country in (*(self.countries or ()), *self.except_countries):
            Place(country).check("consent_basis")

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def verdict(self, scene: Scene) -> Verdict:
        """Only granted records are looked at: the others are the consent rule's."""
        granted = self._granted(scene)
        if not granted.any():
            return Verdict()
        basis = _basis(scene)
        refused = granted & ~self._allowed()[basis]
        closed = refused.transpose(0, 2, 1)[..., None] if refused.any() else None
        ends = self._ends(scene, granted, basis)
        late = None if ends is None else too_late(scene, ends)
        if late is not None:
            closed = late if closed is None else closed | late
        return Verdict(self._unlike(scene, granted, basis), closed)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The basis of the record, its age, or what it covers."""
        granted, basis = self._granted(scene), _basis(scene)
        code = int(basis[row, cell.channel, cell.purpose])
        name = "unknown" if code == UNKNOWN else CONSENT_BASES[code]
        what = f"{scene.catalog.channels[cell.channel]} / {PURPOSES[cell.purpose]}"
        if name not in self.bases:
            return Finding(name, sorted(self.bases), f"consent for {what} of basis {name} does not count here")
        unlike = self._unlike(scene, granted, basis)
        if unlike is not None and unlike[row, cell.channel, cell.arm]:
            return Finding(
                name, "own similar products", f"a soft opt-in does not cover {scene.catalog.arm_ids[cell.arm]!r}"
            )
        ends = self._ends(scene, granted, basis)
        end = NOT_AN_INSTANT if ends is None else int(ends[row, cell.channel, cell.purpose])
        when = "at an unknown instant" if end == NOT_AN_INSTANT else datetime_of(end).isoformat()
        return Finding(f"{name}, ends {when}", {name: self.bases[name]}, f"{name} consent for {what} ends {when}")

    def _granted(self, scene: Scene) -> BoolArray:
        """(n, C, P) granted records in the rule's scope."""
        scope = purpose_mask(self.applies_to) & self._channels(scene)[:, None]
        there = self._there(scene)
        granted: BoolArray = (scene.contacts.consent == YES) & scope & there[:, None, None]
        return granted

    def _channels(self, scene: Scene) -> BoolArray:
        return np.array([self.channels is None or channel in self.channels for channel in scene.catalog.channels])

    def _there(self, scene: Scene) -> BoolArray:
        """(n,) contacts that live where the rule holds, or may do so."""
        contacts = scene.contacts
        code = contacts.extra.get("country")
        if code is None:
            return np.ones(contacts.n, dtype=np.bool_)
        levels = contacts.levels["country"]
        held = [
            (self.countries is None or level in self.countries) and level not in self.except_countries
            for level in levels
        ]
        there: BoolArray = np.array([*held, True], dtype=np.bool_)[code]
        return there

    def _allowed(self) -> BoolArray:
        """Which bases are allowed; the last is the unknown one."""
        return np.array([*(basis in self.bases for basis in CONSENT_BASES), False], dtype=np.bool_)

    def _ends(self, scene: Scene, granted: BoolArray, basis: IntArray) -> IntArray | None:
        """(n, C, P) when consents of a limited basis end; None where none is limited."""
        days = [self.bases.get(basis) for basis in CONSENT_BASES]
        limited = granted & np.array([*(one is not None for one in days), False])[basis]
        if not limited.any():
            return None
        given = scene.contacts.extra.get("consent_at")
        if given is None:
            return np.where(limited, NOT_AN_INSTANT, WITHOUT_END)
        lasts = np.array([*((one or 0) * DAY_US for one in days), 0], dtype=np.int64)[basis]
        end = np.where(given == NOT_AN_INSTANT, NOT_AN_INSTANT, given + lasts)
        return np.where(limited, end, WITHOUT_END)

    def _unlike(self, scene: Scene, granted: BoolArray, basis: IntArray) -> BoolArray | None:
        """(n, C, K) soft opt-ins on arms that they do not cover; None where there are none."""
        if SOFT not in self.bases:
            return None
        soft = granted & (basis == CONSENT_BASES.index(SOFT))
        if not soft.any():
            return None
        name, value = SIMILAR
        unlike = np.array([arm.attributes.get(name) != value for arm in scene.catalog.arms], dtype=np.bool_)
        removed: BoolArray = soft[:, :, scene.catalog.purpose_codes] & unlike
        return removed if removed.any() else None


def _basis(scene: Scene) -> IntArray:
    """(n, C, P) positions in `CONSENT_BASES`; -1 unknown."""
    basis = scene.contacts.extra.get("consent_basis")
    if basis is None:
        return np.full(scene.contacts.consent.shape, UNKNOWN, dtype=np.int64)
    known: IntArray = basis.astype(np.int64)
    return known


RULE = ConsentBasisRule
