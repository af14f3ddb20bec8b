"""Caps per key: at most n entries of the same topic, template or category in a rolling window, arm by arm.

An entry or an arm without a name may be of any name: it counts for all.

The keys are the names that the catalog's arms carry. Each level of a column of sends or events maps to the keys that it
counts for, through a compressed table, so that the work is one look per recent entry and none per arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.contacts.contacts import taken_rows
from engine.guardrails.history.bounds import first_instants, last_instants, rows_of
from engine.guardrails.history.spans import ALWAYS, Spans, first_clear, first_inside, near, reached, spans_of
from engine.guardrails.rule import Scene
from engine.names import may_mean
from engine.time.localtime import datetime_of
from engine.types import BoolArray, CodeArray, IntArray


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
) -> KeyTable:
    """The table of a catalog and a column.

    Args:
        arm_names: (K,) name of each arm, "" for none, None for arms out of scope.
        levels: levels of the column.
        also: (level, name) pairs by which a level counts for another name too.
    """
    names = tuple(sorted({name for name in arm_names if name is not None}))
    position = {name: at for at, name in enumerate(names)}
    further: dict[str, set[str]] = {}
    for level, name in also:
        further.setdefault(level, set()).add(name)
    known = {*names, *further} - {""}

    def counted(level: str) -> set[str]:
        """Names that a level may mean: an entry under a misspelt name counts, or a spelling would open a cap."""
        meant = may_mean(level, known)
        return {*meant, *(name for one in meant for name in further.get(one, ()))}

    rows = [
        sorted(position[name] for name in {*counted(level), ""} & position.keys())
        if level.strip()
        else list(range(len(names)))
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


def _spans(entries: Entries, table: KeyTable, n: int, window_us: int, *, lasting: bool) -> tuple[IntArray, Spans]:
    """The row of each interval in which one more entry of its key (the group) is too many, and the intervals."""
    rows, keys, at = _looks(entries, table)
    size = max(len(table.names), 1)
    group = rows * size + keys
    order = np.argsort(group, kind="stable")
    spans = spans_of(group[order], at[order], n, window_us)
    start = np.full_like(spans.start, ALWAYS) if lasting else spans.start
    return spans.groups // size, Spans(spans.groups % size, start, spans.end)


def _looks(entries: Entries, table: KeyTable) -> tuple[IntArray, IntArray, IntArray]:
    """(row, key, at) of every pair of an entry that counts and a key that it counts for."""
    # Code -1 is the last level of the table.
    levels = entries.codes[entries.kept].astype(np.int64) % (len(table.offsets) - 1)
    after, looked_up = taken_rows(table.offsets, levels)
    repeats = np.diff(after)
    rows = rows_of(entries.offsets, entries.kept)
    return np.repeat(rows, repeats), table.keys[looked_up], np.repeat(entries.at[entries.kept], repeats)


def closed_arms(
    scene: Scene, entries: Entries, table: KeyTable, n: int, window_us: int, *, lasting: bool = False
) -> BoolArray | None:
    """(n, K) arms for which some slot of a contact may be planned where one more entry is too many.

    Args:
        scene: gives the slots.
        entries: what counts.
        table: says for which arms an entry counts.
        n: entries allowed in the window, 1 or more.
        window_us: length of the window.
        lasting: an entry closes everything before it too, as what has happened does; otherwise it may be a send that is
            planned, and closes less than a window before it.

    Returns:
        None where there are none.
    """
    rows, spans = _spans(entries, table, n, window_us, lasting=lasting)
    hit = reached(scene, rows, spans)
    if not hit.any():
        return None
    closed = np.zeros((scene.contacts.n, len(table.names)), dtype=np.bool_)
    closed[rows[hit], spans.groups[hit]] = True
    return table.by_arm(closed)


@dataclass(frozen=True)
class Look:
    """Why an arm is closed for one contact.

    Attributes:
        count: entries less than a window away from the first closed instant; all later ones where they are lasting.
        at: that instant, as text.
        following: first later instant at which a decision passes; None where there is none.
    """

    count: int
    at: str
    following: int | None


def looked_at(
    scene: Scene, entries: Entries, table: KeyTable, arm: int, n: int, window_us: int, *, lasting: bool = False
) -> Look:
    """The finding on one contact and an arm that `closed_arms` closes, with the same arguments."""
    key = table.arm_keys[arm]
    _, spans = _spans(entries, table, n, window_us, lasting=lasting)
    pairs = spans.kept(spans.groups == key).pairs()
    _, keys, at = _looks(entries, table)
    closed_at = first_inside(scene, pairs)
    mine = at[keys == key]
    count = int((mine > closed_at - window_us).sum()) if lasting else near(mine, closed_at, window_us)
    return Look(count, datetime_of(closed_at).isoformat(), first_clear(scene, pairs))


def recent(scene: Scene, at: IntArray, window_us: int, *, lasting: bool = False) -> IntArray:
    """Positions of entries that some slot may see inside a window; later ones too where they are lasting."""
    counted = at > first_instants(scene).min() - window_us
    if not lasting:
        counted &= at < last_instants(scene).max() + window_us
    return np.flatnonzero(counted)


def names_of(arms: Sequence[str | None], in_scope: BoolArray) -> tuple[str | None, ...]:
    """Names of arms; None out of scope."""
    return tuple(name if inside else None for name, inside in zip(arms, in_scope.tolist(), strict=True))
