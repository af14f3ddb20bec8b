"""Where a contact is: zones, country, state and area code, resolved to one zone or to the plausible ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.contacts.columns import ColumnBatch, coded
from engine.contacts.contacts import UNKNOWN
from engine.names import name_key
from engine.time.localtime import require_zone
from engine.time.zones import (
    COUNTRIES_WITH_STATES,
    FRESH_US,
    Evidence,
    is_country,
    plausible_zones,
    state_of_area_code,
    states_of,
)
from engine.types import NOT_AN_INSTANT, BoolArray, CodeArray, IntArray

NONE: Final = "none"  # what a cell says where the contact is known to have no such thing
COLUMNS: Final = ("country", "state", "area_state", "plausible_zones")
_AREA_CODE = re.compile(r"(?:\+?1[ -]?)?\(?([2-9]\d\d)\)?")
# A code of ISO 3166-2, the country's part left out where it is clear.
_ISO_3166_2 = re.compile(r"(?:([A-Z]{2})-)?([A-Z0-9]{1,3})")


@dataclass(frozen=True)
class Places:
    """Zones and places of a batch, in the words of `ContactBatch`; codes are into the tables of `PlaceReader`."""

    zone_code: CodeArray
    extra: dict[str, NDArray[Any]]


@dataclass
class PlaceReader:
    """What outlives a batch: the names met so far and the evidence already weighed.

    Attributes:
        zones: zone -> code.
        tables: column of `extra` -> level -> code.
    """

    zones: dict[str, int] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=lambda: {name: {} for name in COLUMNS})
    _weighed: dict[Evidence, tuple[int, int]] = field(default_factory=dict)

    def read(self, batch: ColumnBatch, as_of: IntArray, now_at: int) -> Places:
        """The places of a batch.

        Raises:
            DataError: an unknown zone, country, state of the US or Canada, or something that is no area code.
        """
        countries = _cells(batch, "country", _country)
        states = _cells(batch, "state", state_cell)
        _check_states(batch, countries, states)
        states = _placed(batch, countries, states)
        areas = _cells(batch, "phone_area_code", area_code_cell)
        told = _zone_cells(batch, "time_zone", as_of, now_at)
        shown = _zone_cells(batch, "device_time_zone", as_of, now_at)
        zone_code, plausible = self._resolve(told, shown, countries, states, areas)
        extra: dict[str, NDArray[Any]] = {}
        for name, cells in (("country", countries), ("state", states), ("area_state", areas.mapped(_state_of))):
            if cells.present:
                extra[name] = self._grown(name, cells)
        if (plausible >= 0).any() or states.present or areas.present or countries.present:
            extra["plausible_zones"] = plausible
        return Places(zone_code, extra)

    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels by column, as `ContactBatch.levels` has them."""
        return {name: tuple(table) for name, table in self.tables.items()}

    def _grown(self, name: str, cells: _Cells) -> CodeArray:
        table = self.tables[name]
        positions = [UNKNOWN if level is None else table.setdefault(level, len(table)) for level in cells.levels]
        return np.array([*positions, UNKNOWN], dtype=np.int32)[cells.codes]

    def _resolve(
        self, told: _ZoneCells, shown: _ZoneCells, countries: _Cells, states: _Cells, areas: _Cells
    ) -> tuple[CodeArray, CodeArray]:
        """(n,) zone codes and (n,) codes of plausible zones; each distinct set of evidence is weighed once."""
        axes = [told.cells, shown.cells, countries, states, areas]
        key = (told.fresh * 2 + shown.fresh).astype(np.int64)
        for cells in axes:
            key = key * (len(cells.levels) + 1) + (cells.codes + 1)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        resolved = np.empty((len(first), 2), dtype=np.int32)
        for position, row in enumerate(first.tolist()):
            zone, device, country, state, area = (cells.at(row) for cells in axes)
            evidence = Evidence(
                zone, bool(told.fresh[row]), device, bool(shown.fresh[row]), country, state or None, area or None
            )
            if evidence not in self._weighed:
                self._weighed[evidence] = self._coded(plausible_zones(evidence))
            resolved[position] = self._weighed[evidence]
        both = resolved[inverse.reshape(-1)]
        return both[:, 0].copy(), both[:, 1].copy()

    def _coded(self, names: tuple[str, ...]) -> tuple[int, int]:
        if not names:
            return UNKNOWN, UNKNOWN
        zone = self.zones.setdefault(names[0], len(self.zones))
        table = self.tables["plausible_zones"]
        return zone, UNKNOWN if len(names) == 1 else table.setdefault(",".join(names), len(table))


