"""The demonstration, SIMULATED: a log under today's segments -> backtest -> launch decision -> what then happened."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog, catalog_from
from engine.contacts.key import DEMO_KEY
from engine.features import FeatureSchema, schema_from
from engine.files.documents import load_yaml
from engine.files.parquet import write_parquet
from engine.guardrails.conditions import Conditions
from experiments.judge.backtest import BacktestOutput, BacktestRequest, Prepared, judge_prepared, prepare
from experiments.judge.contenders import LEARNED, SEGMENTS
from experiments.judge.launch.recommend import BETTER, NO_DIFFERENCE, WORSE
from experiments.outputs import CommandOutput, Output
from experiments.report.figures import svg_text
from experiments.report.files import make_folder, write_whole
from experiments.serve.decide import DecideOutput, DecideRequest, decide_file
from experiments.settings import BacktestConfig, DecideConfig, compose_settings
from experiments.simulate.curves import curves_figure
from experiments.simulate.outcomes import contact_table
from experiments.simulate.outputs import SimulateOutput
from experiments.simulate.run import SimulateRequest, simulate
from experiments.simulate.run_spec import NOTE, SimulateConfig
from policies.parts.surrogate import STAGE_WORTH
from policies.peers.constant import UniformPolicy
from simulator.rollout import HoldActor, PolicyActor, play
from simulator.scenario import Scenario, scenario_from
from simulator.truth import Comparison, Subject, Value, compare
from simulator.world.world import World

METRIC: Final = "margin"
SILENCE: Final = "no_contact"
LOG_DAYS: Final = 10
LIVE_DAYS: Final = 30
# Days of the log whose attribution window has closed by its end: what the backtest sees.
KNOWN_DAYS: Final = 8
# A fortnight after the start, when the list has a history of sends.
FRESH_STEP: Final = 14
# Contact-days from which on a second process saves more than it costs to start.
SECOND_PROCESS_FROM: Final = 150_000
Say = Callable[[str], None]


class LivePolicy(Output, frozen=True, kw_only=True):
    """One policy of the demonstration: what the log said of it, and what then happened.

    Attributes:
        offline / offline_low / offline_high: what the log said of the policy less the static segments, USD per decision
            by the deciding estimator, with its interval; null for the segments themselves, and where it is not defined.
        offline_verdict: against the static segments, on the log.
        live: USD per decision over the live days.
        live_first: `live` less that of the static segments, over as many days as the backtest saw; null for the
            segments themselves.
        live_stderr: Monte Carlo standard error of `live`, by contact.
        difference / difference_low / difference_high: `live` less that of the static segments under the same luck, with
            its 95 % interval; null for the segments themselves.
        verdict: better, worse or no difference, by that interval; "" for the segments themselves.
        sends: messages per contact over the live days.
        list_lost: share of the contacts who could be written to at the start and no longer at the end; below 0 where
            the list grew.
    """

    offline: float | None
    offline_low: float | None
    offline_high: float | None
    offline_verdict: str
    live: float
    live_stderr: float
    live_first: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    verdict: str
    sends: float
    list_lost: float


class DemoOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful demo --json`. Everything in it is SIMULATED.

    Attributes:
        simulated: the logged campaign under today's segments, with its randomised slice.
        backtest: the backtest on its log.
        live: policy -> what then happened on fresh contacts; `vw` and `static_segments` as the backtest trained and
            tuned them, and `no_contact`.
        live_days / live_contacts: size of the live run.
        said: the result in sentences.
        decisions: what the trained policy decides for a contact file.
    """

    simulated: SimulateOutput
    backtest: BacktestOutput
    live: dict[str, LivePolicy]
    live_days: int
    live_contacts: int
    said: tuple[str, ...]
    decisions: DecideOutput
    folder: str
    files: dict[str, str]


def demo(folder: Path, contacts: int, seed: int, say: Say) -> DemoOutput:
    """Simulate a log, backtest on it, decide what to launch, and live with each choice for a month.

    Args:
        folder: everything is written here.
        contacts: number of contacts of the logged campaign, at least 1,000; as many others live on.
        seed: seed of world, sampling and split; same seed, same files.
        say: told what happens, a line at a time.

    Raises:
        ConfigError: the folder holds an unfinished demonstration with other arguments.
        StorageError: the folder cannot be written.
    """
    make_folder(folder)
    config = demo_config(contacts, seed)
    scenario = scenario_from(config.scenario)
    say(
        f"1/5 SIMULATED: {contacts:,} contacts, {LOG_DAYS} days under today's segments, half of the decisions at random"
    )
    log = folder / "log.parquet"
    simulated = simulate(SimulateRequest(log, DEMO_KEY), config)
    say("2/5 backtest: learned policy and tuned segments on one half of the log, judged on the other")
    settings = compose_settings(
        "backtest", [f"seed={seed}", "learner=parts", f"judged_by={STAGE_WORTH}"], BacktestConfig
    )
    asked = BacktestRequest(log, METRIC, folder / "backtest")
    prepared = prepare(asked, settings)
    judged = judge_prepared(prepared, asked, settings)
    say(f"3/5 launch decision: {judged.launch.policy} ({judged.launch.verdict})")
    say(f"4/5 {LIVE_DAYS} days live on {contacts:,} other contacts, the same people and luck for each policy")
    compared = live_run(scenario, prepared, contacts, seed)
    live = live_rows(compared, judged, settings.deciding_estimator, decisions_per_contact(scenario, contacts, seed))
    said = sentences(live, judged)
    curves = write_whole(folder / "live.svg", live_curves(compared))
    say("5/5 decisions of the trained policy for a contact file")
    decided = _decisions(folder, scenario, config)
    output = DemoOutput(
        simulated=simulated,
        backtest=judged,
        live=live,
        live_days=LIVE_DAYS,
        live_contacts=contacts,
        said=said,
        decisions=decided,
        folder=str(folder),
        files={"live": str(curves), "curves": simulated.files["curves"], "report": judged.files["report"]},
    )
    _write(folder, output)
    return output


