"""Actions are read by their names: what a row says of its action, held against the catalog that it is read under.

An index means nothing without the catalog that gave it. Each row therefore also keeps the name of its action and the
version of the catalog, and both must agree with the footer of its file; files of several catalogs are read together
under one catalog that knows every action of all of them, each action by its channel, hour and arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.content.eligibility import is_modular
from engine.eligibility import pack, unpack
from engine.errors import DataError, LogFormatError, MisnamedActionError
from engine.log.columns import labels, used_labels
from engine.types import HOLD, IntArray

CHECKED: Final = ("action", "action_name", "catalog_version")
_SHOWN: Final = 5
_SEPARATELY: Final = (
    "rows of another catalog were put under this footer, where their actions mean others; give the files as they were "
    "written, beside each other: --log A --log B"
)


class NamedActions:
    """Checks what the rows of one file say of their actions, and reads them under another catalog where asked.

    Args:
        catalog: catalog in the file's footer.
        under: that the rows are to be read under; it knows every action of `catalog`.
        source: the file, for errors.

    Raises:
        LogFormatError: `under` does not know an action of `catalog`.
    """

    def __init__(self, catalog: Catalog, under: Catalog, source: str) -> None:
        self._catalog, self._under, self._source = catalog, under, source
        self._index: dict[str, int] = {}
        self._positions = None if catalog.version == under.version else positions(catalog, under)

    def check(self, batch: pa.RecordBatch) -> None:
        """Refuse rows whose catalog, name and index do not belong together.

        Args:
            batch: with the columns `CHECKED`, as the schema declares them.

        Raises:
            MisnamedActionError: another catalog version than the footer's, a name that the catalog does not know, or an
                index that belongs to another name.
        """
        versions = used_labels(batch.column("catalog_version"))
        others = sorted(versions - {self._catalog.version})
        if others:
            raise MisnamedActionError(
                f"{self._source} holds rows of the catalog {others[0]}, its footer has the catalog "
                f"{self._catalog.version}",
                hint=_SEPARATELY,
            )
        names = batch.column("action_name")
        known = np.array([self._index_of(name) for name in names.dictionary.to_pylist()], dtype=np.int64)
        stored = batch.column("action").to_numpy(zero_copy_only=False)
        said = known[names.indices.to_numpy(zero_copy_only=False)] if len(known) else np.full(len(stored), -1)
        wrong = np.flatnonzero(said != stored)
        if len(wrong):
            row = int(wrong[0])
            raise MisnamedActionError(
                f"{self._source} holds action {stored[row]} under the name {names[row].as_py()!r}, "
                f"{self._instead(int(said[row]), int(stored[row]))} ({len(wrong)} such rows in a block)",
                hint=_SEPARATELY,
            )

    def read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows as the catalog that they are read under would have kept them; any of the log's columns."""
        if self._positions is None:
            return batch
        columns: dict[str, Any] = dict(zip(batch.schema.names, batch.columns, strict=True))
        if "action" in columns:
            action = self._positions[columns["action"].to_numpy(zero_copy_only=False)]
            columns |= {name: column for name, column in self._labels(action).items() if name in columns}
        if "eligible" in columns:
            columns["eligible"] = self._eligible(columns["eligible"])
        if "catalog_version" in columns:
            same = pa.array(np.zeros(batch.num_rows, dtype=np.int32))
            columns["catalog_version"] = pa.DictionaryArray.from_arrays(same, pa.array([self._under.version]))
        return pa.RecordBatch.from_pydict(columns)

    def _index_of(self, name: str) -> int:
        if name not in self._index:
            try:
                self._index[name] = self._catalog.resolve(name)
            except DataError:
                self._index[name] = -1
        return self._index[name]

    def _instead(self, said: int, stored: int) -> str:
        if said < 0:
            return f"which the catalog {self._catalog.name!r} does not know"
        names = self._catalog.action_names
        if 0 <= stored < len(names):
            return f"but the catalog {self._catalog.name!r} calls it {names[stored]!r}"
        return f"which is outside [0, {len(names)}), the actions of the catalog {self._catalog.name!r}"

    def _labels(self, action: IntArray) -> dict[str, pa.Array]:
        under = self._under
        channel, hour, arm = under.split(action)
        return {
            "action": pa.array(action, pa.int32()),
            "action_name": labels(action, under.action_names),
            "channel": labels(channel, under.channels),
            "send_hour": labels(hour, [str(slot) for slot in under.hours]),
            "arm": labels(arm, under.arm_ids),
        }

    def _eligible(self, stored: pa.BinaryArray) -> pa.BinaryArray:
        # The bits move with their actions; what the file's catalog did not know was not eligible.
        k, width = self._catalog.k, -(-self._catalog.k // 8)
        wrong = [row for row, bits in enumerate(stored.to_pylist()) if len(bits) != width]
        if wrong:
            raise LogFormatError(
                f"{self._source} holds eligible sets that are not {width} bytes long ({len(wrong)} such rows)",
                hint="the catalog does not fit the log",
            )
        packed = np.frombuffer(b"".join(stored.to_pylist()), dtype=np.uint8).reshape(len(stored), width)
        dense = np.zeros((len(stored), self._under.k), dtype=np.bool_)
        dense[:, self._positions] = unpack(packed, k)
        rows = pack(dense)
        return pa.Array.from_buffers(
            pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows).tobytes())]
        ).cast(pa.binary())


