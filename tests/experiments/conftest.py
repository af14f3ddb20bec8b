"""Logs imported once, and one small demonstration whose policy and contacts many tests use."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.records.schema import log_schema
from experiments.demo.acts import ACTS
from tests.experiments.commands import Imported, run


@pytest.fixture(scope="session")
def imported(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """`imported(mapping, file)`: the log of a real data set, imported once in a session."""
    folder = tmp_path_factory.mktemp("imported")
    known: dict[tuple[str, str], Path] = {}

    def log_of(mapping: str, file: str) -> Path:
        if (mapping, file) not in known:
            path = folder / f"{file.replace('/', '_')}.parquet"
            out = run("import", "--mapping", mapping, "--input", shared_data / file, "--out", path)
            (folder / f"{path.name}.json").write_text(json.dumps(out))
            known[mapping, file] = path
        return known[mapping, file]

    return log_of


@pytest.fixture(scope="session")
def hillstrom(imported: Imported) -> Path:
    return imported("hillstrom", "hillstrom/hillstrom_dev.csv.gz")


ACT = "alike"


@dataclass(frozen=True)
class Demo:
    """One act of a demonstration: its folder, and what was printed of it."""

    folder: Path
    out: dict[str, Any]

    @property
    def policy(self) -> Path:
        return self.folder / "backtest" / "policy"

    @property
    def log(self) -> Path:
        return self.folder / "log.parquet"

    @property
    def outcomes(self) -> Path:
        return self.folder / "log.outcomes.parquet"

    @property
    def campaign(self) -> Path:
        """The log as it was before outcomes were joined to it."""
        return self.folder.parent.parent / "campaign.parquet"

    @property
    def contacts(self) -> Path:
        return self.folder / "fresh_contacts.parquet"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo") / "out"
    # The same act with a catalog of three channels, two hours and more arms.
    act = ACTS[ACT]
    wide = tuple("scenario.catalog=small_shop" if word.startswith("scenario.catalog=") else word for word in act.world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ACTS, ACT, replace(act, world=wide))
        whole = run("demo", "--act", ACT, "--contacts", 3000, "--seed", 3, "--out", folder)
    made = Demo(folder / ACT, whole["acts"][ACT])
    write_unjoined(made.log, made.campaign)
    return made


def write_unjoined(log: Path, out: Path) -> None:
    """A log without its rewards."""
    reader = LogReader(log)
    meta = msgspec.structs.replace(reader.meta, rewards={})
    schema = log_schema(meta)
    table = pq.read_table(log)
    pq.write_table(table.select(schema.names).replace_schema_metadata(schema.metadata), out)