def demo_config(contacts: int, seed: int) -> SimulateConfig:
    """The logged campaign: today's segments, and a randomised slice of half of the decisions."""
    overrides = [
        *("scenario=newsletter", "scenario.catalog=small_shop", "policy=segments", f"contacts={contacts}"),
        *(f"seed={seed}", f"days={LOG_DAYS}", "explore_share=0.5", f"block_rows={-(-contacts // 2)}"),
        *(f"tuning.contacts={-(-contacts // 4)}", "tuning.days=8", f"workers={_processes(contacts * LOG_DAYS)}"),
    ]
    return compose_settings("simulate", overrides, SimulateConfig)


def live_run(scenario: Scenario, prepared: Prepared, contacts: int, seed: int) -> Comparison:
    """The learned policy, the static segments and silence on the same fresh contacts, under common random numbers.

    Each step counts its expected reward given the latents and what was done, so that luck hides less of a difference.
    """
    subjects: dict[str, Subject] = {
        LEARNED: PolicyActor(prepared.learner.policy()),
        SEGMENTS: PolicyActor(prepared.segments),
        SILENCE: HoldActor(),
    }
    return compare(
        scenario,
        subjects,
        contacts=contacts,
        steps=LIVE_DAYS,
        seeds=(seed + 1,),
        batch=-(-contacts // 2),
        sender=Conditions(killed=False),
        workers=_processes(contacts * LIVE_DAYS),
        conditional=True,
    )


def _processes(contact_days: int) -> int:
    return min(2, os.cpu_count() or 1) if contact_days >= SECOND_PROCESS_FROM else 1


@dataclass(frozen=True)
class PerContact:
    """Decisions per contact of the live run: over all days, and over as many as the backtest saw."""

    whole: float
    first: float


def decisions_per_contact(scenario: Scenario, contacts: int, seed: int) -> PerContact:
    """Everybody on the list is decided for every day, whoever decides."""
    joined = World(scenario, contacts, seed + 1).people.join_day
    days = np.arange(LIVE_DAYS) * scenario.step_days
    on_list = (joined[:, None] <= days).mean(axis=0)
    return PerContact(float(on_list.sum()), float(on_list[:KNOWN_DAYS].sum()))


def live_rows(
    compared: Comparison, judged: BacktestOutput, estimator: str, decisions: PerContact
) -> dict[str, LivePolicy]:
    """What happened, in USD per decision, beside what the log had said of the same policies."""
    offline = {row.policy: row for row in judged.results if row.estimator == estimator}
    named = {LEARNED: LEARNED, SEGMENTS: SEGMENTS, SILENCE: "always:hold"}
    rows = {}

    def _first(value: Value) -> float:
        return float(value.reward_by_step[:KNOWN_DAYS].sum()) / decisions.first

    for name, value in compared.values.items():
        known = offline.get(named[name])
        said = None if known is None or name == SEGMENTS else known.difference
        low = high = mean = None
        if name != SEGMENTS:
            gap = compared.difference(name, SEGMENTS)
            mean = gap.mean / decisions.whole
            low, high = (bound / decisions.whole for bound in gap.interval())
        start, end = value.list_by_step[0], value.list_by_step[-1]
        rows[name] = LivePolicy(
            offline=said.value if said else None,
            offline_low=said.low if said else None,
            offline_high=said.high if said else None,
            offline_verdict=known.verdict if known else "",
            live=value.mean / decisions.whole,
            live_stderr=value.stderr / decisions.whole,
            live_first=None if name == SEGMENTS else _first(value) - _first(compared.values[SEGMENTS]),
            difference=mean,
            difference_low=low,
            difference_high=high,
            verdict=_verdict(low, high),
            sends=value.sends,
            list_lost=float(1.0 - end / start) if start else 0.0,
        )
    return rows


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    if low > 0:
        return BETTER
    return WORSE if high < 0 else NO_DIFFERENCE


def sentences(live: dict[str, LivePolicy], judged: BacktestOutput) -> tuple[str, ...]:
    """The result in words, whatever it is."""
    said = [f"Launch decision on the log: {judged.launch.policy} ({judged.launch.verdict}). {judged.launch.reason}."]
    words = {BETTER: "did better than", WORSE: "did worse than", NO_DIFFERENCE: "made no difference that shows against"}
    for name in (LEARNED, SILENCE):
        row = live[name]
        if row.difference is None or row.difference_low is None or row.difference_high is None:
            continue
        said.append(
            f"SIMULATED, {LIVE_DAYS} days live: {name} {words[row.verdict]} {SEGMENTS}, {row.difference:+.5f} USD per "
            f"decision (95 % interval {row.difference_low:+.5f} to {row.difference_high:+.5f})."
        )
    said += _followed(live, judged.launch.policy)
    for name in (LEARNED, SILENCE):
        row = live[name]
        if row.offline is None or row.offline_low is None or row.offline_high is None or row.live_first is None:
            said.append(f"The log gave no estimate with an interval for {name}.")
            continue
        inside = row.offline_low <= row.live_first <= row.offline_high
        said.append(
            f"{name} against {SEGMENTS}: the log estimated {row.offline:+.4f} USD per decision "
            f"({row.offline_low:+.4f} to {row.offline_high:+.4f}); the first {KNOWN_DAYS} days live brought "
            f"{row.live_first:+.4f}, {'inside' if inside else 'outside'} that interval."
        )
    said.append(
        "The log is judged by what its clicks are worth, less costs, lost permissions and a charge for discounts: "
        "orders that come by themselves are most of the money and nearly all of its noise. The estimate values single "
        "decisions in the states that the log's policy led to; live days hold all money, with late clicks, refunds and "
        "fatigue."
    )
    return tuple(said)


def _followed(live: dict[str, LivePolicy], launched: str) -> list[str]:
    """What it would have meant to do as the log advised."""
    name = SILENCE if launched == "always:hold" else launched
    if name not in live:
        return []
    best = max(live, key=lambda other: live[other].live)
    if name == best:
        return [f"Live, {name}, which the log advised, came out first."]
    lost = live[best].live - live[name].live
    return [f"Live, {name}, which the log advised, brought {lost:.5f} USD per decision less than {best}."]


def live_curves(compared: Comparison) -> str:
    """The live days as one picture."""
    values = compared.values
    silence = np.cumsum(values[SILENCE].reward_by_step)
    gained = {
        name: (np.cumsum(value.reward_by_step) - silence).tolist() for name, value in values.items() if name != SILENCE
    }
    sends = {name: value.sends_by_step.tolist() for name, value in values.items()}
    listed = {name: (100.0 * value.list_by_step).tolist() for name, value in values.items()}
    panels = [
        ("Gained over no contact", "USD per contact, so far", gained),
        ("Sends", "per contact and day", sends),
        ("May be sent advertising", "% of contacts", listed),
    ]
    title = f"SIMULATED: {LIVE_DAYS} days live, the same contacts and luck for every policy"
    return svg_text(curves_figure(panels, title))


def _decisions(folder: Path, scenario: Scenario, config: SimulateConfig) -> DecideOutput:
    """A contact file of still other contacts, and what the trained policy decides for them."""
    wanted = config.contacts // 4
    # Some join the list later.
    world = World(scenario, 2 * wanted, config.seed, first=2 * config.contacts)
    for _ in range(FRESH_STEP):
        play(world, PolicyActor(UniformPolicy()), Conditions(killed=False))
    fresh = folder / "fresh_contacts.parquet"
    write_parquet(fresh, contact_table(world, np.flatnonzero(world.deciding())[:wanted]))
    request = DecideRequest(folder / "backtest" / "policy", fresh, world.now, folder / "decisions.parquet", DEMO_KEY)
    settings = compose_settings("decide", [f"seed={config.seed}", f"use_case={scenario.name}"], DecideConfig)
    return decide_file(request, settings)


def _write(folder: Path, output: DemoOutput) -> None:
    lines = [NOTE, "", *output.said, "", *(f"{name}: {Path(path).name}" for name, path in output.files.items())]
    write_whole(folder / "result.txt", "\n".join(lines) + "\n")
    # Without the names of folders, so that the same arguments give the same bytes anywhere.
    figures = msgspec.to_builtins({"live": output.live, "said": output.said, "notes": [NOTE]})
    write_whole(folder / "result.json", msgspec.json.format(msgspec.json.encode(figures), indent=2))


def shipped_catalog(name: str) -> Catalog:
    """A catalog of `conf/catalog/`.

    Raises:
        ConfigError: the yaml is no catalog.
    """
    return catalog_from(load_yaml((resources.files("conf") / "catalog" / f"{name}.yaml").read_text()), source=name)


def shipped_features(name: str) -> FeatureSchema:
    """A feature schema of `conf/features/`.

    Raises:
        ConfigError: the yaml is no feature schema.
    """
    return schema_from(load_yaml((resources.files("conf") / "features" / f"{name}.yaml").read_text()), source=name)
