"""What an evaluation is told of the log beside its rows: the attributes of actions, and who decided."""

from __future__ import annotations

from collections.abc import Iterable

from engine.log.parquet import LogReader
from engine.ope.estimators.marginalised import Embedding, action_groups
from engine.ope.estimators.several_loggers import Loggers, count_loggers
from engine.ope.settings import EvaluationSettings
from engine.records.rounds import RoundBatch
from experiments.judge.specs import parse_spec


def columns_needed(settings: EvaluationSettings, reader: LogReader) -> tuple[str, ...]:
    """Stored columns that must be read for them.

    Raises:
        DataError: an unknown column or policy.
    """
    specs = [spec for spec in (settings.logging, *settings.loggers.values()) if spec]
    names = {name for spec in specs for name in parse_spec(spec, reader)[1]}
    if settings.logger_column:
        names.add(reader.column(settings.logger_column))
    return tuple(sorted(names))


def embedding_of(settings: EvaluationSettings, reader: LogReader) -> Embedding | None:
    """Attributes and logging policy, where both were given.

    Raises:
        DataError: an unknown logging policy.
        ParameterError: an unknown attribute, or a logging policy that does not give its whole distribution.
    """
    if not settings.attributes or not settings.logging:
        return None
    return Embedding(action_groups(reader.meta.catalog, settings.attributes), parse_spec(settings.logging, reader)[0])


def loggers_of(settings: EvaluationSettings, rounds: Iterable[RoundBatch], reader: LogReader) -> Loggers | None:
    """Who decided which row, counted in a pass of its own, where a column says so.

    Raises:
        DataError: an unknown column or policy, or a logger without a policy while others have one.
    """
    if not settings.logger_column:
        return None
    policies = [(name, parse_spec(spec, reader)[0]) for name, spec in settings.loggers.items()]
    return count_loggers(rounds, reader.column(settings.logger_column), policies)
