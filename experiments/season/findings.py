"""The result of an experiment in sentences, whatever it is, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments.season.comparison import OBSERVABLE
from experiments.season.config import ExperimentConfig
from experiments.season.outputs import ScenarioGap, SeasonRow
from experiments.season.policies import ORACLES, USUAL_HOUR

# Shares of the gap to the reference, and of the way to the best observable, that a learner is to close.
AIM, AIM_OBSERVABLE = 0.5, 0.8
SIMULATED = "SIMULATED: contacts and outcomes come from a simulated world, not from people."


def sentences(config: ExperimentConfig, rows: Sequence[SeasonRow], gaps: Sequence[ScenarioGap]) -> Iterator[str]:
    """What the table says, scenario by scenario, then policy by policy."""
    for gap in gaps:
        own = [row for row in rows if (row.scenario, row.variant) == (gap.scenario, gap.variant)]
        yield _scenario(config, own, gap)
    if len(config.variants) > 1:
        yield from _variants(rows) if config.versus == "variant" else _flips(config, rows)
        return
    for name in config.all_policies:
        if name not in (config.baseline, *ORACLES):
            yield _policy(config, name, [row for row in rows if row.policy == name])


def _scenario(config: ExperimentConfig, rows: Sequence[SeasonRow], gap: ScenarioGap) -> str:
    place = gap.scenario if len(config.variants) == 1 else f"{gap.scenario}, {gap.variant}"
    candidates = [row for row in rows if row.policy not in ORACLES]
    best = max(candidates, key=lambda row: row.profit)
    said = f"{place}: best is {best.policy}, {best.profit:.2f} USD per contact"
    if gap.gap is not None and gap.gap_low is not None and gap.gap_high is not None:
        said += (
            f"; {config.reference} is {gap.gap:+.2f} ({gap.gap_low:+.2f} to {gap.gap_high:+.2f}) from {config.baseline}"
        )
    if gap.observable is not None:
        said += f"; observations allow about {gap.observable:+.2f}"
        if gap.discounts is not None:
            said += f", of which not discounting alone brings {gap.discounts:+.2f}"
    return said + "."


def _policy(config: ExperimentConfig, name: str, rows: Sequence[SeasonRow]) -> str:
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("better", "worse", "no difference")}
    told = ", ".join(f"{verdict} in {times}" for verdict, times in count.items() if times) or "not judged"
    closed = [row.gap_closed for row in rows if row.gap_closed is not None]
    above = [row.scenario for row in rows if row.more_sends]
    said = f"{name}, against {config.baseline}: {told} of {len(rows)}"
    if closed:
        said += f"; share of the gap closed {min(closed):.0%} to {max(closed):.0%}"
        said += f", at least {AIM:.0%} in {sum(share >= AIM for share in closed)} of {len(closed)}"
    reached = [row.observable_closed for row in rows if row.observable_closed is not None]
    if reached:
        said += f"; of the way to the best observable {min(reached):.0%} to {max(reached):.0%}"
        said += (
            f", at least {AIM_OBSERVABLE:.0%} in {sum(share >= AIM_OBSERVABLE for share in reached)} of {len(reached)}"
        )
    return said + (f"; NOT VOLUME-MATCHED, more sends in {', '.join(above)}." if above else ".")


def _variants(rows: Sequence[SeasonRow]) -> Iterator[str]:
    for row in rows:
        if row.against and row.difference is not None and not row.against.endswith(f", {row.variant}"):
            low, high = row.difference_low, row.difference_high
            known = "no interval" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"
            yield (
                f"{row.scenario}, {row.policy}: {row.variant} against {row.against.partition(', ')[2]}: "
                f"{row.difference:+.2f} USD per contact ({known}), {row.verdict}."
            )


def _flips(config: ExperimentConfig, rows: Sequence[SeasonRow]) -> Iterator[str]:
    """Which verdicts against the baseline hold in every variant, and which change with it."""
    for scenario in config.scenarios:
        for policy in config.all_policies:
            by_verdict: dict[str, list[str]] = {}
            for row in rows:
                if (row.scenario, row.policy) == (scenario, policy) and row.verdict:
                    by_verdict.setdefault(row.verdict, []).append(row.variant)
            if len(by_verdict) == 1:
                yield f"{scenario}, {policy} against {config.baseline}: {next(iter(by_verdict))} in every variant."
            elif by_verdict:
                told = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items())
                yield f"{scenario}, {policy} against {config.baseline}: CHANGES with the variant. {told}."


def notes(config: ExperimentConfig) -> Iterator[str]:
    """What the figures rest on."""
    yield SIMULATED
    level = f"{100 * (1 - config.alpha):g} %"
    seeds = len(config.seed_numbers)
    if seeds > 1:
        yield (
            f"Intervals are {level} each, Student's over {seeds} seeds (world, slice and learning are new in each), of "
            "differences paired by contact under common random numbers; they do not hold all together."
        )
    else:
        yield (
            f"One seed: intervals are {level}, over contacts, given what was learnt from its one slice; another slice "
            "may teach something else."
        )
    fewer = {
        name: config.contacts_of(name) for name in config.all_policies if config.contacts_of(name) < config.contacts
    }
    if fewer:
        told = ", ".join(f"{name} {count:,}" for name, count in fewer.items())
        yield f"Contacts per seed {config.contacts:,}; for {told} the first of them alone, and so for differences."
    yield (
        f"Everything that learns has the same randomised slice: {config.slice.contacts:,} other contacts of the world, "
        f"{config.slice.days} days, hold with probability {config.slice.hold_share:g}, reward `{config.metric}`"
        + (f"; learners learn on every {config.learn_every_days} days." if config.learn_every_days else ".")
    )
    if config.reference in config.all_policies:
        yield (
            f"The gap is that between {config.baseline} and {config.reference}, which knows every latent; no policy "
            "that sees observations alone can close all of it. The proved bound is far above and only a bound."
        )
    if OBSERVABLE in config.all_policies:
        yield (
            f"{OBSERVABLE} is an estimate: a network that was fitted once per scenario and seed on expected gains that "
            "no log has, and that decides by what can be observed. It weighs a message's own value, never at waiting."
        )
    if "send_time" in config.all_policies:
        yield f"send_time reads the hours of opens from `{USUAL_HOUR}`, a part of the day."
