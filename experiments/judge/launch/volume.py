"""What each policy of a backtest sends, and the learned one at the baseline's volume; no reward plays a part in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError, ParameterError
from engine.ope.target import PolicyTarget, Target
from engine.protocols import Policy
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from experiments.serve.prices import Priced
from policies.prices.config import PriceConfig
from policies.prices.pricing import Problem, Term, find_prices
from policies.prices.problem import BASELINE, COUNTED
from policies.prices.use import ContactSample, cell_sends, sample_keys
from policies.vw.scoring.compiled import CompiledPolicy

MATCHED: Final = "vw_matched"


class VolumeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy sends, expected over its exact distributions on the log's contexts; no reward plays a part.

    Attributes:
        policy: its name in the results.
        sends_per_decision: messages.
        by_channel: the same by channel.
        times_baseline: the volume in multiples of the baseline's; null where the baseline never sends.
    """

    policy: str
    sends_per_decision: float
    by_channel: dict[str, float]
    times_baseline: float | None


def matched_target(
    learned: Policy, baseline: Target, rounds: Iterable[RoundBatch], config: PriceConfig
) -> PolicyTarget | None:
    """The learned policy at the baseline's volume: a price (or a subsidy) on every send, found on the training side.

    None where there is nothing to compare: a policy without score tables, a modular catalog, a baseline that never
    sends, or a volume that no price reaches.

    Args:
        learned: the learned policy.
        baseline: whose expected sends are to be matched.
        rounds: rounds of the training side; only a baseline that is the log takes notice of the logged actions.
        config: sample and tolerance.
    """
    if not isinstance(learned, CompiledPolicy):
        return None
    catalog = learned.catalog
    sample = ContactSample(config.sample, catalog.shape)
    theirs = 0.0
    for batch in rounds:
        if batch.modular is not None:
            return None
        theirs += float(_counted_sends(baseline, batch, catalog).sum())
        keys = sample_keys(batch.decision_id)
        rows = np.flatnonzero(sample.wanted(keys))
        part = batch.take(rows)
        sample.add(keys[rows], np.ones(len(rows), dtype=np.bool_), part.context, part.eligible)
    who = Priced(learned, catalog, sample.batches())
    own = who.use_at(np.zeros((1, catalog.shape[0], catalog.shape[2])))
    counted = Term(name=BASELINE, unit="messages", budget=0.0, purposes=COUNTED).counted(catalog)
    sends = float((own.sends[0] * counted).sum()) * sample.seen / max(own.rows, 1)
    if not theirs > 0.0:
        return None
    term = Term(name=BASELINE, unit="messages", budget=theirs, purposes=COUNTED, least=sends < theirs)
    problem = Problem(catalog, (term,), contacts=sample.seen, tolerance=config.tolerance)
    try:
        prices = find_prices(problem, who.use_at)
    except (ParameterError, LearnError):
        return None
    return PolicyTarget(who.under(problem.table(prices.price)), MATCHED)


def volumes(
    targets: Mapping[str, Target], rounds: Iterable[RoundBatch], catalog: Catalog, baseline: str
) -> tuple[VolumeRow, ...]:
    """Expected promotional sends per decision of every target that has a name of its own, over all rounds.

    Args:
        targets: name -> target; constant actions but the baseline are left out.
        rounds: rounds of the judging side.
        catalog: the catalog of the actions.
        baseline: name of the one to compare with.
    """
    shown = [name for name in targets if name == baseline or not name.startswith("always:")]
    sums = {name: np.zeros(len(catalog.channels)) for name in shown}
    decisions = 0
    for batch in rounds:
        if batch.modular is not None:
            return ()
        decisions += batch.n
        for name in shown:
            sums[name] += _counted_sends(targets[name], batch, catalog).sum(axis=1)
    base = float(sums[baseline].sum())
    return tuple(
        VolumeRow(
            policy=name,
            sends_per_decision=float(own.sum()) / max(decisions, 1),
            by_channel={
                channel: float(count) / max(decisions, 1) for channel, count in zip(catalog.channels, own, strict=True)
            },
            times_baseline=float(own.sum()) / base if base > 0.0 else None,
        )
        for name, own in sums.items()
    )


def _counted_sends(target: Target, batch: RoundBatch, catalog: Catalog) -> FloatArray:
    """(C, K) expected promotional sends of a target in some rounds; those of the log are its own actions."""
    if not batch.n:
        return np.zeros((catalog.shape[0], catalog.shape[2]))
    full = target.probabilities(batch).full
    if full is None:
        full = np.zeros((batch.n, catalog.k))
        full[np.arange(batch.n), batch.action] = 1.0
    counted = Term(name=BASELINE, unit="messages", budget=0.0, purposes=COUNTED).counted(catalog)
    sums: FloatArray = cell_sends(full, catalog.shape).sum(axis=0) * counted
    return sums
