"""The OR of many factors: those of one shape are joined while they are small, and written out in full only once."""

from __future__ import annotations

import numpy as np

from engine.types import BoolArray


class Union:
    """Joins factors that broadcast to one full shape.

    Args:
        full: the shape of the result.
    """

    def __init__(self, full: tuple[int, ...]) -> None:
        self.full = full
        self._joined: dict[tuple[int, ...], BoolArray] = {}
        self._owned: set[tuple[int, ...]] = set()

    def add(self, factor: BoolArray | None) -> None:
        """Join a factor; the array itself is never written to. None is all false."""
        if factor is None:
            return
        shape = factor.shape
        if shape not in self._joined:
            self._joined[shape] = factor
        elif shape in self._owned:
            self._joined[shape] |= factor
        else:
            self._joined[shape] = self._joined[shape] | factor
            self._owned.add(shape)

    def result(self) -> BoolArray:
        """The full array, which belongs to the caller."""
        parts = self._folded()
        out: BoolArray = np.zeros(self.full, dtype=np.bool_)
        if len(parts) == 1:
            np.copyto(out, parts[0])
        for at, part in enumerate(parts[1:]):
            np.logical_or(part, out if at else parts[0], out=out)
        return out

    def _folded(self) -> list[BoolArray]:
        """Parts of which none is a smaller shape of another."""
        parts: list[BoolArray] = []
        for part in sorted(self._joined.values(), key=lambda one: one.size):
            within = [at for at, one in enumerate(parts) if _fits(one.shape, part.shape)]
            for at in within:
                part = part | parts[at]
            parts = [one for at, one in enumerate(parts) if at not in within] + [part]
        return parts


def _fits(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    return len(small) == len(large) and all(a in (1, b) for a, b in zip(small, large, strict=True))
