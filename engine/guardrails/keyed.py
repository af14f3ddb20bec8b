"""Caps per key: at most n entries of the same topic, template or category in a rolling window, arm by arm.

The keys are the names that the catalog's arms carry. Each level of a column of sends or events maps to the keys that it
counts for, through a compressed table, so that the work is one look per recent entry and none per arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.contacts import taken_rows
from engine.guardrails.lookback import first_instants, nth_newest, rows_of
from engine.guardrails.rule import Scene
from engine.names import may_mean
from engine.types import NOT_AN_INSTANT, BoolArray, CodeArray, IntArray


@dataclass(frozen=True)
class KeyTable:
    """From levels to keys.

    Attributes:
        names: (U,) distinct names of arms; "" stands for arms without a name.
        arm_keys: (K,) position in `names` of each arm; -1 out of scope.
        offsets / keys: keys of level l are `keys[offsets[l]:offsets[l + 1]]`; the last level is code -1 (no level).
    """

    names: tuple[str, ...]
    arm_keys: IntArray
    offsets: IntArray
    keys: IntArray

    def by_arm(self, by_key: BoolArray) -> BoolArray:
        """(n, U) -> (n, K); arms out of scope are false."""
        out: BoolArray = by_key[:, self.arm_keys] & (self.arm_keys >= 0)
        return out


@lru_cache(maxsize=256)
def key_table(
    arm_names: tuple[str | None, ...],
    levels: tuple[str, ...],
    also: tuple[tuple[str, str], ...] = (),
    nameless_match_all: bool = True,
) -> KeyTable:
    """The table of a catalog and a column.

    Args:
        arm_names: (K,) name of each arm, "" for none, None for arms out of scope.
        levels: of the column.
        also: (level, name) pairs by which a level counts for another name too.
        nameless_match_all: whether an entry or an arm without a name may be of any name, so that it counts for all.
    """
    names = tuple(sorted({name for name in arm_names if name is not None}))
    position = {name: at for at, name in enumerate(names)}
    further: dict[str, set[str]] = {}
    for level, name in also:
        further.setdefault(level, set()).add(name)
    everything, nameless = (list(range(len(names))), {""}) if nameless_match_all else ([], set())
    known = {*names, *further} - {""}

    def counted(level: str) -> set[str]:
        """Names that a level may mean: an entry under a misspelt name counts, or a spelling would open a cap."""
        meant = may_mean(level, known)
        return {*meant, *(name for one in meant for name in further.get(one, ()))}

    rows = [
        sorted(position[name] for name in {*counted(level), *nameless} & position.keys()) if level else everything
        for level in (*levels, "")
    ]
    return KeyTable(
        names,
        np.array([-1 if name is None else position[name] for name in arm_names], dtype=np.int64),
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        np.array([key for row in rows for key in row], dtype=np.int64),
    )


@dataclass(frozen=True)
class Entries:
    """Entries of compressed rows that may count: positions in the row arrays, oldest first within a row.

    Attributes:
        offsets: (n + 1,) of the rows.
        at: (m,) instants of all entries.
        codes: (m,) level codes of all entries; -1 none.
        kept: positions that count.
    """

    offsets: IntArray
    at: IntArray
    codes: CodeArray
    kept: IntArray


def releases(entries: Entries, table: KeyTable, n: int, window_us: int) -> tuple[IntArray, IntArray, IntArray]:
    """(row, key, release): the pairs with at least n entries, and the first instant at which one more fits."""
    rows, keys, at = _looks(entries, table)
    group = rows * max(len(table.names), 1) + keys
    order = np.argsort(group, kind="stable")
    picks = order[nth_newest(group[order], n)]
    return rows[picks], keys[picks], at[picks] + window_us


def _looks(entries: Entries, table: KeyTable) -> tuple[IntArray, IntArray, IntArray]:
    """(row, key, at) of every pair of an entry that counts and a key that it counts for."""
    # Code -1 is the last level of the table.
    levels = entries.codes[entries.kept].astype(np.int64) % (len(table.offsets) - 1)
    after, looked_up = taken_rows(table.offsets, levels)
    repeats = np.diff(after)
    rows = rows_of(entries.offsets, entries.kept)
    return np.repeat(rows, repeats), table.keys[looked_up], np.repeat(entries.at[entries.kept], repeats)


def closed_arms(scene: Scene, entries: Entries, table: KeyTable, n: int, window_us: int) -> BoolArray | None:
    """(n, K) arms for which some planned instant of a contact lies before the release; None where there are none."""
    rows, keys, release = releases(entries, table, n, window_us)
    hit = release > first_instants(scene)[scene.contacts.zone_code[rows]]
    if not hit.any():
        return None
    closed = np.zeros((scene.contacts.n, len(table.names)), dtype=np.bool_)
    closed[rows[hit], keys[hit]] = True
    return table.by_arm(closed)


def looked_at(scene: Scene, entries: Entries, table: KeyTable, arm: int, n: int, window_us: int) -> tuple[int, int]:
    """(entries in the window before the first planned instant or after it, release) of one contact and one arm."""
    key = table.arm_keys[arm]
    _, keys, at = _looks(entries, table)
    begin = int(first_instants(scene)[scene.contacts.zone_code[0]]) - window_us
    counted = np.sort(at[keys == key])
    release = NOT_AN_INSTANT if len(counted) < n else int(counted[-n]) + window_us
    return int((counted > begin).sum()), release


def recent(scene: Scene, at: IntArray, window_us: int) -> IntArray:
    """Positions of entries that some slot may still see inside a window."""
    return np.flatnonzero(at > first_instants(scene).min() - window_us)


def names_of(arms: Sequence[str | None], in_scope: BoolArray) -> tuple[str | None, ...]:
    """Names of arms; None out of scope."""
    return tuple(name if inside else None for name, inside in zip(arms, in_scope.tolist(), strict=True))
