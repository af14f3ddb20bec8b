"""The six real logs through the shipped mappings: counts, propensities, dates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.mapping.dialect import load_mapping, shipped_mappings
from engine.mapping.importer import ImportReport, import_log

LOGS = [
    ("hillstrom", "hillstrom/hillstrom_dev.csv.gz", 32_000, 3, "logged"),
    ("starbucks", "starbucks/starbucks_waves_0_2.parquet", 51_000, 11, "logged"),
    ("heartsteps", "heartsteps/heartsteps_decisions.csv.gz", 7_540, 2, "logged"),
    ("email_sme", "email_sme/data_email_campaign.csv.gz", 68_353, 9, "absent"),
    ("lord_of_the_machines", "lord_of_the_machines/train_mini.csv", 200, 52, "absent"),
    *[
        ("open_bandit", f"open_bandit/{policy}/{part}/{part}.csv.gz", 10_000, k, "logged")
        for policy in ("random", "bts")
        for part, k in (("all", 80), ("men", 34), ("women", 46))
    ],
]


def imported(shared_data: Path, tmp_path: Path, name: str, file: str) -> tuple[ImportReport, pd.DataFrame]:
    report = import_log(load_mapping(name), shared_data / file, tmp_path / "log.parquet", contact_key="key")
    return report, pq.read_table(tmp_path / "log.parquet").to_pandas()


def test_every_mapping_loads() -> None:
    assert set(shipped_mappings()) >= {name for name, *_ in LOGS}
    for name in shipped_mappings():
        mapping = load_mapping(name)
        assert mapping.name == name
        assert mapping.source
        assert mapping.rewards


@pytest.mark.parametrize(("name", "file", "rows", "actions", "propensity"), LOGS)
def test_every_row_is_kept(
    shared_data: Path, tmp_path: Path, name: str, file: str, rows: int, actions: int, propensity: str
) -> None:
    report, _ = imported(shared_data, tmp_path, name, file)
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (rows, rows, 0)
    assert (report.actions, report.propensity) == (actions, propensity)
    assert report.rejects_file is None
    reader = LogReader(tmp_path / "log.parquet")
    assert sum(block.n for block in reader.rounds(rewards=list(reader.meta.rewards))) == rows


def test_hillstrom_values(shared_data: Path, tmp_path: Path) -> None:
    report, log = imported(shared_data, tmp_path, "hillstrom", "hillstrom/hillstrom_dev.csv.gz")
    raw = pd.read_csv(shared_data / "hillstrom/hillstrom_dev.csv.gz")
    assert report.action_names == ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
    assert (log["propensity"] == 1 / 3).all()
    assert (log["action_name"].astype(str) == raw["segment"]).all()
    assert (log["decision_id"] == raw["row"].astype(str)).all()
    for reward in ("visit", "conversion", "spend"):
        np.testing.assert_array_equal(log[f"reward_{reward}"], raw[reward])
    np.testing.assert_array_equal(log["context_history"], raw["history"])
    assert (log["context_zip_code"].astype(str) == raw["zip_code"]).all()
    assert log["contact_id"].nunique() == 32_000


def test_hillstrom_as_published_has_no_row_column(shared_data: Path, tmp_path: Path) -> None:
    raw = pd.read_csv(shared_data / "hillstrom/hillstrom_dev.csv.gz").drop(columns="row").head(50)
    raw.to_csv(tmp_path / "published.csv", index=False)
    import_log(load_mapping("hillstrom"), tmp_path / "published.csv", tmp_path / "o.parquet", contact_key="k")
    assert pq.read_table(tmp_path / "o.parquet")["decision_id"].to_pylist() == [str(i) for i in range(1, 51)]


def test_starbucks_values(shared_data: Path, tmp_path: Path) -> None:
    report, log = imported(shared_data, tmp_path, "starbucks", "starbucks/starbucks_waves_0_2.parquet")
    raw = pd.read_parquet(shared_data / "starbucks/starbucks_waves_0_2.parquet")
    assert any("SIMULATED" in note for note in report.notes)
    assert log["cluster"].nunique() == log["contact_id"].nunique() == raw["person"].nunique()
    np.testing.assert_array_equal(log["propensity"], raw["p_logged"])
    np.testing.assert_array_equal(log["reward_spend72"], raw["spend72"])
    np.testing.assert_array_equal(log["context_age"], raw["age"])
    np.testing.assert_array_equal(log["state_age"], raw["age"].isna().astype(int))
    assert log["decided_at"].iloc[-1] == pd.Timestamp("2018-01-01T00:00Z") + pd.Timedelta(
        hours=int(raw["time"].iloc[-1])
    )
    offer = LogReader(tmp_path / "log.parquet").meta.catalog.arms[0]
    assert offer.attributes["offer_type"] == "bogo"
    assert offer.attributes["difficulty"] == 10.0


def test_starbucks_without_its_companion(shared_data: Path, tmp_path: Path) -> None:
    head = pd.read_parquet(shared_data / "starbucks/starbucks_waves_0_2.parquet").head(200)
    head.to_parquet(tmp_path / "alone.parquet")
    report = import_log(load_mapping("starbucks"), tmp_path / "alone.parquet", tmp_path / "o.parquet", contact_key="k")
    assert (report.rows_kept, report.actions) == (200, 11)


def test_heartsteps_values(shared_data: Path, tmp_path: Path) -> None:
    _, log = imported(shared_data, tmp_path, "heartsteps", "heartsteps/heartsteps_decisions.csv.gz")
    raw = pd.read_csv(shared_data / "heartsteps/heartsteps_decisions.csv.gz")
    available = raw["avail"] == 1
    assert (log["available"] == available).all()
    assert log["propensity"].isna().equals(~available)
    expected = np.where(raw["send"] == 1, raw["p_send"], 1 - raw["p_send"])[available]
    np.testing.assert_array_equal(log["propensity"][available], expected)
    assert set(log["eligible"][available]) == {b"\x03"}
    assert set(log["eligible"][~available]) == {b"\x01"}
    assert log["decided_at"].iloc[0] == datetime(2015, 7, 22, 16, 30, tzinfo=UTC)
    catalog = LogReader(tmp_path / "log.parquet").meta.catalog
    assert (catalog.resolve("send"), catalog.resolve("none"), catalog.resolve("1")) == (1, 0, 1)


def test_email_sme_rewards(shared_data: Path, tmp_path: Path) -> None:
    _, log = imported(shared_data, tmp_path, "email_sme", "email_sme/data_email_campaign.csv.gz")
    raw = pd.read_csv(shared_data / "email_sme/data_email_campaign.csv.gz")
    assert log["propensity"].isna().all()
    np.testing.assert_array_equal(log["reward_read"], raw["Email_Status"] >= 1)
    np.testing.assert_array_equal(log["reward_acknowledged"], raw["Email_Status"] == 2)
    np.testing.assert_array_equal(log["send_hour"].astype(str), raw["Time_Email_sent_Category"].astype(str))
    assert (log["state_Customer_Location"] == raw["Customer_Location"].isna()).all()


def test_campaign_dates_are_day_first_in_india(shared_data: Path, tmp_path: Path) -> None:
    _, log = imported(shared_data, tmp_path, "lord_of_the_machines", "lord_of_the_machines/train_mini.csv")
    assert log["decision_id"].iloc[0] == "42_14051"
    assert log["decided_at"].iloc[0] == datetime(2017, 9, 1, 14, 25, tzinfo=UTC)  # 01-09-2017 19:55 at +05:30
    assert log["decided_at"].iloc[1] == datetime(2017, 11, 2, 7, 23, tzinfo=UTC)  # 02-11-2017 12:53
    arms = LogReader(tmp_path / "log.parquet").meta.catalog.arms
    assert {arm.id: arm.attributes["communication_type"] for arm in arms}["29"] == "Newsletter"


def test_open_bandit_values(shared_data: Path, tmp_path: Path) -> None:
    _, log = imported(shared_data, tmp_path, "open_bandit", "open_bandit/bts/women/women.csv.gz")
    raw = pd.read_csv(shared_data / "open_bandit/bts/women/women.csv.gz", dtype={"propensity_score": str})
    np.testing.assert_array_equal(log["propensity"], raw["propensity_score"].map(float))
    np.testing.assert_array_equal(log["action"], raw["item_id"] + 1)
    assert not any(bits[0] & 1 for bits in log["eligible"])  # the log never held
    assert set(log["context_position"].astype(str)) == {"1", "2", "3"}
    assert log["decided_at"].iloc[0] == pd.Timestamp("2019-11-24 00:01:29.788335+00:00")
    np.testing.assert_array_equal(log["raw_user-item_affinity_40"], raw["user-item_affinity_40"])
