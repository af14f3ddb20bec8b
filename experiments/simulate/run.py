"""A run: day after day over all batches, then one log. A run that was killed goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.errors import DataError, ParameterError
from engine.guardrails.conditions import Conditions
from engine.guardrails.layer import Guardrails
from engine.identity import pseudonyms
from engine.records.schema import LogMeta, log_schema, outcome_schema
from engine.storage.artefact import sha256
from engine.time.localtime import instant_of
from experiments.outputs import json_bytes
from experiments.report.files import make_folder, write_table, write_whole
from experiments.serve.prices import shown_prices
from experiments.simulate.batches import BatchDay, forget, removal_counts
from experiments.simulate.curves import run_curves
from experiments.simulate.daily import (
    FinishedDay,
    JoinTotals,
    Sums,
    add,
    day_table,
    group_totals,
    nothing_sent,
    removed_pairs,
)
from experiments.simulate.learning import Learning
from experiments.simulate.outcomes import scenario_metrics
from experiments.simulate.outputs import SimulateOutput
from experiments.simulate.policies import check_policy, explored, fixed_policy
from experiments.simulate.pricing import baseline_file, day_prices, footer_prices, last_prices
from experiments.simulate.run_folder import RunFolder, assemble
from experiments.simulate.run_spec import NOTE, DayPolicy, RunSpec, SimulateConfig, log_meta
from experiments.simulate.workers import Workers
from policies.peers.config import LEARNING
from policies.prices.config import PriceConfig
from policies.prices.pricing import Prices
from policies.trained import TrainedFolder
from simulator.scenario import Scenario, scenario_from, with_faults
from simulator.world.sender import Sender

Advance = Callable[[float], None]


@dataclass(frozen=True)
class SimulateRequest:
    """What is asked.

    Attributes:
        out: the joined log to write; ends in .parquet. The other files stand beside it.
        contact_key: key of the contacts' pseudonyms.
        keep_parts: leave the folder of parts, with the state of every batch after the last day.
    """

    out: Path
    contact_key: str
    keep_parts: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix != ".parquet":
            raise ParameterError("out", "simulate", allowed="a name that ends in .parquet", got=str(self.out))

    def beside(self, ending: str) -> Path:
        """A file or folder of the run beside its log."""
        return self.out.with_suffix(ending)


def simulate(request: SimulateRequest, config: SimulateConfig, advance: Advance | None = None) -> SimulateOutput:
    """Run a scenario and write its log, outcomes, metrics and curves; each file appears whole or not at all.

    Args:
        request: where to.
        config: what.
        advance: told of contact-days that are done.

    Raises:
        ConfigError: a scenario or policy that cannot be used, or parts of another run under the same name.
        DataError: an unknown action or metric, a training log that does not fit, or nobody to decide for.
        LearnError, ArtefactError: learning in the loop failed.
        StorageError: the disk refused, a worker died, or another process works on the same run.
    """
    make_folder(request.out.parent)
    scenario = with_faults(scenario_from(config.scenario, config.packages, source="scenario"), *config.faults)
    metrics = scenario_metrics(scenario)
    if config.metric not in metrics:
        raise DataError(f"there is no metric {config.metric!r}", hint=f"one of {', '.join(metrics)}")
    parts = RunFolder(request.beside(".parts"), _asked(config, scenario, request.contact_key))
    with parts.held():
        output = _Run(request, config, scenario, parts, advance or (lambda _: None)).whole()
        if not request.keep_parts:
            parts.remove()
    return output


def _asked(config: SimulateConfig, scenario: Scenario, contact_key: str) -> dict[str, Any]:
    """Everything that bytes depend on; the number of workers is not among it."""
    asked: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(config, workers=1))
    asked["scenario"] = {**config.scenario, "faults": msgspec.to_builtins(scenario.spec.faults)}
    asked["files"] = check_policy(config, scenario) | baseline_file(config.prices)
    asked["versions"] = {
        "catalog": scenario.catalog.version,
        "features": scenario.features.version,
        "pack": scenario.pack.pack_version,
    }
    # The key itself must not lie in a file; its pseudonym tells two keys apart.
    asked["contact_key"] = str(pseudonyms(np.array(["simulate"], dtype=object), f"run/{contact_key}")[0])
    return asked


@dataclass(frozen=True)
class _Run:
    request: SimulateRequest
    config: SimulateConfig
    scenario: Scenario
    parts: RunFolder
    advance: Advance

    def whole(self) -> SimulateOutput:
        spec = self._spec()
        days = self.parts.done()
        resumed = len(days)
        self.advance(float(resumed * self.config.contacts))
        with Workers(spec, self.config.workers) as workers:
            learning = self._learning(spec, workers) if self.config.policy in LEARNING else None
            who = None if learning else fixed_policy(self.config, self.scenario, self._tuning_log)
            dear, used = day_prices(self.config, self.scenario), ""
            for step in range(resumed, self.config.days):
                today = learning.policy(step) if learning else who
                if today is None:
                    break
                conditions = self._conditions(self._guardrails(), days)
                today, prices = dear.today(workers, step, today, conditions, days)
                today = explored(today, self.config.explore_share)
                if today.version != used:
                    workers.all("use", today)
                    used = today.version
                days.append(self._day(workers, step, today, conditions, prices))
                forget(spec, "state", step - 1)
                if learning:
                    learning.forget(step)
            totals = self._join(workers)
        meta = msgspec.structs.replace(self._meta(spec), prices=footer_prices(days))
        if not totals.decisions:
            raise DataError("nobody was to be decided for on any day", hint="ask for more days or contacts")
        return self._written(spec, days, totals, meta, resumed)

    def _day(
        self, workers: Workers, step: int, who: DayPolicy, conditions: Conditions, prices: Prices | None
    ) -> FinishedDay:
        found: list[BatchDay] = workers.each("live", step, conditions)
        sums: Sums = {}
        for one in found:
            add(sums, one.sums)
        removed = removal_counts(found)
        rules = {name: (count.rule, count.pairs, count.contacts) for name, count in removed.rules.items()}
        sent = sum((one.counts for one in found[1:]), found[0].counts).to_builtins()
        day = FinishedDay(
            sums=sums,
            removed=rules,
            held=removed.held,
            policy=who.version,
            sent=sent,
            cells=np.sum([one.cells for one in found], axis=0).tolist(),
            prices=None if prices is None else prices.to_builtins(),
        )
        self.parts.commit(step, day)
        self.advance(float(self.config.contacts))
        return day

    def _conditions(self, guardrails: Guardrails, days: list[FinishedDay]) -> Conditions:
        """The sender's side at the start of the day that follows."""
        sender = Sender(guardrails, self.scenario.name)
        now_at = instant_of(self.scenario.calendar.now(len(days)), owner="simulate")
        return sender.conditions(sender.replayed([day.counts for day in days]), now_at)

    def _guardrails(self) -> Guardrails:
        return Guardrails(self.scenario.pack, self.scenario.catalog, self.config.packages, self.scenario.features)

    def _spec(self) -> RunSpec:
        config = self.config
        return RunSpec(
            scenario={**config.scenario, "faults": msgspec.to_builtins(self.scenario.spec.faults)},
            packages=config.packages,
            contacts=config.contacts,
            first=config.first,
            seed=config.seed,
            control_share=config.control_share,
            uniform_share=config.uniform_share,
            contact_key=self.request.contact_key,
            block_rows=config.block_rows,
            folder=self.parts.folder,
        )

    def _meta(self, spec: RunSpec) -> LogMeta:
        guardrails = self._guardrails()
        # With a slice at random the folder alone no longer explains a propensity.
        whole = Path(self.config.policy).is_dir() and not self.config.explore_share
        folder = self.config.policy if whole else ""
        meta = log_meta(spec, self.scenario, guardrails, self._conditions(guardrails, []), folder)
        rewards = {name: metric.reward() for name, metric in scenario_metrics(self.scenario).items()}
        return msgspec.structs.replace(meta, rewards=rewards)

    def _learning(self, spec: RunSpec, workers: Workers) -> Learning:
        schema = log_schema(self._meta(spec))

        def known(day: int, step: int) -> Path | None:
            workers.each("join", day, step - 1, self.scenario.calendar.now(step), "known")
            parts = list(_present(spec, "known", [day]))
            out = self.parts.folder / f"known-{day:05d}.parquet"
            if parts:
                assemble(parts, schema, out)
            forget(spec, "known", day)
            return out if parts else None

        return Learning(self.config, self.scenario, self.parts.folder, known)

    def _tuning_log(self) -> Path:
        """A log of other contacts of the same world, decided for at random."""
        tuning = self.config.tuning
        folder = make_folder(self.parts.folder / "tuning")
        log = folder / "log.parquet"
        if not log.exists():
            config = msgspec.structs.replace(
                self.config,
                policy="uniform",
                contacts=tuning.contacts,
                days=tuning.days,
                first=self.config.first + self.config.contacts,
                prices=PriceConfig(allow_more_volume=True),
                explore_share=0.0,
                control_share=0.0,
                uniform_share=0.0,
            )
            simulate(SimulateRequest(log, self.request.contact_key), config)
        return log

    def _join(self, workers: Workers) -> JoinTotals:
        """Join every day as it is known after the last one."""
        totals = JoinTotals()
        last = self.config.days - 1
        for step in range(self.config.days):
            for report in workers.each("join", step, last, self.scenario.calendar.now(last + 1), "joined"):
                if report is not None:
                    totals.add(report)
        return totals

    def _written(
        self, spec: RunSpec, days: list[FinishedDay], totals: JoinTotals, meta: LogMeta, resumed: int
    ) -> SimulateOutput:
        every = range(self.config.days)
        request, config, scenario = self.request, self.config, self.scenario
        assemble(_present(spec, "outcomes", every), outcome_schema(), request.beside(".outcomes.parquet"))
        files = {"outcomes": request.beside(".outcomes.parquet")}
        table = day_table(days, scenario)
        files["metrics"] = write_table(request.beside(".metrics.parquet"), table)
        title = f"SIMULATED: {scenario.name}, {_shown(config.policy)}, {config.contacts:,} contacts"
        curves = run_curves(table, scenario.catalog.channels, title)
        files["curves"] = write_whole(request.beside(".curves.svg"), curves)
        if (policy := self._export_policy()) is not None:
            files["policy"] = policy
        assemble(_present(spec, "joined", every), log_schema(meta), request.out)
        first, last = table[table["day"] == 0], table[table["day"] == config.days - 1]
        output = SimulateOutput(
            log=request.out.name,
            sha256=sha256(request.out),
            scenario=scenario.name,
            policy=_shown(config.policy),
            contacts=config.contacts,
            days=config.days,
            seed=config.seed,
            decisions=totals.decisions,
            reachable_first=int(first["reachable"].sum()),
            reachable_last=int(last["reachable"].sum()),
            sends={name: int(table[f"sends_{name}"].sum()) for name in scenario.catalog.channels},
            removed=removed_pairs(days),
            rules=self._guardrails().words,
            warnings=nothing_sent(table, scenario),
            outcomes=totals.outcomes,
            duplicates=totals.duplicates,
            after_end=totals.after_end,
            metrics=totals.metrics(),
            groups=group_totals(table),
            resumed_from=0,
            notes=(NOTE,),
            files={},
            prices=shown_prices(None, last_prices(days)),
        )
        # The file says nothing of where it lies or how often the run was killed: the same run gives the same bytes.
        files["summary"] = write_whole(request.beside(".metrics.json"), json_bytes(output))
        return msgspec.structs.replace(
            output,
            log=str(request.out),
            resumed_from=resumed,
            files={name: str(path) for name, path in files.items()},
        )

    def _export_policy(self) -> Path | None:
        """What was learnt in the loop, as a trained folder beside the log."""
        if self.config.policy not in LEARNING:
            return None
        folders = sorted(self.parts.folder.glob("policy-*"))
        if not folders:
            return None
        out = self.request.beside(".policy")
        TrainedFolder(folders[-1]).copied(out)
        return out


def _present(spec: RunSpec, kind: str, steps: Any) -> Iterator[Path]:
    """Parts that are there, by day and batch."""
    for step in steps:
        for batch in range(spec.batches):
            if (path := spec.part(kind, batch, step)).exists():
                yield path


def _shown(policy: str) -> str:
    """A policy's name: of a folder, the last part of its path."""
    return Path(policy).name if Path(policy).is_dir() else policy
