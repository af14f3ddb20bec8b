"""The demonstration: a small simulated world through the whole loop, log -> backtest -> decide."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from engine.catalog import Catalog, catalog_from
from engine.decide import Plan
from engine.features import FeatureSchema, schema_from
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.join import join
from engine.log.parquet import LogReader
from engine.log.whole_file import ParquetFile
from engine.outcomes import read_outcomes
from experiments.backtest import BacktestRequest, Prepared, judge_prepared, prepare
from experiments.decide import DecideRequest, decide_file, decide_with
from experiments.outputs import DemoOutput
from experiments.report.files import make_folder
from experiments.settings import BacktestConfig, DecideConfig, JoinConfig, compose_settings
from policies.uniform import UniformPolicy
from simulator.demo_world import NOTE, expected_margin, make_contacts, outcomes_of

METRIC = "margin"
START = datetime(2026, 9, 1, 14, 0, tzinfo=UTC)
Say = Callable[[str], None]


def demo(folder: Path, contacts: int, seed: int, say: Say) -> DemoOutput:
    """Make contacts and a logged campaign, backtest on it, decide for fresh contacts with what was trained.

    The campaign is fully randomised over what the guardrails leave, as a first test of a new programme would be.

    Args:
        folder: everything is written here.
        contacts: contacts of the logged campaign, at least 1,000.
        seed: of contacts, sampling and outcomes; same seed, same files.
        say: told what happens, a line at a time.

    Raises:
        StorageError: the folder cannot be written.
    """
    make_folder(folder)
    catalog, schema = shipped_catalog("demo"), shipped_features("demo")
    say(f"1/4 {contacts:,} simulated contacts, one randomised campaign under guardrails")
    log = _campaign(folder, catalog, schema, contacts, seed)
    say("2/4 outcomes joined to their decisions")
    say("3/4 backtest: learned policy and tuned segments on one half, judged on the other")
    config = compose_settings("backtest", [f"seed={seed}"], BacktestConfig)
    asked = BacktestRequest(log, METRIC, folder / "backtest")
    prepared = prepare(asked, config)
    judged = judge_prepared(prepared, asked, config)
    truth = true_values(prepared, pq.read_table(folder / "contacts.parquet"), seed)
    say("4/4 decisions of the trained policy for fresh contacts")
    later = START + timedelta(days=14)
    fresh = folder / "fresh_contacts.parquet"
    pq.write_table(make_contacts(max(contacts // 4, 1), seed, later, first=contacts), fresh)
    request = DecideRequest(folder / "backtest" / "policy", fresh, later, folder / "decisions.parquet", "demo")
    decided = decide_file(request, compose_settings("decide", [f"seed={seed}", "use_case=demo"], DecideConfig))
    return DemoOutput(backtest=judged, decisions=decided, truth=truth, folder=str(folder))


def true_values(prepared: Prepared, contacts: pa.Table, seed: int) -> dict[str, float]:
    """What each judged policy is truly worth per decision in this world, over the whole campaign, in USD."""
    values = expected_margin(contacts, prepared.reader.meta.catalog, seed)
    totals: dict[str, float] = {}
    row = 0
    for block in prepared.reader.blocks():
        for name, target in prepared.targets.items():
            full = target.probabilities(block).full
            if full is not None:
                totals[name] = totals.get(name, 0.0) + float((full * values[row : row + block.n]).sum())
        row += block.n
    return {name: total / row for name, total in totals.items()}


def _campaign(folder: Path, catalog: Catalog, schema: FeatureSchema, contacts: int, seed: int) -> Path:
    """The logged campaign: contacts, decisions, outcomes, and the joined log."""
    people, decisions, happened, log = (
        folder / name for name in ("contacts.parquet", "campaign.parquet", "outcomes.parquet", "log.parquet")
    )
    pq.write_table(make_contacts(contacts, seed, START), people)
    settings = compose_settings("decide", [f"seed={seed}"], DecideConfig)
    plan = Plan(
        Guardrails(pack_from(settings.guardrails), catalog),
        UniformPolicy(),
        "uniform",
        seed=seed,
        use_case="demo",
        contact_key="demo",
    )
    decide_with(plan, schema, DecideRequest(folder / "none", people, START, decisions, "demo"), settings.block_rows)
    table = outcomes_of(pq.read_table(decisions), pq.read_table(people), seed)
    with ParquetFile(happened, table.schema) as file:
        file.append(table)
    metrics = compose_settings("join", ["metrics=demo"], JoinConfig).metrics
    join(decisions, read_outcomes(happened)[0], metrics, START + timedelta(days=7), log)
    _say_simulated(log)
    return log


def _say_simulated(log: Path) -> None:
    """Write the note into the log's footer, so that every report made from it repeats it."""
    reader = LogReader(log)
    meta = msgspec.structs.replace(reader.meta, notes=(NOTE,))
    table = pq.read_table(log)
    footer = {**(reader.schema.metadata or {}), b"tactful": msgspec.json.encode(meta)}
    with ParquetFile(log, reader.schema.with_metadata(footer)) as file:
        file.append(table)


def shipped_catalog(name: str) -> Catalog:
    """A catalog of `conf/catalog/`.

    Raises:
        ConfigError: the yaml is no catalog.
    """
    return catalog_from(yaml.safe_load((resources.files("conf") / "catalog" / f"{name}.yaml").read_text()), source=name)


def shipped_features(name: str) -> FeatureSchema:
    """A feature schema of `conf/features/`.

    Raises:
        ConfigError: the yaml is no feature schema.
    """
    return schema_from(yaml.safe_load((resources.files("conf") / "features" / f"{name}.yaml").read_text()), source=name)
