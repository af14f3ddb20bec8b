"""One part: Vowpal Wabbit's regression of a target on context and action; held-out rows choose terms and penalty.

bfgs minimises the loss over all rows plus a squared-norm penalty (`--l2`, in units of rows): neither the order of rows
nor a step size plays a part, so every part is the same whatever the batches were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.optimize import brentq
from scipy.special import expit, log_expit

from engine.errors import LearnError
from engine.features import ContextBatch
from engine.identity import unit_of
from engine.types import CodeArray, FloatArray, IntArray, KeyArray
from policies.parts.tables import own_scores
from policies.parts.terms import Terms
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.scoring.tables import ScoreTables

Kind = Literal["chance", "money"]
MODEL: Final = "model.vw"
# A pass that betters the loss by a smaller share is the last one. Vowpal Wabbit's own 1e-3 stops short of the minimum:
# on 60,000 rows of the world of stages 0.1531 USD a decision, with this 0.1564, with 1e-5 0.1564 in twice the time.
TERMINATION: Final = 3e-4
# The rows are read many times over; so few of them, some hundred bytes each, are read once.
HELD_ROWS: Final = 400_000
# Few rows of contacts with a past decide on it, and a weight on noise helps nobody.
MEMORY_ERRORS: Final = 2.0
_FIT_SHARE: Final = 0.7
# By how many standard errors other pairs than the first have to be better: the luckiest of many would win.
_PAIRS_ERRORS: Final = 1.0
_FAR: Final = 40.0
_PARITY_ROWS: Final = 256


@dataclass(frozen=True)
class Rows:
    """n rows to regress on.

    Attributes:
        context: of the rows.
        action: (n,) in [0, k).
        target: (n,) 0 or 1 for a chance, finite for money.
        cluster: (n,) key of the contact; rows of one contact stay on one side of every split.
        weight: (n,) how often each row counts, whole numbers from 1 on; None is once.
    """

    context: ContextBatch
    action: CodeArray
    target: FloatArray
    cluster: KeyArray
    weight: IntArray | None = None

    @property
    def n(self) -> int:
        return len(self.action)

    def take(self, rows: slice | IntArray) -> Rows:
        """The rows of a slice or an index array."""
        weight = None if self.weight is None else self.weight[rows]
        return Rows(self.context.take(rows), self.action[rows], self.target[rows], self.cluster[rows], weight)

    @property
    def counts(self) -> IntArray:
        """(n,) how often each row counts."""
        return np.ones(self.n, dtype=np.int64) if self.weight is None else self.weight


Stream = Callable[[], Iterable[Rows]]


class _Counted(Protocol):
    @property
    def n(self) -> int: ...


_Batch = TypeVar("_Batch", bound=_Counted)


def held(read: Callable[[], Iterable[_Batch]]) -> Callable[[], Iterable[_Batch]]:
    """The batches in memory where their rows are few; those of a long log are read anew at each call."""
    found, counted = [], 0
    for batch in read():
        found.append(batch)
        counted += batch.n
        if counted > HELD_ROWS:
            return read
    return lambda: found


@dataclass(frozen=True)
class Fitted:
    """A part.

    Attributes:
        terms: of the regression.
        tables: log odds for a chance, money for money.
        kind: of the target.
        interactions / ridge: what was chosen, or given.
        rows: that it was fitted on.
        mean: of the target over them.
        gain: mean held-out loss saved per row against the mean alone, with its standard error; None where nothing was
            held out.
        beyond: the same against the best that the context alone says; None where the action was not in question.
        recalled: what the contact's past saves of the mean held-out loss, with its standard error; None where the rows
            lack it, or nothing was held out.
        parity: largest |score - Vowpal Wabbit's prediction| over some of the rows, before the constant was set.
        model: bytes of Vowpal Wabbit's model.
    """

    terms: Terms
    tables: ScoreTables
    kind: Kind
    interactions: tuple[str, ...]
    ridge: float
    rows: int
    mean: float
    gain: tuple[float, float] | None = None
    beyond: tuple[float, float] | None = None
    parity: float = 0.0
    model: bytes = b""
    recalled: tuple[float, float] | None = None

    def all(self, context: ContextBatch) -> FloatArray:
        """(n, k) chance or money of every action."""
        scores = self.tables.scores(self.terms.encoder.encode(context))
        out: FloatArray = expit(scores) if self.kind == "chance" else scores
        return out

    def own(self, context: ContextBatch, action: CodeArray | IntArray) -> FloatArray:
        """(n,) of each row's own action."""
        scores = own_scores(self.tables, self.terms.encoder.encode(context), action, self.terms.catalog)
        out: FloatArray = expit(scores) if self.kind == "chance" else scores
        return out


