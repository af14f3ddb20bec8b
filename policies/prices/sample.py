"""A sample of contacts that does not depend on their order or blocks: those of the smallest hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.features import ContextBlock
from engine.identity import keyed_hash, unit_of
from engine.types import BoolArray, ByteArray, FloatArray, ObjectArray
from policies.prices.use import Contacts

_SALT = "prices"


def sample_keys(decision_ids: ObjectArray) -> FloatArray:
    """(n,) in [0, 1), fixed by the id, independent of every draw."""
    return unit_of(keyed_hash(decision_ids, _SALT), _SALT)


@dataclass
class ContactSample:
    """The `size` contacts of the smallest keys, of all that were seen, in blocks.

    Attributes:
        size: contacts to keep.
        shape: (C, H, K).
        seen: contacts that were offered.
    """

    size: int
    shape: tuple[int, int, int]
    seen: int = 0
    _pieces: list[tuple[FloatArray, BoolArray, ContextBlock, ByteArray]] = field(default_factory=list)
    _below: float = np.inf

    def wanted(self, keys: FloatArray) -> BoolArray:
        """(n,) contacts that may belong to the sample; counts all of them as seen."""
        self.seen += len(keys)
        return keys < self._below

    def add(self, keys: FloatArray, drawn: BoolArray, context: ContextBlock, packed: ByteArray) -> None:
        """Add contacts that are wanted.

        Args:
            keys: (m,) of `sample_keys`.
            drawn: (m,) whether anything is drawn for them; control is not.
            context: of the m contacts.
            packed: (m, ceil(k / 8)) eligible sets.
        """
        if len(keys):
            self._pieces.append((keys, drawn, context, packed))
        if sum(len(piece[0]) for piece in self._pieces) > 4 * self.size:
            self._trim()

    def blocks(self, size: int | None = None) -> list[Contacts]:
        """The sample, or a smaller one: contacts of whom nothing is drawn count as rows and nothing else."""
        self._trim()
        below = np.inf if size is None else _cut(self._pieces, size)
        pieces = (_kept(piece, piece[0] < below) for piece in self._pieces)
        return list(_contacts((piece for piece in pieces if len(piece[0])), self.shape))

    def _trim(self) -> None:
        below = _cut(self._pieces, self.size)
        if below == np.inf:
            return
        self._below = below
        self._pieces = [
            _kept(piece, piece[0] < self._below) for piece in self._pieces if (piece[0] < self._below).any()
        ]


Piece = tuple[FloatArray, BoolArray, ContextBlock, ByteArray]


def _cut(pieces: Sequence[Piece], size: int) -> float:
    """Below it lie the `size` smallest keys; infinite where there are no more."""
    every = np.concatenate([piece[0] for piece in pieces]) if pieces else np.zeros(0)
    return float(np.partition(every, size)[size]) if len(every) > size else np.inf


def _kept(piece: Piece, rows: BoolArray) -> Piece:
    keys, drawn, context, packed = piece
    at = np.flatnonzero(rows)
    return keys[at], drawn[at], context.take(at), packed[at]


def _contacts(pieces: Iterable[Piece], shape: tuple[int, int, int]) -> Iterator[Contacts]:
    for keys, drawn, context, packed in pieces:
        at = np.flatnonzero(drawn)
        yield Contacts(context.take(at), packed[at], shape, len(keys))