@dataclass(frozen=True)
class _Cells:
    codes: CodeArray
    levels: tuple[str | None, ...]
    present: bool

    def at(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code < 0 else self.levels[code]

    def mapped(self, change: Any) -> _Cells:
        return _Cells(
            self.codes, tuple(None if level is None else change(level) for level in self.levels), self.present
        )


@dataclass(frozen=True)
class _ZoneCells:
    cells: _Cells
    fresh: BoolArray


def _cells(batch: ColumnBatch, name: str, read: Any) -> _Cells:
    """A column with every distinct value read once; `read` gives None for what it does not know."""
    column = batch.column(name)
    if column is None:
        return _Cells(np.full(batch.n, UNKNOWN, dtype=np.int32), (), False)
    codes, levels = coded(column)
    values = tuple(read(level) for level in levels)
    wrong = np.array([*(value is None for value in values), False], dtype=np.bool_)
    batch.fail(name, wrong[codes], column, _ALLOWED[name])
    return _Cells(codes, values, True)


_ALLOWED: Final[Mapping[str, str]] = {
    "country": "must be a country code of ISO 3166 (two letters, GB for the United Kingdom)",
    "state": "must be the code of a state or province, like FL or US-FL, or none",
    "phone_area_code": "must be an area code of the North American plan (three digits) or none",
    "time_zone": "must be a zone",
    "device_time_zone": "must be a zone",
}


def _country(value: str) -> str | None:
    return value.upper() if is_country(value.upper()) else None


def state_cell(value: str) -> str | None:
    """The code of a state or province; "" for none, None for what is no such code."""
    if name_key(value) == NONE:
        return ""
    found = _ISO_3166_2.fullmatch(unicodedata.normalize("NFKC", value).strip().upper())
    if found is None or (found[1] in COUNTRIES_WITH_STATES and found[2] not in states_of(found[1])):
        return None
    return found[2]


def area_code_cell(value: str) -> str | None:
    """Three digits; "" for none, None for what is no area code."""
    if name_key(value) == NONE:
        return ""
    found = _AREA_CODE.fullmatch(value)
    return found[1] if found else None


def _state_of(area_code: str) -> str | None:
    """The state of an area code; "" where the contact has no phone, None where the code has no single state."""
    return "" if area_code == "" else state_of_area_code(area_code)


def _zone_cells(batch: ColumnBatch, name: str, as_of: IntArray, now_at: int) -> _ZoneCells:
    column = batch.column(name)
    if column is not None:
        codes, levels = coded(column)
        for position, level in enumerate(levels):
            row = batch.first_row + int(np.argmax(codes == position))
            require_zone(level, where=f"{batch.source}, column {name!r}, row {row}")
    at = batch.instants(f"{name}_at")
    at = np.where(at == NOT_AN_INSTANT, as_of, at)
    fresh = (at != NOT_AN_INSTANT) & (at <= now_at) & (now_at - np.maximum(at, 0) <= FRESH_US)
    return _ZoneCells(_cells(batch, name, str), fresh)


def _placed(batch: ColumnBatch, countries: _Cells, states: _Cells) -> _Cells:
    """States without those that no country is named for and that none of the countries we know has: they may be any."""
    column = batch.column("state")
    if column is None:
        return states
    codes, written = coded(column)
    ours = frozenset().union(*(states_of(country) for country in COUNTRIES_WITH_STATES))
    unplaced = [
        bool(state) and state not in ours and "-" not in text
        for state, text in zip(states.levels, written, strict=True)
    ]
    lost = np.array([*unplaced, False], dtype=np.bool_)[codes] & (countries.codes < 0)
    return _Cells(np.where(lost, UNKNOWN, states.codes).astype(np.int32), states.levels, states.present)


def _check_states(batch: ColumnBatch, countries: _Cells, states: _Cells) -> None:
    """A state of a country whose states we know must be one of them."""
    if not states.present or not countries.present:
        return
    wrong = np.zeros((len(countries.levels) + 1, len(states.levels) + 1), dtype=np.bool_)
    for row, country in enumerate(countries.levels):
        ours = states_of(country or "")
        wrong[row, :-1] = [bool(ours) and bool(state) and state not in ours for state in states.levels]
    bad = wrong[countries.codes, states.codes]
    batch.fail("state", bad, batch.columns["state"], "must be a state of the contact's country")
