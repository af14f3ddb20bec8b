"""Fits a response model: Vowpal Wabbit's logistic regression of a yes-or-no metric on context and action."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from engine.encoder import Encoder
from engine.errors import LearnError
from engine.numeric.moments import Moments
from engine.records.rounds import RoundBlock
from engine.types import FloatArray
from policies.vw import wall
from policies.vw.arguments import regression_arguments
from policies.vw.compiler import compile_tables
from policies.vw.examples import context_text, regression_examples
from policies.vw.names import action_lines
from policies.vw.responses import ResponseModel, ResponseNote, Role
from policies.vw.reward_model import VwRewardModel
from policies.vw.rows import repeatable
from policies.vw.tables import ScoreTables

_FAR = 40.0


class VwResponseModel(VwRewardModel):
    """A reward model whose tables are log odds; its mean prediction on the rows that trained is the share seen."""

    def fit(self, rounds: Iterable[RoundBlock]) -> None:
        """Fit anew, as `VwRewardModel.fit`.

        Raises:
            LearnError: a value that is neither 0 nor 1, or see there.
        """
        blocks = repeatable(rounds)
        super().fit(blocks)
        fitted = self.fitted
        shift = self._shift(blocks, fitted.encoder, fitted.tables)
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

    def _write(self, data: Path, blocks: Iterable[RoundBlock], encoder: Encoder, seen: Moments) -> None:  # noqa: ARG002 - of the base
        lines = action_lines(self.catalog)
        with data.open("wb") as stream:
            for block in blocks:
                rows = self._rows(block)
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

    def _shift(self, blocks: Iterable[RoundBlock], encoder: Encoder, tables: ScoreTables) -> float:
        """What the ridge took from the constant: log odds to add, so that predicted and seen share agree.

        Half a response is added to what was seen: no share is ever 0 because nobody answered yet.
        """
        scores, events = [], 0.0
        for block in blocks:
            rows = self._rows(block)
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
