"""Regressions of one metric on context and action with Vowpal Wabbit, compiled to tables: of a reward or a response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from engine.catalog import Catalog
from engine.encoder import Encoder, fit_encoder
from engine.errors import LearnError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.numeric.moments import Moments
from engine.records.rounds import SAMPLE_WEIGHT, RoundBatch
from engine.types import FloatArray
from policies.vw import wall
from policies.vw.arguments import VwConfig, regression_arguments
from policies.vw.examples import action_lines, context_text, regression_examples
from policies.vw.responses import ResponseModel, ResponseNote, Role
from policies.vw.rows import repeatable, trainable
from policies.vw.scoring.compiler import compile_tables
from policies.vw.scoring.tables import ScoreTables

_FAR: Final = 40.0


@dataclass(frozen=True)
class FittedModel:
    """What a reward model learnt: the encoder and the tables, whose scores are clipped to the declared range."""

    encoder: Encoder
    tables: ScoreTables
    rounds: int


class VwRewardModel:
    """Regression of one metric (`engine.protocols.RewardModel`).

    The targets are standardised first, so that the ridge penalty shrinks towards the mean reward, not towards 0. The
    default method is VW's bfgs: no learning rate, and neither the order of rows nor the scale of rewards matters.

    Args:
        catalog: the actions.
        schema: the features of every context.
        metric: the reward to predict.
        reward_range: declared (low, high) of the metric; predictions are clipped to it.
        config: `regression`, `regression_passes`, `ridge`, interactions, bits and levels are used.
        weighted: weight every round by 1 / propensity, beside the `SAMPLE_WEIGHT` that rounds may carry.

    Raises:
        ParameterError: low is not below high.
    """

    weighs_rounds: Final = True

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        config: VwConfig | None = None,
        *,
        weighted: bool = False,
    ) -> None:
        low, high = reward_range
        if not (np.isfinite([low, high]).all() and low < high):
            raise ParameterError("reward_range", "VwRewardModel", allowed="finite, low below high", got=reward_range)
        self.catalog = catalog
        self.schema = schema
        self.metric = metric
        self.reward_range = (float(low), float(high))
        self.config = config or VwConfig()
        self.weighted = weighted
        self._fitted: FittedModel | None = None

    @property
    def fitted(self) -> FittedModel:
        """What was learnt.

        Raises:
            LearnError: `fit` was not called.
        """
        if self._fitted is None:
            raise LearnError("the reward model is not fitted", hint="call fit first")
        return self._fitted

    def fit(self, rounds: Iterable[RoundBatch]) -> None:
        """Fit anew; rows that may not train (not usable, metric not known) are left out.

        The rounds are read twice: give a list or an object whose `__iter__` starts anew; a one-shot iterator is held in
        memory.

        Raises:
            LearnError: a reward outside the declared range, a propensity outside (0, 1] where `weighted`, no round to
                learn from, or a failure of VW. The model is then as it was.
        """
        batches = repeatable(rounds)
        seen = Moments()
        encoder = fit_encoder(self.schema, self._contexts(batches, seen), self.config.max_levels)
        if not seen.n:
            raise LearnError(f"no usable round with a known {self.metric!r}", hint="join the outcomes first")
        with wall.scratch() as folder:
            data, model = folder / "rounds.txt", folder / "model.vw"
            self._write(data, batches, encoder, seen)
            # With equal targets there is nothing to regress, and bfgs gives up at a gradient of 0.
            tables = self._regress(data, model, encoder, seen) if seen.squares else self._flat(encoder, seen)
        if not all(np.isfinite(array).all() for array in (tables.base, tables.arm, tables.channel, tables.hour)):
            raise LearnError("the reward model diverged", hint="raise ridge, or use regression: bfgs")
        self._fitted = FittedModel(encoder, tables, seen.n)

    def predict(self, context: ContextBatch) -> FloatArray:
        """(n, k) expected rewards of every action, within the declared range.

        Raises:
            LearnError: `fit` was not called.
            DataError: the context has another schema.
        """
        fitted = self.fitted
        return fitted.tables.scores(fitted.encoder.encode(context))

    def _contexts(self, batches: Iterable[RoundBatch], seen: Moments) -> Iterator[ContextBatch]:
        for batch in batches:
            rows = self._rows(batch)
            seen.add(rows.rewards[self.metric])
            yield rows.context

    def _rows(self, batch: RoundBatch) -> RoundBatch:
        return trainable(batch, self.metric, self.reward_range, self.catalog, propensities=self.weighted)

    def _write(self, data: Path, batches: Iterable[RoundBatch], encoder: Encoder, seen: Moments) -> None:
        lines = action_lines(self.catalog)
        with data.open("wb") as stream:
            for batch in batches:
                rows = self._rows(batch)
                target = (rows.rewards[self.metric] - seen.mean) / seen.scale
                weight = self._weight(rows)
                text = context_text(encoder, rows.context)
                stream.write(regression_examples(text, lines, rows.action, target, weight))

    def _weight(self, rows: RoundBatch) -> FloatArray | None:
        weight = 1.0 / rows.propensity if self.weighted else None
        if SAMPLE_WEIGHT not in rows.extra:
            return weight
        given = rows.extra[SAMPLE_WEIGHT].astype(np.float64)
        return given if weight is None else given * weight

    def _regress(self, data: Path, path: Path, encoder: Encoder, seen: Moments) -> ScoreTables:
        config = self.config
        wall.train(regression_arguments(config), data, path, passes=config.regression_passes, durable=False)
        with wall.load(path, bits=config.bit_precision, batch=config.regression == "bfgs") as model:
            return compile_tables(
                model, encoder, self.catalog, config, scale=seen.scale, shift=seen.mean, limits=self.reward_range
            )

    def _flat(self, encoder: Encoder, seen: Moments) -> ScoreTables:
        shapes = ScoreTables.shapes(self.catalog, encoder.d)
        tables = ScoreTables(**{name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()})
        tables.base[-1] = seen.mean
        tables.limits[:] = self.reward_range
        return tables


class VwResponseModel(VwRewardModel):
    """A reward model whose tables are log odds; its mean prediction on the rows that trained is the share seen."""

    def fit(self, rounds: Iterable[RoundBatch]) -> None:
        """Fit anew, as `VwRewardModel.fit`.

        Raises:
            LearnError: a value that is neither 0 nor 1, or see there.
        """
        batches = repeatable(rounds)
        super().fit(batches)
        fitted = self.fitted
        shift = self._shift(batches, fitted.encoder, fitted.tables)
        base = fitted.tables.base.copy()
        base[-1] += shift
        self._fitted = replace(fitted, tables=replace(fitted.tables, base=base))

    def response(self, role: Role) -> ResponseModel:
        """What was learnt, to be kept beside a policy.

        Raises:
            LearnError: `fit` was not called.
        """
        fitted = self.fitted
        note = ResponseNote(role=role, metric=self.metric, encoder=fitted.encoder, rounds=fitted.rounds)
        return ResponseModel(note, fitted.tables)

    def _write(self, data: Path, batches: Iterable[RoundBatch], encoder: Encoder, seen: Moments) -> None:  # noqa: ARG002 - of the base
        lines = action_lines(self.catalog)
        with data.open("wb") as stream:
            for batch in batches:
                rows = self._rows(batch)
                reward = rows.rewards[self.metric]
                if not np.isin(reward, (0.0, 1.0)).all():
                    raise LearnError(
                        f"{self.metric!r} is not only 0 or 1, so it is no response", hint="use a yes-or-no metric"
                    )
                text = context_text(encoder, rows.context)
                stream.write(regression_examples(text, lines, rows.action, 2.0 * reward - 1.0, None))

    def _regress(self, data: Path, path: Path, encoder: Encoder, seen: Moments) -> ScoreTables:  # noqa: ARG002 - of the base
        config = self.config
        arguments = f"{regression_arguments(config)} --loss_function logistic"
        wall.train(arguments, data, path, passes=config.regression_passes, durable=False)
        with wall.load(path, bits=config.bit_precision, batch=config.regression == "bfgs") as model:
            return compile_tables(model, encoder, self.catalog, config, scale=1.0, shift=0.0)

    def _flat(self, encoder: Encoder, seen: Moments) -> ScoreTables:
        tables = super()._flat(encoder, seen)
        tables.base[-1] = 0.0
        tables.limits[:] = (-np.inf, np.inf)
        return tables

    def _shift(self, batches: Iterable[RoundBatch], encoder: Encoder, tables: ScoreTables) -> float:
        """What the ridge took from the constant: log odds to add, so that predicted and seen share agree.

        Half a response is added to what was seen: no share is ever 0 because nobody answered yet.
        """
        scores, events = [], 0.0
        for batch in batches:
            rows = self._rows(batch)
            every = tables.scores(encoder.encode(rows.context))
            scores.append(every[np.arange(rows.n), rows.action])
            events += float(rows.rewards[self.metric].sum())
        own: FloatArray = np.concatenate(scores)
        share = (events + 0.5) / (len(own) + 1.0)
        return float(brentq(lambda shift: float(expit(own + shift).mean()) - share, *_around(own, share), xtol=1e-9))


def _around(own: FloatArray, share: float) -> tuple[float, float]:
    """Shifts between which the predicted share passes the one seen."""
    centre = float(logit(share))
    return centre - float(own.max()) - _FAR, centre - float(own.min()) + _FAR
