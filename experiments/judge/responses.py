"""Fits the models of p_respond and p_unsub that lie beside a trained policy, from the log that it is trained on."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from policies.vw.arguments import VwConfig
from policies.vw.responses import Asked, ResponseModel
from policies.vw.reward_model import VwResponseModel


def fit_responses(reader: LogReader, asked: Sequence[Asked], config: VwConfig) -> tuple[ResponseModel, ...]:
    """One model per metric, on all usable rows whose metric is known.

    Raises:
        DataError: the log has no such metric.
        ParameterError: the metric is no share: a probability lies in [0, 1].
        LearnError: no row to learn from, or a value that is neither 0 nor 1.
    """
    return tuple(_fit(reader, one, config) for one in asked)


def _fit(reader: LogReader, asked: Asked, config: VwConfig) -> ResponseModel:
    rewards = reader.meta.rewards
    if asked.metric not in rewards:
        raise DataError(f"{reader.path} has no metric {asked.metric!r}", hint=f"the log knows: {sorted(rewards)}")
    spec = rewards[asked.metric]
    if spec.low < 0 or spec.high > 1:
        raise ParameterError(
            "also", "train", allowed="metrics in [0, 1]", got=f"{asked.metric} in [{spec.low:g}, {spec.high:g}]"
        )
    model = VwResponseModel(reader.meta.catalog, reader.meta.features, asked.metric, (spec.low, spec.high), config)
    model.fit(Selection(reader, asked.metric))
    return model.response(asked.role)
