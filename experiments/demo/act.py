"""One act: a test campaign -> backtest -> launch decision -> a month live, and the truth of the world beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from engine.contacts.key import DEMO_KEY
from engine.files.parquet import write_parquet
from engine.guardrails.conditions import Conditions
from engine.log.selection import Selection
from engine.ope.estimate import Difference, Estimate
from engine.ope.evaluate import evaluate
from experiments.demo.acts import LIVE_DAYS, LOG_DAYS, METRIC, Act, backtest_config, known_days, log_config
from experiments.demo.live import LivePolicy, Pace, live_rows, live_run
from experiments.demo.possible import Possible, possible
from experiments.demo.words import Told, sentences
from experiments.judge.backtest import BacktestOutput, BacktestRequest, judge_prepared, prepare
from experiments.judge.contenders import LEARNED, SEGMENTS
from experiments.judge.evaluate import question_of
from experiments.judge.launch.learned_rule import RuleRow
from experiments.judge.launch.prepared import Prepared
from experiments.outputs import Output
from experiments.report.files import make_folder
from experiments.serve.decide import DecideOutput, DecideRequest, decide_file
from experiments.settings import BacktestConfig, DecideConfig, compose_settings
from experiments.simulate.outcomes import contact_table
from experiments.simulate.outputs import SimulateOutput
from experiments.simulate.run import SimulateRequest, simulate
from experiments.simulate.run_spec import SimulateConfig
from policies.peers.constant import UniformPolicy
from simulator.rollout import PolicyActor, play
from simulator.scenario import Scenario, scenario_from
from simulator.world.world import World

# A fortnight after the start, when the list has a history of sends.
FRESH_STEP: Final = 14
FRESH_CONTACTS: Final = 500
Say = Callable[[str], None]


class ActOutput(Output, frozen=True, kw_only=True):
    """What happened in one world. Everything in it is SIMULATED.

    Attributes:
        title / story: what kind of shop it is.
        simulated: the test campaign.
        backtest: the backtest on its log, which decides by what clicks are worth.
        promised: the learned policy less the segments, USD per decision, as the backtest estimated it.
        total: the same of all money, orders that come by themselves included, by SNIPS; null where it is not defined.
        possible: the truth of the same quantity, and the most that anybody could gain.
        live: policy -> what then happened on fresh contacts; `vw` and `static_segments` as the backtest trained and
            tuned them, and `no_contact`.
        live_days / live_contacts: size of the live run.
        rule: the learned rule, group by group.
        said: the act in sentences.
        decisions: what the trained policy decides for a contact file.
        curves: policy -> what it gained live over the segments, USD per contact, day by day so far.
    """

    title: str
    story: str
    simulated: SimulateOutput
    backtest: BacktestOutput
    promised: Estimate
    total: Difference | None
    possible: Possible
    live: dict[str, LivePolicy]
    live_days: int
    live_contacts: int
    rule: tuple[RuleRow, ...]
    said: tuple[str, ...]
    decisions: DecideOutput
    curves: dict[str, tuple[float, ...]]
    folder: str
    files: dict[str, str]


def play_act(act: Act, folder: Path, contacts: int, seed: int, say: Say) -> ActOutput:
    """Simulate a log, backtest on it, decide what to launch, and live with each choice for a month.

    Args:
        act: the world.
        folder: of this act alone.
        contacts: of the test campaign, at least 2,000.
        seed: seed of world, sampling and split; same seed, same files.
        say: told what happens, a line at a time.

    Raises:
        ConfigError: the folder holds an unfinished demonstration with other arguments.
        StorageError: the folder cannot be written.
    """
    make_folder(folder)
    config, settings = log_config(act, contacts, seed), backtest_config(seed)
    scenario = scenario_from(config.scenario)
    say(f"1/4 test campaign: {contacts:,} contacts, {LOG_DAYS} days, a message or none at random within the guardrails")
    log = folder / "log.parquet"
    simulated = simulate(SimulateRequest(log, DEMO_KEY), config)
    say("2/4 backtest: learned policy and segments by lifecycle stage on one half of the contacts, judged on the other")
    asked = BacktestRequest(log, METRIC, folder / "backtest", baseline=SEGMENTS)
    prepared = prepare(asked, settings)
    judged = judge_prepared(prepared, asked, settings)
    promised = next(
        row for row in judged.results if row.policy == LEARNED and row.estimator == settings.deciding_estimator
    )
    say(f"3/4 launch decision: {judged.launch.policy} ({judged.launch.verdict}); {LIVE_DAYS} days live")
    compared = live_run(scenario, prepared, contacts, seed)
    say("4/4 what was possible, the rule in words, decisions for a contact file")
    true = possible(scenario, prepared, contacts, seed)
    live = live_rows(compared, judged, settings.deciding_estimator, Pace(true.a_day, known_days(scenario)))
    total = total_margin(prepared, settings)
    told = Told(judged.launch, promised, total, true, live, contacts)
    today = np.cumsum(compared.values[SEGMENTS].reward_by_step)
    return ActOutput(
        title=act.title,
        story=act.story,
        simulated=simulated,
        backtest=judged,
        promised=promised,
        total=total,
        possible=true,
        live=live,
        live_days=LIVE_DAYS,
        live_contacts=contacts,
        rule=() if judged.learned_rule is None else judged.learned_rule.rows,
        said=sentences(told),
        decisions=decided(folder, scenario, config),
        curves={
            name: tuple((np.cumsum(value.reward_by_step) - today).tolist())
            for name, value in compared.values.items()
            if name == LEARNED
        },
        folder=str(folder),
        files={"log": str(log), "curves": simulated.files["curves"], "report": judged.files["report"]},
    )


def total_margin(prepared: Prepared, settings: BacktestConfig) -> Difference | None:
    """The learned policy less the segments in all money, on the same contacts and with the same error."""
    rounds = Selection(prepared.reader, METRIC, side=prepared.judge)
    question = question_of(
        prepared.reader,
        METRIC,
        settings.evaluation,
        rounds,
        estimators=("snips",),
        baseline=prepared.targets[SEGMENTS],
    )
    found = evaluate(rounds, [prepared.targets[LEARNED]], question, settings.evaluation)
    return found.results[0].difference if found.results else None


def decided(folder: Path, scenario: Scenario, config: SimulateConfig) -> DecideOutput:
    """A contact file of still other contacts, and what the trained policy decides for them."""
    wanted = min(config.contacts // 4, FRESH_CONTACTS)
    # Some join the list later.
    world = World(scenario, 2 * wanted, config.seed, first=2 * config.contacts)
    for _ in range(FRESH_STEP):
        play(world, PolicyActor(UniformPolicy()), Conditions(killed=False))
    fresh = folder / "fresh_contacts.parquet"
    write_parquet(fresh, contact_table(world, np.flatnonzero(world.deciding())[:wanted]))
    request = DecideRequest(folder / "backtest" / "policy", fresh, world.now, folder / "decisions.parquet", DEMO_KEY)
    settings = compose_settings("decide", [f"seed={config.seed}", f"use_case={scenario.name}"], DecideConfig)
    return decide_file(request, settings)
