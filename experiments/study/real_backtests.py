"""Every policy on real randomised logs, learnt on one half of the contacts, judged on the other.

Writes docs/real-backtests.md. Nothing that is learnt or tuned sees the side that judges. Differences are doubly robust;
the intervals of one table hold together (simultaneous, 95 %), because the best of a dozen policies is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, Side, contact_split
from engine.mapping.dialect import load_mapping
from engine.mapping.importer import import_log
from engine.ope.estimate import Estimate
from engine.ope.evaluate import evaluate
from engine.ope.target import LoggedTarget, PolicyTarget, Target
from experiments.judge.contenders import LEARNED, SEGMENTS, contenders
from experiments.judge.evaluate import model_factory, question_of
from experiments.judge.launch.sums import remembered
from experiments.judge.shared_models import SharedModels
from experiments.judge.train import learn
from experiments.settings import BacktestConfig, TrainConfig, compose_settings
from policies.peers.config import PEER_NAMES
from policies.peers.segments import tune_segments
from policies.registry import Setting

ROOT: Final = Path(__file__).resolve().parents[2]
DOC: Final = ROOT / "docs" / "real-backtests.md"
# All explore alike where they do not bring an exploration of their own.
SQUARECB: Final = "exploration=squarecb"
# The default policy first: everything else is held against it.
LEARNERS: Final = {
    "vw dr": ("learner=dr",),
    "vw bag": ("learner=bag", "exploration=bag"),
    "vw cover": ("learner=cover", "exploration=cover"),
    "vw auto": ("learner=auto",),
    "vw rnd": ("learner=live_rnd",),
    "vw regcb": ("learner=live_regcb",),
    "vw large action space": ("learner=live_large_action_space",),
    "vw slots": ("learner=live_slots",),
}


@dataclass(frozen=True)
class Data:
    """One public log.

    Attributes:
        mapping: that imports it; gives the name too.
        file: below the data folder.
        hold: name of sending nothing.
        metrics: to judge by.
        note: what the log is.
    """

    mapping: str
    file: str
    hold: str
    metrics: tuple[str, ...]
    note: str


LOGS: Final = (
    Data(
        "hillstrom",
        "hillstrom/hillstrom_dev.csv.gz",
        "No E-Mail",
        ("visit", "conversion", "spend"),
        "Real and randomised: 32,000 customers, one e-mail of two, or none.",
    ),
    Data(
        "starbucks",
        "starbucks/starbucks_waves_0_2.parquet",
        "none",
        ("completed", "spend72"),
        "SIMULATED by its provider; the propensities were inferred from shares.",
    ),
)


@dataclass(frozen=True)
class Judged:
    """One policy on one metric: against sending nothing, and against the default policy."""

    policy: str
    nothing: Estimate
    default: Estimate


def judged(log: Path, data: Data, metric: str, only: Sequence[str] = tuple(LEARNERS)) -> list[Judged]:
    """Learn and tune on one half of the contacts, judge on the other.

    Args:
        only: names among `LEARNERS`.
    """
    config = compose_settings("backtest", ["evaluation.simultaneous=true", SQUARECB], BacktestConfig)
    reader = LogReader(log)
    train, judge = contact_split(0.5, config.seed)
    targets = everybody(reader, metric, config, train, only)
    models = SharedModels(model_factory(reader, metric, config.model, config.evaluation))
    found: dict[str, dict[str, Estimate]] = {}
    for baseline in (f"always:{data.hold}", LEARNED):
        rounds, evaluation, base = Selection(reader, metric, side=judge), config.evaluation, targets[baseline]
        result = evaluate(
            rounds,
            list(targets.values()),
            question_of(reader, metric, evaluation, rounds, estimators=("dr",), baseline=base),
            evaluation,
            reward_model_factory=models.factory(),
        )
        found[baseline] = {one.policy: one for one in result.results}
    nothing, default = found.values()
    return [Judged(name, nothing[name], default[name]) for name in nothing]


def everybody(
    reader: LogReader, metric: str, config: BacktestConfig, train: Side, only: Sequence[str]
) -> dict[str, Target]:
    """The default policy, its other learners, the peers that this log can make, and constants."""
    spec, catalog, schema = reader.meta.rewards[metric], reader.meta.catalog, reader.meta.features
    setting = Setting(catalog, schema, metric, (spec.low, spec.high), config.peer, config.segments, config.model)
    rounds = Selection(reader, metric, side=train)
    learner = learn(reader, metric, config.learner, config.exploration, train)
    segments = tune_segments(rounds, metric, catalog, schema, config.segments)
    made = contenders(rounds, learner.policy(), segments, PEER_NAMES, setting).targets
    targets = {name: one for name, one in made.items() if not isinstance(one, LoggedTarget)}
    for name in only:
        other = compose_settings("train", [SQUARECB, *LEARNERS[name]], TrainConfig)
        policy = learn(reader, metric, other.learner, other.exploration, train).policy()
        targets[name] = PolicyTarget(policy, name)
    return remembered(targets)


def table(rows: Sequence[Judged]) -> list[str]:
    """The default policy, the rule in use, and the others by their value."""
    order = {LEARNED: 0, SEGMENTS: 1}
    ranked = sorted(rows, key=lambda one: (order.get(one.policy, 2), -(one.nothing.value or 0.0)))
    lines = [
        "| policy | value | more than sending nothing | verdict | more than the default vw | verdict |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {one.policy} | {one.nothing.value:.4g} | {_difference(one.nothing)} | {one.nothing.verdict} | "
        f"{_difference(one.default)} | {one.default.verdict if one.policy != LEARNED else ''} |"
        for one in ranked
    ]


def _difference(row: Estimate) -> str:
    found = row.difference
    if found is None or found.value is None or found.low is None or found.high is None:
        return "no interval"
    if found.value == found.low == found.high == 0.0:
        return "itself"
    return f"{found.value:+.4g} ({found.low:+.4g} to {found.high:+.4g})"


def page(sections: Sequence[tuple[Data, str, Sequence[Judged]]]) -> str:
    """The document."""
    intro = (
        "Made by `python -m experiments.study.real_backtests`. Policies are learnt and tuned on one half of the "
        "contacts and judged on the other by the doubly robust estimator, with every other default as it ships. "
        "Intervals hold together within a column of a table (95 %, simultaneous): the best row is not the luckiest. "
        "Peers that a log cannot make are left out: no calendar without the last send, no send time without hours."
    )
    reading = (
        "Every policy is judged as it would be served, exploration included: what explores more than "
        "squarecb pays for it here with a lower value; its log tells more later. `vw_greedy`, constants, tuned rules "
        "and linucb do not explore at all."
    )
    lines = ["# Every policy on real logs", "", intro, "", reading]
    for data, metric, rows in sections:
        against = [one for one in rows if one.policy != LEARNED]
        better = [one.policy for one in against if one.default.verdict == "better"]
        worse = [one.policy for one in against if one.default.verdict == "worse"]
        lines += ["", f"## {data.mapping}: {metric}", "", data.note, "", *table(rows), ""]
        lines += [f"Better than the default vw: {_named(better)}. Worse: {_named(worse)}."]
    return "\n".join(lines) + "\n"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none is shown to be"


def main(folder: Path | None = None) -> None:
    """Run the study and write the document; without data sets beside the checkout there is nothing to do.

    Args:
        folder: folder of the data sets; None looks beside the checkout.

    Raises:
        DataError: they do not lie in the folder that was given.
    """
    if folder is None:
        folder = ROOT.parent / "shared" / "data"
        if not folder.is_dir():
            return
    sections = []
    with TemporaryDirectory(prefix="tactful-") as scratch:
        for data in LOGS:
            if not (folder / data.file).exists():
                raise DataError(f"{folder / data.file} does not exist", hint="give the folder of the data sets")
            log = Path(scratch) / f"{data.mapping}.parquet"
            import_log(load_mapping(data.mapping), folder / data.file, log, contact_key="real-backtests")
            sections += [(data, metric, judged(log, data, metric)) for metric in data.metrics]
    DOC.write_text(page(sections), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
