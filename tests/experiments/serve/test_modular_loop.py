"""The whole loop on the shipped modular catalog: 41,473 actions, never listed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from engine.catalog import Catalog, catalog_from
from engine.content.eligibility import modular_of
from engine.decide.plan import Plan
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.log.parquet import LogReader
from engine.records.schema import RewardSpec, log_schema
from experiments.serve.decide import DecideRequest, decide_with
from policies.content.policy import UniformBlocks
from policies.trained import TrainedFolder
from tests.experiments.commands import call, refused, run
from tests.strategies import categorical_spec, numeric_spec

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = FeatureSchema(features=(numeric_spec("spend"), categorical_spec("motive")))
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
PACK = ROOT / "conf/guardrails/default.yaml"
CONTACTS = 800


@dataclass(frozen=True)
class World:
    """Files of one loop."""

    folder: Path
    catalog: Catalog

    @property
    def contacts(self) -> Path:
        return self.folder / "contacts.parquet"

    @property
    def log(self) -> Path:
        return self.folder / "log.parquet"

    @property
    def policy(self) -> Path:
        return self.folder / "policy"


def shipped() -> Catalog:
    return catalog_from(yaml.safe_load((ROOT / "conf/catalog/modular.yaml").read_text()))


def write_contacts(path: Path, catalog: Catalog, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = (NOW - timedelta(days=1)).isoformat()
    columns: dict[str, Any] = {
        "contact_id": [f"c{seed}-{row}" for row in range(CONTACTS)],
        "time_zone": rng.choice(["Europe/Berlin", "America/New_York"], CONTACTS).tolist(),
        "as_of": [at] * CONTACTS,
        "spend": rng.normal(size=CONTACTS),
        "motive": rng.choice(["price", "trust"], CONTACTS).tolist(),
        "sends": pa.array([[]] * CONTACTS, pa.list_(pa.null())),
    }
    for channel in catalog.channels:
        consent = f"consent_{channel}_promotional"
        columns[consent] = rng.random(CONTACTS) < 0.8
        columns[f"{consent}_at"] = [at] * CONTACTS
        columns[f"{consent}_source"] = ["checkout"] * CONTACTS
        columns[f"suppressed_{channel}"] = [False] * CONTACTS
    pq.write_table(pa.table(columns), path)


def logged(folder: Path, catalog: Catalog, seed: int = 0) -> World:
    """A log of uniform decisions with rewards: the trusting like reviews, others a discount."""
    folder.mkdir()
    world = World(folder, catalog)
    write_contacts(world.contacts, catalog, seed)
    plan = Plan(
        Guardrails(load_pack(PACK), catalog, features=SCHEMA), UniformBlocks(), "uniform", contact_key="key", seed=seed
    )
    request = DecideRequest(folder, world.contacts, NOW, folder / "decided.parquet", "key")
    decide_with(plan, SCHEMA, request, 500)
    table = pq.read_table(folder / "decided.parquet")
    meta = LogReader(folder / "decided.parquet").meta
    arm = catalog.split(table["action"].to_numpy())[2]
    blocks = [catalog.arms[one].blocks if one >= 0 else () for one in arm.tolist()]
    motive = table["context_motive"].to_pylist()
    liked = [
        ("incentive_20" if m == "price" else "proof_reviews") in own for own, m in zip(blocks, motive, strict=True)
    ]
    reward = np.array(liked) * 1.0 - 0.1 * (arm >= 0) + np.random.default_rng(seed).normal(size=len(arm)) * 0.1
    meta = msgspec.structs.replace(meta, rewards={"margin": RewardSpec(low=-1.0, high=2.0, unit="usd")})
    columns = {name: table[name] for name in table.schema.names}
    columns["state"] = pa.array(["dispatched"] * len(arm)).dictionary_encode()
    columns["reward_margin"] = pa.array(np.clip(reward, -1.0, 2.0))
    pq.write_table(pa.table(columns).cast(log_schema(meta)), world.log)
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = logged(tmp_path_factory.mktemp("modular") / "one", shipped())
    out = run("train", "--log", made.log, "--metric", "margin", "--out", made.policy, "exploration=modular")
    assert out["actions"] == 41_473
    assert out["parity"] < 1e-5
    return made


def test_records_hold_factors_not_41473_bits(world: World) -> None:
    reader = LogReader(world.log)
    (block,) = reader.rounds(rewards=["margin"])
    assert block.eligible.shape == (CONTACTS, 16)
    assert block.propensity == pytest.approx(1.0 / block.eligible_counts())
    assert block.was_eligible().all()
    assert (block.eligible_counts() > 1).any()


def test_decisions_are_made_and_their_propensities_are_those_of_the_policy(world: World, tmp_path: Path) -> None:
    out = run(
        *("decide", "--policy", world.policy, "--contacts", world.contacts, "--now", NOW.isoformat()),
        *("--out", tmp_path / "d.parquet", "seed=3", "control_share=0.1", "uniform_share=0.1", "prices.baseline=none"),
    )
    assert out["contacts"] == CONTACTS
    (block,) = LogReader(tmp_path / "d.parquet").rounds()
    policy, group = TrainedFolder(world.policy).policy(), pq.read_table(tmp_path / "d.parquet")["group"].to_pylist()
    own = policy.block_probability(block.context, block.eligible_blocks(), block.action)
    share = 0.1 / 0.9
    expected = share / block.eligible_counts() + (1.0 - share) * own
    treated = np.array([name != "control" for name in group])
    assert block.propensity[treated] == pytest.approx(expected[treated], abs=1e-12)
    assert (block.propensity[~treated] == 1.0).all()
    assert set(group) == {"treatment", "control", "uniform"}


def test_sends_of_assemblies_are_dispatched(world: World, tmp_path: Path) -> None:
    """The rules judge single sends again, of whole assemblies: nothing that was decided fails them at its hour."""
    asked = ("--contacts", world.contacts, "--now", NOW.isoformat(), "--out", tmp_path / "d.parquet")
    out = run("decide", "--policy", world.policy, *asked, "seed=3", "prices.baseline=none")
    later = ("--contacts", world.contacts, "--now", (NOW + timedelta(hours=1)).isoformat())
    done = run("dispatch", "--decisions", tmp_path / "d.parquet", *later, "--out", tmp_path / "o.parquet")
    assert done["dispatched"] > 0
    assert done["holds"] == out["held"]
    assert set(done["reasons"]) <= {"late dispatch", "Q9 quiet_hours"}


def test_the_policy_is_judged_by_its_joint_propensity(world: World) -> None:
    out = run(
        *("evaluate", "--log", world.log, "--metric", "margin", "--estimator", "ips,snips,dr"),
        *("--policy", world.policy, "--policy", "uniform", "--policy", "always:hold", "--baseline", "logged"),
        *("--override-learnt", "the probabilities are in question, not the values"),
    )
    found = {(row["policy"], row["estimator"]): row for row in out["results"]}
    logged_mean = float(np.mean(next(iter(LogReader(world.log).rounds(rewards=["margin"]))).rewards["margin"]))
    assert found["uniform", "ips"]["value"] == pytest.approx(logged_mean, abs=1e-9)
    assert {row["estimator"] for row in out["skipped"]} == {"dr"}
    assert (str(world.policy), "snips") in found


def finding(out: dict[str, Any], check: str) -> dict[str, Any]:
    return next(one for one in out["findings"] if one["check"] == check)


def test_the_audit_counts_by_block(world: World, tmp_path: Path) -> None:
    """An honest log passes; one that lost two thirds of the sends of one block fails, and the block is named."""
    for check in ("sample_ratio", "mean_weight"):
        assert finding(run("audit", world.log), check)["verdict"] == "pass"
    table = pq.read_table(world.log)
    arm = world.catalog.split(table["action"].to_numpy())[2].tolist()
    of_block = np.array([one >= 0 and "proof_reviews" in world.catalog.arms[one].blocks for one in arm])
    lost = np.flatnonzero(of_block)[: 2 * of_block.sum() // 3]
    pq.write_table(table.take(np.setdiff1d(np.arange(len(table)), lost)), tmp_path / "lost.parquet")
    out = call("audit", tmp_path / "lost.parquet").out
    found = finding(out, "sample_ratio")
    assert (out["verdict"], found["verdict"]) == ("fail", "fail")
    assert "proof_reviews" in found["what"]


def test_learning_goes_on_where_a_block_is_swapped(world: World, tmp_path: Path) -> None:
    plain = yaml.safe_load((ROOT / "conf/catalog/modular.yaml").read_text())
    blocks = plain["modular"]["slots"][1]["blocks"]
    blocks[2] = {"id": "proof_awards", "status": "approved", "version": "1", "attributes": {"tone": "figures"}}
    swapped = catalog_from(plain)
    assert swapped.version != world.catalog.version
    more = logged(tmp_path / "two", swapped, seed=1)
    out = run("train", "--log", more.log, "--metric", "margin", "--out", more.policy, "--from", world.policy)
    assert out["rows"] == 2 * CONTACTS
    before, after = TrainedFolder(world.policy).policy(), TrainedFolder(more.policy).policy()
    assert "proof_awards" in modular_of(after.catalog).block_ids
    at = modular_of(before.catalog).block_ids.index("proof_reviews")
    assert np.corrcoef(before.tables.block[at], after.tables.block[at])[0, 1] > 0.9


def test_what_lists_all_actions_is_refused(world: World, tmp_path: Path) -> None:
    decide = ("decide", "--policy", world.policy, "--contacts", world.contacts, "--now", NOW.isoformat())
    train = ("train", "--log", world.log, "--metric", "margin", "--out", tmp_path / "p")
    assert "exploration=modular" in str(refused(2, *train))
    assert "modular" in str(refused(2, *train, "learner=auto", "exploration=modular"))
    assert "prices" in str(refused(2, *decide, "--out", tmp_path / "d.parquet", "prices.baseline=100"))
    first = next(iter(LogReader(world.log).rounds())).decision_id[0]
    assert "modular" in str(refused(3, "explain", "--log", world.log, "--decision", first))
    packs = ("guardrails", "diff", "default", "full", "--catalog", "modular")
    assert "modular" in str(refused(3, *packs, "--contacts", world.contacts, "--now", NOW.isoformat()))
    assert "modular" in str(refused(3, "simulate", "--out", tmp_path / "s.parquet", "scenario.catalog=modular"))
    assert "modular" in str(refused(3, "backtest", "--log", world.log, "--metric", "margin", "--out", tmp_path / "b"))
