"""Expected use: how often each (channel, arm) is sent under the exact distributions, summed as whole numbers.

Each contact's expectation is rounded to a billionth of a message and summed as an integer, so the sums are the same in
whatever batches, order or processes they are taken. The contacts are a sample that does not depend on their order
either: those of the smallest hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.decide.asking import distribution_of
from engine.eligibility import unpack
from engine.features import ContextBatch
from engine.identity import keyed_hash, unit_of
from engine.protocols import Policy
from engine.types import BoolArray, ByteArray, FloatArray, IntArray, ObjectArray
from policies.peers.segmentation import Cut

_SALT = "prices"


NANO: Final = 1e9
# Rows whose (rows, k) distribution is built at once: 32 MiB.
_PLAIN_BYTES: Final = 32 << 20


@dataclass(frozen=True)
class Use:
    """Sums over contacts; those of two sets of contacts add up to those of both.

    Attributes:
        cells: (G, C, K) expected sends in billionths, by group of contacts.
        sendable: (G,) contacts with an eligible send.
        rows: contacts, with those of whom nothing is drawn.
    """

    cells: IntArray
    sendable: IntArray
    rows: int

    def __add__(self, other: Use) -> Use:
        return Use(self.cells + other.cells, self.sendable + other.sendable, self.rows + other.rows)

    @property
    def sends(self) -> FloatArray:
        """(G, C, K) expected sends."""
        expected: FloatArray = self.cells / NANO
        return expected


@dataclass(frozen=True)
class Contacts:
    """What contacts look like to a policy: their contexts and what they may get.

    Attributes:
        context: the context of n contacts.
        packed: (n, ceil(k / 8)) their eligible sets.
        shape: (C, H, K).
        rows: contacts that they stand for: n, and those of whom nothing is drawn.
    """

    context: ContextBatch
    packed: ByteArray
    shape: tuple[int, int, int]
    rows: int

    @property
    def k(self) -> int:
        channels, hours, arms = self.shape
        return 1 + channels * hours * arms


def no_use(shape: tuple[int, int, int], groups: int) -> Use:
    """The use of no contacts at all: the zero of the sums."""
    channels, _, arms = shape
    return Use(np.zeros((groups, channels, arms), dtype=np.int64), np.zeros(groups, dtype=np.int64), 0)


def expected_use(policy: Policy, contacts: Contacts, cut: Cut | None = None, uniform: float = 0.0) -> Use:
    """What a policy is expected to send to some contacts.

    Args:
        policy: gives the distribution.
        contacts: n of them.
        cut: groups of contacts; None is one group.
        uniform: share of the decisions that take a uniform eligible action instead, in [0, 1].

    Raises:
        ParameterError: what the policy gives is no distribution.
    """
    groups = cut.cells if cut else 1
    total = no_use(contacts.shape, groups)
    size = max(1, _PLAIN_BYTES // (8 * contacts.k))
    for start in range(0, contacts.context.n, size):
        rows = slice(start, min(start + size, contacts.context.n))
        eligible = unpack(contacts.packed[rows], contacts.k)
        total = total + _batch_use(policy, contacts.context.take(rows), eligible, contacts.shape, cut, uniform)
    return Use(total.cells, total.sendable, contacts.rows)


def cell_sends(probabilities: FloatArray | BoolArray, shape: tuple[int, int, int]) -> FloatArray:
    """(n, k) -> (n, C, K): sums over the hours, in one fixed order."""
    cells = probabilities[:, 1:].reshape(len(probabilities), *shape)
    out = cells[:, :, 0].astype(np.float64)
    for hour in range(1, shape[1]):
        out += cells[:, :, hour]
    return out


def row_sends(policy: Policy, context: ContextBatch, eligible: BoolArray, shape: tuple[int, int, int]) -> FloatArray:
    """(n, C, K) expected sends of each contact.

    Raises:
        ParameterError: what the policy gives is no distribution.
    """
    return cell_sends(distribution_of(policy, context, eligible), shape)


def _batch_use(
    policy: Policy,
    context: ContextBatch,
    eligible: BoolArray,
    shape: tuple[int, int, int],
    cut: Cut | None,
    uniform: float,
) -> Use:
    some = np.flatnonzero(eligible[:, 1:].any(axis=1))
    groups = cut.cells if cut else 1
    if not len(some):
        return no_use(shape, groups)
    if len(some) < len(eligible):
        context, eligible = context.take(some), eligible[some]
    sends = row_sends(policy, context, eligible, shape)
    if uniform:
        even = cell_sends(eligible, shape) / eligible.sum(axis=1)[:, None, None]
        sends = (1.0 - uniform) * sends + uniform * even
    nano = np.rint(sends * NANO).astype(np.int64)
    group = cut.cell_of(context) if cut else np.zeros(len(nano), dtype=np.int64)
    cells = np.zeros((groups, *nano.shape[1:]), dtype=np.int64)
    np.add.at(cells, group, nano)
    return Use(cells, np.bincount(group, minlength=groups).astype(np.int64), len(nano))


def sample_keys(decision_ids: ObjectArray) -> FloatArray:
    """(n,) in [0, 1), fixed by the id, independent of every draw."""
    return unit_of(keyed_hash(decision_ids, _SALT), _SALT)


@dataclass
class ContactSample:
    """The `size` contacts of the smallest keys, of all that were seen, in batches.

    Attributes:
        size: contacts to keep.
        shape: (C, H, K).
        seen: contacts that were offered.
    """

    size: int
    shape: tuple[int, int, int]
    seen: int = 0
    _pieces: list[tuple[FloatArray, BoolArray, ContextBatch, ByteArray]] = field(default_factory=list)
    _below: float = np.inf

    def wanted(self, keys: FloatArray) -> BoolArray:
        """(n,) contacts that may belong to the sample; counts all of them as seen."""
        self.seen += len(keys)
        return keys < self._below

    def add(self, keys: FloatArray, drawn: BoolArray, context: ContextBatch, packed: ByteArray) -> None:
        """Add contacts that are wanted.

        Args:
            keys: (m,) of `sample_keys`.
            drawn: (m,) whether anything is drawn for them; control is not.
            context: the context of the m contacts.
            packed: (m, ceil(k / 8)) eligible sets.
        """
        if len(keys):
            self._pieces.append((keys, drawn, context, packed))
        if sum(len(piece[0]) for piece in self._pieces) > 4 * self.size:
            self._trim()

    def batches(self, size: int | None = None) -> list[Contacts]:
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


Piece = tuple[FloatArray, BoolArray, ContextBatch, ByteArray]


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