@dataclass(frozen=True)
class Choice:
    """What held-out rows choose among.

    Attributes:
        terms: kinds of terms, the plainest first; those with memory each beside the same without, or all with it.
        interactions: sets of pairs, the plainest first.
        ridges: ascending.
        rows: most rows that take part.
        passes: of one regression.
        seed: of the split.
    """

    terms: Sequence[Terms]
    interactions: Sequence[tuple[str, ...]]
    ridges: Sequence[float]
    rows: int
    passes: int
    seed: int


def regress(stream: Stream, kind: Kind, choice: Choice, config: VwConfig) -> Fitted:
    """Choose terms, pairs and penalty on held-out rows, then fit on all of them.

    Pairs are chosen at the middle penalty and with the plainest terms that know the action, then the terms, then the
    penalty, and once more at that penalty: each by the mean loss on contacts that were not fitted on. The first pairs
    are kept unless others are better by a standard error, plainer terms unless others are better. Last of all the
    contact's own past is tried: it is kept where it is better by more than `MEMORY_ERRORS` standard errors.

    Args:
        stream: hands out the rows, anew at each call.
        kind: of the target.
        choice: see `Choice`.
        config: bits of the models.

    Raises:
        LearnError: no rows, or a failure of Vowpal Wabbit.
    """
    stream = held(stream)
    target = np.concatenate([np.zeros(0), *(batch.target for batch in stream())])
    counted = len(target)
    if not counted:
        raise LearnError("no rows to learn a part from", hint="join the outcomes first")
    # Money begins with the strongest penalty, and is to show that it deserves less.
    first = choice.ridges[-1 if kind == "money" else len(choice.ridges) // 2]
    best = (choice.terms[0], choice.interactions[0], first)
    gain = beyond = recalled = None
    options = len(choice.terms) * len(choice.interactions) * len(choice.ridges)
    if options > 1:
        with wall.scratch() as folder:
            bench = _Bench(stream, kind, choice, config, counted, folder)
            best = bench.chosen(best)
            best, recalled = bench.remembering(best)
            gain, beyond = bench.gain(best), bench.beyond(best)
    tables, model, parity = _fitted(stream, kind, best, choice.passes, config)
    terms, interactions, ridge = best
    mean = float(target.mean())
    return Fitted(terms, tables, kind, interactions, ridge, counted, mean, gain, beyond, parity, model, recalled)


_Candidate = tuple[Terms, tuple[str, ...], float]


def refit(one: Fitted, stream: Stream, passes: int, config: VwConfig) -> ScoreTables:
    """The tables of a part with the terms and the penalty that were chosen for it, fitted on other rows.

    Raises:
        LearnError: a failure of Vowpal Wabbit.
    """
    return _fitted(stream, one.kind, (one.terms, one.interactions, one.ridge), passes, config)[0]


def _fitted(
    stream: Stream, kind: Kind, chosen: _Candidate, passes: int, config: VwConfig
) -> tuple[ScoreTables, bytes, float]:
    """Tables, the bytes of Vowpal Wabbit's model, and how far its predictions are from the tables'."""
    terms, interactions, ridge = chosen
    with wall.scratch() as folder:
        data = folder / "rows.txt"
        centre, scale = _moments(stream(), kind)
        _write(data, terms, stream(), kind, centre, scale)
        tables, model = _fit(data, folder, terms, interactions, ridge, kind, passes, config, scale)
        parity = _parity(folder / MODEL, tables, terms, stream(), config, scale)
    return _calibrated(tables, terms, stream, kind, centre), model, parity


class _Bench:
    """Rows that fit and rows that choose, and what candidates lose on the latter."""

    def __init__(self, stream: Stream, kind: Kind, choice: Choice, config: VwConfig, rows: int, folder: Path) -> None:
        self._kind, self._choice, self._config, self._folder = kind, choice, config, folder
        share = min(1.0, choice.rows / rows)
        self._fit, self._held = [], []
        for batch in stream():
            unit = unit_of(batch.cluster, f"parts/{choice.seed}")
            # Whole contacts: first who takes part, then on which side.
            self._fit.append(batch.take(np.flatnonzero(unit < share * _FIT_SHARE)))
            self._held.append(batch.take(np.flatnonzero((unit >= share * _FIT_SHARE) & (unit < share))))
        self._centre, self._scale = _moments(self._fit, kind) if self._some else (0.0, 1.0)
        self._losses: dict[tuple[int, tuple[str, ...], float], FloatArray] = {}

    def best(self, candidates: Sequence[_Candidate], errors: float = 0.0) -> _Candidate:
        """The one with the least mean loss; the first stays unless another saves more than so many standard errors."""
        if not self._some:
            return candidates[0]
        first = self._loss(candidates[0])
        saved = [first - self._loss(one) for one in candidates]
        clear = [float(one.mean()) - errors * float(one.std()) / np.sqrt(len(one)) for one in saved]
        clear[0] = 0.0
        return candidates[int(np.argmax(clear))]

    def chosen(self, plainest: _Candidate) -> _Candidate:
        """The best of all: a search by coordinates, twice, as what is worth its terms depends on the penalty."""
        errors = self._errors
        # Without the action no pair of an action says anything.
        whole = [terms for terms in self._plain if terms.actions] or list(self._plain)
        best = plainest
        for _ in range(2):
            plain, ridge = (*plainest[:2], best[2]), best[2]
            others = [(whole[0], pairs, ridge) for pairs in self._choice.interactions]
            best = self.best([plain, *others], _PAIRS_ERRORS)
            best = self.best([best, *((terms, *best[1:]) for terms in whole[1:])], errors)
            best = self.walked(best)
            if best[2] == ridge:
                break
        return best

    @property
    def _errors(self) -> float:
        """By how many standard errors a candidate has to be better: money is so noisy that the luckiest would win."""
        return 1.0 if self._kind == "money" else 0.0

    @property
    def _plain(self) -> Sequence[Terms]:
        """The terms without memory; all of them where each has it."""
        return [terms for terms in self._choice.terms if not terms.memory] or self._choice.terms

    def remembering(self, best: _Candidate) -> tuple[_Candidate, tuple[float, float] | None]:
        """The same with the contact's past where that is clearly better, and what it saves per held-out row."""
        twins = [terms for terms in self._choice.terms if terms.memory and replace(terms, memory=()) == best[0]]
        if not twins or not self._some:
            return best, None
        recalling = (twins[0], *best[1:])
        saved = self._loss(best) - self._loss(recalling)
        mean = float(saved.mean())
        # Rows of one contact share its past: they err together.
        contact = np.unique(np.concatenate([batch.cluster for batch in self._held]), return_inverse=True)[1].ravel()
        error = float(np.sqrt((np.bincount(contact, weights=saved - mean) ** 2).sum()) / len(saved))
        return (recalling if mean > MEMORY_ERRORS * error else best), (mean, error)

    def walked(self, start: _Candidate) -> _Candidate:
        """The start with the penalty that its neighbours do not better: away from it, as far as held-out rows gain."""
        ridges = list(self._choice.ridges)
        at, found = ridges.index(start[2]), start
        for path in (ridges[at + 1 :], ridges[:at][::-1]):
            for ridge in path:
                following = (*found[:2], ridge)
                if self.best([found, following], self._errors) == found:
                    break
                found = following
            if found != start:
                break
        return found

    def gain(self, chosen: _Candidate) -> tuple[float, float] | None:
        """What a candidate saves against the mean of the rows that fit, per held-out row, and its standard error."""
        if not self._some:
            return None
        target = np.concatenate([batch.target for batch in self._held])
        mean = float(np.concatenate([batch.target for batch in self._fit]).mean())
        plain = _loss(np.full(len(target), _link(mean, self._kind)), target, self._kind)
        return _saved(plain - self._loss(chosen))

    def beyond(self, chosen: _Candidate) -> tuple[float, float] | None:
        """What a candidate saves against the context alone at its own best penalty, where that is the plainest."""
        alone = self._choice.terms[0]
        if not self._some or alone.actions or not chosen[0].actions:
            return None
        plain = self.walked((alone, self._choice.interactions[0], chosen[2]))
        return _saved(self._loss(plain) - self._loss(chosen))

    @property
    def _some(self) -> bool:
        return sum(batch.n for batch in self._fit) > 0 and sum(batch.n for batch in self._held) > 1

    def _loss(self, one: _Candidate) -> FloatArray:
        terms, interactions, ridge = one
        key = (id(terms), interactions, ridge)
        if key not in self._losses:
            # Pairs and penalties read the very same text: it is written and parsed once for each kind of terms.
            data = self._folder / f"{self._choice.terms.index(terms)}.txt"
            if not data.exists():
                _write(data, terms, self._fit, self._kind, self._centre, self._scale)
            passes, config, scale = self._choice.passes, self._config, self._scale
            tables, _ = _fit(data, self._folder, terms, interactions, ridge, self._kind, passes, config, scale)
            tables = _calibrated(tables, terms, lambda: self._fit, self._kind, self._centre)
            parts = [
                _loss(
                    own_scores(tables, terms.encoder.encode(batch.context), batch.action, terms.catalog),
                    batch.target,
                    self._kind,
                )
                for batch in self._held
            ]
            self._losses[key] = np.concatenate(parts)
        return self._losses[key]


def _saved(loss: FloatArray) -> tuple[float, float]:
    """Mean and standard error of what is saved per row."""
    return float(loss.mean()), float(loss.std() / np.sqrt(len(loss)))


def _loss(scores: FloatArray, target: FloatArray, kind: Kind) -> FloatArray:
    """(n,) logistic or squared loss."""
    if kind == "chance":
        out: FloatArray = -log_expit(np.where(target > 0.0, scores, -scores))
        return out
    return (scores - target) ** 2


def _link(mean: float, kind: Kind) -> float:
    if kind == "money":
        return mean
    inside = min(max(mean, 1e-6), 1.0 - 1e-6)
    return float(np.log(inside / (1.0 - inside)))


def _moments(batches: Iterable[Rows], kind: Kind) -> tuple[float, float]:
    """Centre and unit of the target as Vowpal Wabbit learns it."""
    pairs = [(batch.target, batch.counts) for batch in batches]
    target = np.repeat(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    if kind == "chance":
        return _link(float(target.mean()), kind), 1.0
    return float(target.mean()), float(target.std()) or 1.0


def _write(data: Path, terms: Terms, batches: Iterable[Rows], kind: Kind, centre: float, scale: float) -> None:
    with data.open("wb") as stream:
        for batch in batches:
            if not batch.n:
                continue
            counts = pc.cast(pa.array(batch.counts), pa.string())
            if kind == "chance":
                # Label, importance, and the log odds of the mean as what the penalty shrinks towards.
                labels = pa.array(np.where(batch.target > 0.0, "1 ", "-1 "))
                heads = pc.binary_join_element_wise(labels, counts, pa.scalar(f" {centre:.9g} "), "")
            else:
                standard = pc.cast(pa.array(((batch.target - centre) / scale).astype(np.float32)), pa.string())
                heads = pc.binary_join_element_wise(standard, pa.scalar(" "), counts, pa.scalar(" "), "")
            lines = pc.binary_join_element_wise(heads, terms.texts(batch.context, batch.action), pa.scalar("\n"), "")
            stream.write("".join(lines.to_pylist()).encode())


def _fit(
    data: Path,
    folder: Path,
    terms: Terms,
    interactions: tuple[str, ...],
    ridge: float,
    kind: Kind,
    passes: int,
    config: VwConfig,
    scale: float,
) -> tuple[ScoreTables, bytes]:
    path = folder / MODEL
    pairs = "".join(f" --interactions {pair}" for pair in interactions)
    loss = " --loss_function logistic" if kind == "chance" else ""
    optimiser = f"--bfgs --termination {TERMINATION:g} --predict_only_model --l2 {ridge:.9g}"
    arguments = f"-b {config.bit_precision}{pairs} {optimiser}{loss}"
    wall.train(arguments, data, path, passes=passes, durable=False, cache=data.with_suffix(".cache"))
    with wall.load(path, bits=config.bit_precision, batch=True) as model:
        return terms.tables(model, config, interactions, scale), path.read_bytes()


def _parity(
    path: Path, tables: ScoreTables, terms: Terms, batches: Iterable[Rows], config: VwConfig, scale: float
) -> float:
    """How far the tables are from Vowpal Wabbit's own predictions, on rows of the log.

    Vowpal Wabbit clamps a prediction to the targets that it has seen; rows at a clamp tell nothing.
    """
    first = next((batch for batch in batches if batch.n), None)
    if first is None:
        return 0.0
    some = first.take(slice(0, _PARITY_ROWS))
    ours = own_scores(tables, terms.encoder.encode(some.context), some.action, terms.catalog)
    with wall.load(path, bits=config.bit_precision, batch=True) as model:
        theirs = np.array([scale * model.value(text) for text in terms.texts(some.context, some.action).to_pylist()])
    inside = (theirs > theirs.min()) & (theirs < theirs.max()) if len(np.unique(theirs)) > 2 else np.ones(some.n, bool)
    return float(np.abs(ours - theirs)[inside].max(initial=0.0))


def _calibrated(tables: ScoreTables, terms: Terms, stream: Stream, kind: Kind, centre: float) -> ScoreTables:
    """The tables with the constant that makes the mean prediction on the rows the mean seen.

    The penalty shrinks the constant too; half an event is added to what was seen, so that no chance is ever 0.
    """
    pairs = []
    for batch in stream():
        if batch.n:
            scores = own_scores(tables, terms.encoder.encode(batch.context), batch.action, terms.catalog)
            pairs.append((np.repeat(scores, batch.counts), np.repeat(batch.target, batch.counts)))
    own, target = (np.concatenate(side) for side in zip(*pairs, strict=True))
    own = own + centre
    if not np.isfinite(own).all():
        raise LearnError("a part diverged: its predictions are not finite", hint="raise the penalties")
    if kind == "money":
        shift = float(target.mean() - own.mean())
    else:
        share = (float(target.sum()) + 0.5) / (len(target) + 1.0)
        low, high = _link(share, kind) - float(own.max()) - _FAR, _link(share, kind) - float(own.min()) + _FAR
        shift = float(brentq(lambda by: float(expit(own + by).mean()) - share, low, high, xtol=1e-9))
    base = tables.base.astype(np.float64)
    base[-1] += centre + shift
    return replace(tables, base=base.astype(np.float32))
