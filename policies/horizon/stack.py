"""Contexts of several blocks as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.features import Column, ContextBlock
from engine.types import CodeArray


def stacked(contexts: Sequence[ContextBlock]) -> ContextBlock:
    """The rows of all blocks, in their order; levels of blocks that name them differently are joined.

    Args:
        contexts: at least one, all of one schema.
    """
    first = contexts[0]
    columns = {name: _joined([context.columns[name] for context in contexts]) for name in first.columns}
    return ContextBlock(first.schema, columns, sum(context.n for context in contexts))


def _joined(columns: Sequence[Column]) -> Column:
    state = np.concatenate([column.state for column in columns])
    levels = tuple(dict.fromkeys(level for column in columns for level in column.levels))
    if all(column.levels == levels for column in columns):
        return Column(np.concatenate([column.values for column in columns]), state, levels)
    position = {level: code for code, level in enumerate(levels)}
    return Column(np.concatenate([_recoded(column, position) for column in columns]), state, levels)


def _recoded(column: Column, position: dict[str, int]) -> CodeArray:
    # The last entry is for -1: no level.
    lookup = np.array([*(position[level] for level in column.levels), -1], dtype=np.int32)
    return lookup[column.values.astype(np.int64)]
