"""Evaluations and estimates in the short words of the tests, through the engine's own entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from engine.ope import evaluate as front
from engine.ope.estimators.terms import ONE, Estimator, Rows
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question, Setup, chain
from engine.ope.sums.ratios import ONE_COLUMN, PointEstimate, Ratio, Ratios, UnitSums, estimate_units
from engine.ope.target import Target
from engine.records.rounds import RoundBatch

ASKED = {field.name for field in fields(Question)}
SET = set(EvaluationSettings.__struct_fields__)


def question_and_settings(options: dict[str, Any]) -> tuple[Question, EvaluationSettings, dict[str, Any]]:
    """Options by the struct that holds them, and the rest; a baseline of None is the logged choices."""
    options = {name: value for name, value in options.items() if name != "baseline" or value is not None}
    question = Question(**{name: value for name, value in options.items() if name in ASKED})
    settings = EvaluationSettings(**{name: value for name, value in options.items() if name in SET})
    return question, settings, {name: value for name, value in options.items() if name not in ASKED | SET}


def evaluate(rounds: Iterable[RoundBatch], targets: Sequence[Target], **options: Any) -> front.Evaluation:
    """`engine.ope.evaluate.evaluate` with the question and the settings as keywords."""
    question, settings, rest = question_and_settings(options)
    return front.evaluate(rounds, targets, question, settings, **rest)


def setup_of(targets: Sequence[Target], **options: Any) -> Setup:
    """`engine.ope.setup.Setup` with the question and the settings as keywords."""
    question, settings, rest = question_and_settings(options)
    return Setup(tuple(targets), question, settings, **rest)


def estimate_of(estimator: Estimator, *columns: np.ndarray, **weights: np.ndarray) -> PointEstimate:
    """One estimate from whole arrays: weight, reward, and the model's value and logged value where there is one.

    The terms are the estimator's own, the sums and the error those of `engine.ope.sums.ratios`.
    """
    weight, reward, *model = columns
    rows = Rows(reward, weight, *model, **weights)
    summed, ratios = [np.ones_like(reward)], []
    for part in chain(estimator):
        summed.append(part.terms(rows))
        above, below = len(summed) - 1, ONE_COLUMN
        if part.denominator != ONE:
            summed.append(rows.named(part.denominator))
            below = len(summed) - 1
        ratios.append(Ratio(above, below))
    return estimate_units(np.stack(summed), tuple(ratios))


def remarks(found: front.Evaluation, result: int = 0) -> tuple[str, ...]:
    """The notes of a result without the reasons of an insufficient support."""
    return found.results[result].notes[len(found.reasons[result]) :]


def of_chunks(chunks: Iterable[np.ndarray], ratios: Ratios) -> PointEstimate:
    """A sum of ratios from the columns of each chunk, in their order."""
    sums: UnitSums | None = None
    for number, values in enumerate(chunks):
        sums = UnitSums(len(values), ratios) if sums is None else sums
        sums.add(number, values)
    assert sums is not None
    return sums.result()