def positions(catalog: Catalog, under: Catalog) -> IntArray:
    """(k,) for every action of a catalog its index under another one.

    Actions are the same where channel, hour and arm have the same names; else an alias of the other catalog may name
    one, which is how a renamed arm stays what it was.

    Raises:
        LogFormatError: the other catalog does not know an action, or either is made of blocks.
    """
    if is_modular(catalog) or is_modular(under):
        raise LogFormatError(
            f"the logs have the catalogs {catalog.version} and {under.version}, of which one is made of blocks",
            hint="read the logs of each version by themselves",
        )
    by_name = [
        np.array([list(map(str, there)).index(str(one)) if str(one) in map(str, there) else -1 for one in here])
        for here, there in (
            (catalog.channels, under.channels),
            (catalog.hours, under.hours),
            (catalog.arm_ids, under.arm_ids),
        )
    ]
    parts = catalog.split(np.arange(catalog.k))
    channel, hour, arm = (found[part] for found, part in zip(by_name, parts, strict=True))
    _, hours, arms = under.shape
    index: IntArray = 1 + (channel * hours + hour) * arms + arm
    index[(channel < 0) | (hour < 0) | (arm < 0)] = -1
    index[HOLD] = HOLD
    for action in np.flatnonzero(index < 0).tolist():
        name = catalog.action_names[action]
        index[action] = under.resolve(name) if name in under.aliases else -1
    missing = [catalog.action_names[action] for action in np.flatnonzero(index < 0).tolist()]
    if missing:
        raise LogFormatError(
            f"the catalog {under.name!r} ({under.version}) does not know {_some(missing)} of the catalog "
            f"{catalog.name!r} ({catalog.version})",
            hint="read the logs of each catalog by themselves; the old names of a renamed arm can be its `aliases`",
        )
    if len(np.unique(index)) != len(index):
        raise LogFormatError(
            f"two actions of the catalog {catalog.version} are one of the catalog {under.version}",
            hint="read the logs of each catalog by themselves",
        )
    return index


def common_catalog(catalogs: Sequence[Catalog]) -> Catalog:
    """The catalog that rows of all the catalogs can be read under: the last one that knows every action.

    Args:
        catalogs: in the order of their logs, oldest first.

    Raises:
        LogFormatError: none of them knows the actions of all.
    """
    distinct = list({catalog.version: catalog for catalog in catalogs}.values())
    failed: LogFormatError | None = None
    for under in reversed(distinct):
        try:
            for catalog in distinct:
                if catalog.version != under.version:
                    positions(catalog, under)
        except LogFormatError as error:
            # The newest catalog's own words say most.
            failed = failed or error
        else:
            return under
    raise LogFormatError(
        f"the logs have {len(distinct)} catalogs, and none knows the actions of all: "
        f"{failed.message if failed else 'no logs'}",
        hint=failed.hint if failed else "",
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more actions" if len(names) > _SHOWN else shown
