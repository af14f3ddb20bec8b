"""Checkpoints, canonical files, sums of days, and the folder of an unfinished run."""

from __future__ import annotations

import tempfile
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from engine.errors import ConfigError, StorageError
from engine.guardrails.conditions import Conditions
from experiments.simulate.checkpoint import load_batch, save_batch
from experiments.simulate.daily import BEFORE, MILLIONTHS, FinishedDay, Sums, add, before_sums, columns, day_sums
from experiments.simulate.run_folder import RunFolder, assemble
from policies.peers.constant import UniformPolicy
from simulator.rollout import PolicyActor, play
from simulator.scenario import load_scenario
from simulator.world.sender import nothing_on
from simulator.world.world import World

SCENARIOS = ("newsletter", "renewal", "browse_abandonment")


def flat(part: Any, name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        found |= flat(value, f"{name}{field.name}.") if is_dataclass(value) else {name + field.name: value}
    return found


def lived(name: str, steps: int, n: int = 60) -> World:
    world = World(load_scenario(name), n, seed=9, first=7)
    for _ in range(steps):
        play(world, PolicyActor(UniformPolicy()), Conditions(killed=False))
    return world


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_block_goes_on_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    world = lived(name, 5)
    decided = np.arange(world.n, dtype=np.int64)
    save_batch(tmp_path / "state.npz", world.state, decided)
    other = World(load_scenario(name), world.n, seed=9, first=7)
    assert load_batch(tmp_path / "state.npz", other).tolist() == decided.tolist()
    for _ in range(4):
        for one in (world, other):
            play(one, PolicyActor(UniformPolicy()), Conditions(killed=False))
    mine, theirs = flat(world.state), flat(other.state)
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        if key == "arriving":
            assert {step: len(entries) for step, entries in value.items()} == {
                step: len(entries) for step, entries in theirs[key].items()
            }
            continue
        assert np.asarray(value).dtype == np.asarray(theirs[key]).dtype, key
        assert np.array_equal(value, theirs[key], equal_nan=np.asarray(value).dtype.kind == "f"), key


@pytest.mark.parametrize("damage", ["missing", "cut", "other batch"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    world = lived("newsletter", 1)
    save_batch(path, world.state, np.zeros(world.n, dtype=np.int64))
    if damage == "missing":
        path.unlink()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    n = 61 if damage == "other batch" else 60
    with pytest.raises(StorageError):
        load_batch(path, World(load_scenario("newsletter"), n, seed=9))


@given(cuts=st.lists(st.integers(1, 90), max_size=4), shuffled=st.booleans())
@profile(max_examples=25)
def test_the_same_rows_are_the_same_bytes(cuts: list[int], shuffled: bool) -> None:
    """However the parts are cut, and whatever order their dictionaries have."""
    words = [f"word{i * i % 7}" for i in range(100)]
    label = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([pa.field("n", pa.int64()), pa.field("word", label)], metadata={b"tactful": b"{}"})
    edges = [0, *sorted(set(cuts)), 100]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (start, end) in enumerate(pairwise(edges)):
            levels = sorted(set(words), reverse=shuffled and number % 2 == 0)
            codes = pa.array([levels.index(word) for word in words[start:end]], pa.int32())
            column = pa.DictionaryArray.from_arrays(codes, pa.array(levels))
            pq.write_table(pa.table({"n": list(range(start, end)), "word": column}), folder / f"{number}.parquet")
        whole = pa.table({"n": list(range(100)), "word": pa.array(words).dictionary_encode()})
        pq.write_table(whole, folder / "whole.parquet")
        parts = [folder / f"{number}.parquet" for number in range(len(edges) - 1)]
        assert assemble(parts, schema, folder / "a.parquet") == 100
        assemble([folder / "whole.parquet"], schema, folder / "b.parquet")
        assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
        assert pq.read_table(folder / "a.parquet")["word"].to_pylist() == words


def test_sums_are_those_of_what_happened() -> None:
    world = lived("newsletter", 2, n=400)
    group = (np.arange(400) % 2).astype(np.int32)
    before = before_sums(world, group)
    rows = np.flatnonzero(world.deciding())
    happened = play(world, PolicyActor(UniformPolicy()), Conditions(killed=False))
    sums = day_sums(world, group, rows, happened)
    assert set(before) | set(sums) == set(columns(world.catalog.channels))
    assert sum(sums["decided"]) == len(rows)
    assert sum(sums["sends"]) == len(happened.rows) > 0
    assert sum(sums["orders_organic"]) == int(happened.organic.sum())
    for position in range(2):
        own = happened.reward_usd[group == position].sum()
        assert abs(sums["reward_usd"][position] / MILLIONTHS - own) < 400 * 0.5 / MILLIONTHS
    by_channel = [sums[f"sends_{name}"] for name in world.catalog.channels]
    assert np.array_equal(np.sum(by_channel, axis=0), sums["sends"])


def test_sums_of_blocks_are_the_sum_of_the_whole() -> None:
    """Whole numbers add up exactly in any order, money and fatigue too."""
    total: Sums = {}
    for first, n in ((7, 25), (32, 35)):
        world = World(load_scenario("newsletter"), n, seed=9, first=first)
        for _ in range(3):
            play(world, PolicyActor(UniformPolicy()), Conditions(killed=False))
        add(total, before_sums(world, np.zeros(n, dtype=np.int32)))
    whole = before_sums(lived("newsletter", 3), np.zeros(60, dtype=np.int32))
    assert total == whole
    assert set(total) == set(BEFORE)


def day(number: int) -> FinishedDay:
    return FinishedDay(
        sums={"sends": [number]}, removed={}, held=0, policy="p", sent=nothing_on(number, 2).to_builtins()
    )


def test_days_are_read_back_without_a_gap(tmp_path: Path) -> None:
    parts = RunFolder(tmp_path / "parts", {"seed": 1})
    with parts.held():
        for number in (0, 1, 3):
            parts.commit(number, day(number))
        assert parts.done() == [day(0), day(1)]
        assert parts.done()[1].counts == nothing_on(1, 2)
        with pytest.raises(StorageError, match="another process"), RunFolder(tmp_path / "parts", {"seed": 1}).held():
            pass
    parts.remove()
    assert not (tmp_path / "parts").exists()


def test_other_arguments_do_not_go_on(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "p", {"seed": 1, "delay": {"late": 0.0}}).held():
        pass
    other = RunFolder(tmp_path / "p", {"seed": 1, "delay": {"late": 0.5}})
    with pytest.raises(ConfigError, match=r"delay\.late was 0\.0, is 0\.5") as caught, other.held():
        pass
    assert "remove the folder" in caught.value.hint
