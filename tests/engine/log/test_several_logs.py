"""Several files as one log, and actions that are read by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audit.audit import audit_log
from engine.audit.rule import AuditRule
from engine.catalog import Arm, Catalog
from engine.eligibility import pack, unpack
from engine.errors import DataError, LogFormatError, MisnamedActionError
from engine.log import several
from engine.log.action_names import common_catalog, positions
from engine.log.parquet import LogReader
from engine.records.schema import LogMeta, RewardSpec
from tests.logs import decision_row, small_meta, write_log


def catalog(channels: str = "email", hours: tuple[int, ...] = (9, 18), arms: str = "ab", **more: Any) -> Catalog:
    return Catalog(
        name="shop",
        channels=tuple(channels.split()),
        hours=hours,
        arms=tuple(Arm(id=arm, approved=True) for arm in arms),
        **more,
    )


def rows_of(meta: LogMeta, numbers: range, seed: int = 0) -> list[dict[str, Any]]:
    """Decisions with random actions, each in a random eligible set."""
    draw, own = np.random.default_rng(seed), meta.catalog
    found = []
    for number in numbers:
        action = int(draw.integers(own.k))
        eligible = draw.random(own.k) < 0.5
        eligible[[0, action]] = True
        channel, hour, arm = (int(part[0]) for part in own.split(np.array([action])))
        found.append(
            decision_row(
                number,
                meta,
                action=action,
                action_name=own.action_names[action],
                channel=None if action == 0 else own.channels[channel],
                send_hour=None if action == 0 else str(own.hours[hour]),
                arm=None if action == 0 else own.arm_ids[arm],
                eligible=pack(eligible[None, :]).tobytes(),
                state="dispatched",
            )
        )
    return found


def log_of(path: Path, own: Catalog, numbers: range, **more: Any) -> Path:
    meta = small_meta(catalog=own, **more)
    return write_log(path, rows_of(meta, numbers, seed=numbers.start), meta)


def said(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Decision -> the cell of its action and of every eligible one, as the file by itself says it."""
    reader = LogReader(path)
    own = reader.meta.catalog
    out = {}
    for block in reader.rounds(context=False):
        for name, action, eligible in zip(block.decision_id, block.action, block.eligible_dense(), strict=True):
            out[name] = (cell(own, int(action)), frozenset(cell(own, one) for one in np.flatnonzero(eligible).tolist()))
    return out


def cell(own: Catalog, action: int) -> str:
    if action == 0:
        return "hold"
    channel, hour, arm = (int(part[0]) for part in own.split(np.array([action])))
    return f"{own.channels[channel]}|{own.hours[hour]}|{own.arm_ids[arm]}"


def concatenated(paths: list[Path], out: Path) -> Path:
    """As people put files together with pyarrow: the footer of the first, the rows of all."""
    tables = [pq.read_table(path) for path in paths]
    schema = tables[0].schema
    pq.write_table(pa.concat_tables([table.cast(schema) for table in tables]), out)
    return out


def by_pandas(paths: list[Path], out: Path) -> Path:
    frame = pd.concat([pd.read_parquet(path) for path in paths])
    footer = pq.read_schema(paths[0]).metadata
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(footer), out)
    return out


def test_several_files_are_one_log(tmp_path: Path) -> None:
    """In any order of the options the same rows in the same chunks as one file of all of them."""
    meta = small_meta(rewards={"r": RewardSpec(low=0, high=1)})
    rows = [{**decision_row(n, meta), "reward_r": float(n % 2)} for n in range(9000)]
    whole = write_log(tmp_path / "whole.parquet", rows, meta)
    parts = [
        write_log(tmp_path / f"{name}.parquet", rows[cut], meta)
        for name, cut in (("z", slice(0, 4000)), ("a", slice(4000, 9000)))
    ]
    one = list(LogReader(whole).rounds(rewards=["r"]))
    for named in (parts, parts[::-1]):
        reader = LogReader(named)
        assert reader.rows == 9000
        assert [path.name for path in reader.paths] == ["z.parquet", "a.parquet"]
        for block, other in zip(reader.rounds(rewards=["r"]), one, strict=True):
            assert block.chunk == other.chunk
            assert (block.decision_id == other.decision_id).all()
            assert (block.rewards["r"] == other.rewards["r"]).all()


def test_a_decision_in_two_files_or_twice_in_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = small_meta()
    rows = [decision_row(n, meta) for n in range(20)]
    first = write_log(tmp_path / "first.parquet", rows[:12], meta)
    cumulative = write_log(tmp_path / "cumulative.parquet", rows, meta)
    twice = write_log(tmp_path / "twice.parquet", [rows[15], rows[16], rows[15]], meta)
    rest = write_log(tmp_path / "rest.parquet", rows[18:], meta)
    for held in (several.HELD, 5):
        monkeypatch.setattr(several, "HELD", held)
        with pytest.raises(DataError, match=r"first\.parquet and in .*cumulative\.parquet|cumulative.* and in .*first"):
            LogReader([first, cumulative])
        with pytest.raises(DataError, match=r"'d000015' stands twice in .*twice\.parquet"):
            LogReader([twice, rest])
        assert LogReader([first, rest]).rows == 14


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rewards": {"r": RewardSpec(low=0, high=1)}}, "metrics"),
        ({"propensity": "absent"}, "propensities"),
        ({"clustered": True}, "clusters"),
    ],
)
def test_files_that_are_no_one_log_are_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    one = log_of(tmp_path / "a.parquet", catalog(), range(5))
    meta = small_meta(catalog=catalog(), **changes)
    rows = [{**row, **({"reward_r": 1.0} if "rewards" in changes else {})} for row in rows_of(meta, range(5, 9))]
    other = write_log(tmp_path / "b.parquet", rows, meta)
    with pytest.raises(LogFormatError, match=what):
        LogReader([one, other])


def test_packs_and_notes(tmp_path: Path) -> None:
    """What all files agree on stays; rules of different packs are not replayed together, and the notes say so."""
    packs = [{"name": "p", "version": str(n)} for n in range(2)]
    paths = [
        log_of(tmp_path / f"{n}.parquet", catalog(), range(5 * n, 5 * n + 5), pack=packs[n // 2], notes=(f"note {n}",))
        for n in range(3)
    ]
    same = LogReader(paths[:2]).meta
    assert (same.pack, same.notes) == (packs[0], ("note 0", "note 1"))
    other = LogReader(paths).meta
    assert other.pack is None
    assert several.APART in other.notes


CHANGES = {
    "arms reordered": (catalog(arms="abc"), catalog(arms="cab")),
    "hours reordered": (catalog(hours=(9, 18)), catalog(hours=(18, 9))),
    "channels reordered": (catalog("email sms"), catalog("sms email")),
    "an arm added": (catalog(arms="ab"), catalog(arms="xab")),
    "an arm retired": (catalog(arms="abc"), catalog(arms="cb")),
    "a channel added": (catalog("email"), catalog("push email")),
    "an hour added": (catalog(hours=(9,)), catalog(hours=(8, 9, 10))),
    "an arm renamed": (catalog(arms="ab"), catalog(arms="bz", aliases={"9|a": "9|z", "18|a": "18|z"})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_actions_are_read_by_name_across_catalogs(tmp_path: Path, change: str) -> None:
    """Every action and every eligible set means the same cells, read alone or together."""
    paths = [
        log_of(tmp_path / f"{n}.parquet", own, range(300 * n, 300 * n + 300)) for n, own in enumerate(CHANGES[change])
    ]
    alone = said(paths[0]) | said(paths[1])
    if change == "an arm renamed":
        alone = {
            name: (one.replace("|a", "|z"), frozenset(e.replace("|a", "|z") for e in every))
            for name, (one, every) in alone.items()
        }
    reader = LogReader(paths)
    own = reader.meta.catalog
    together = {}
    for batch in reader.batches():
        sets = unpack(
            np.frombuffer(b"".join(batch.column("eligible").to_pylist()), np.uint8).reshape(batch.num_rows, -1), own.k
        )
        for row in range(batch.num_rows):
            action = batch.column("action")[row].as_py()
            together[batch.column("decision_id")[row].as_py()] = (
                cell(own, action),
                frozenset(cell(own, one) for one in np.flatnonzero(sets[row]).tolist()),
            )
            assert batch.column("action_name")[row].as_py() == own.action_names[action]
            assert batch.column("catalog_version")[row].as_py() == own.version
            if action:
                parts = "|".join(batch.column(name)[row].as_py() for name in ("channel", "send_hour", "arm"))
                assert parts == cell(own, action)
    assert together == alone
    assert any("read by the names of their actions" in note for note in reader.meta.notes)


def test_catalogs_that_do_not_know_each_other_are_refused(tmp_path: Path) -> None:
    paths = [
        log_of(tmp_path / f"{arms}.parquet", catalog(arms=arms), range(n, n + 5)) for n, arms in ((0, "ab"), (9, "ac"))
    ]
    with pytest.raises(LogFormatError, match="none knows the actions of all") as caught:
        LogReader(paths)
    assert "'9|b'" in caught.value.message
    assert "aliases" in caught.value.hint


@given(st.permutations(["a", "b", "c", "d"]), st.permutations([8, 9, 10]), st.permutations(["email", "sms", "push"]))
def test_a_reordered_catalog_is_the_same_catalog(arms: list[str], hours: list[int], channels: list[str]) -> None:
    one = catalog("email sms push", (8, 9, 10), "abcd")
    other = catalog(" ".join(channels), tuple(hours), "".join(arms))
    there, back = positions(one, other), positions(other, one)
    assert (back[there] == np.arange(one.k)).all()
    assert [one.action_names[a] for a in range(one.k)] == [other.action_names[a] for a in there]
    assert common_catalog([one, other]).version == other.version


@pytest.mark.parametrize("put_together", [concatenated, by_pandas])
@pytest.mark.parametrize("change", CHANGES)
def test_files_that_other_tools_put_together_are_refused(
    tmp_path: Path, change: str, put_together: Callable[[list[Path], Path], Path]
) -> None:
    """The footer of the first, rows of both catalogs: refused by the reader, failed by the audit."""
    paths = [
        log_of(tmp_path / f"{n}.parquet", own, range(50 * n, 50 * n + 50)) for n, own in enumerate(CHANGES[change])
    ]
    mixed = put_together(paths, tmp_path / "mixed.parquet")
    reader = LogReader(mixed)
    for columns in (["action"], ["eligible"], ["arm"], None):
        with pytest.raises(MisnamedActionError, match="rows of the catalog") as caught:
            list(reader.batches(columns))
        assert "--log A --log B" in caught.value.hint
    with pytest.raises(MisnamedActionError):
        list(reader.rounds(context=False))
    found = audit_log(reader, AuditRule())
    assert found.verdict == "fail"
    assert [one.check for one in found.findings] == ["actions"]


@pytest.mark.parametrize("column", ["action", "action_name"])
def test_an_index_under_another_name_is_refused(tmp_path: Path, column: str) -> None:
    """Rows that another tool relabelled: the version fits, index and name do not."""
    path = log_of(tmp_path / "log.parquet", catalog(), range(20))
    table = pq.read_table(path)
    values = table.column(column).cast(pa.string() if column == "action_name" else pa.int32()).to_pylist()
    place = table.schema.get_field_index(column)
    rolled = pa.array([*values[1:], values[0]]).cast(table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), rolled), path)
    with pytest.raises(MisnamedActionError, match="under the name"):
        list(LogReader(path).batches(["action"]))


def test_a_name_that_the_catalog_does_not_know_is_refused(tmp_path: Path) -> None:
    path = log_of(tmp_path / "log.parquet", catalog(), range(20))
    meta = small_meta(catalog=catalog())
    other = msgspec.structs.replace(meta.catalog, arms=(Arm(id="q", approved=True), Arm(id="b", approved=True)))
    table = pq.read_table(path)
    footer = msgspec.json.encode(msgspec.structs.replace(meta, catalog=other))
    place = table.schema.get_field_index("catalog_version")
    lying = pa.array([other.version] * 20).dictionary_encode()
    table = table.set_column(place, "catalog_version", lying).replace_schema_metadata({b"tactful": footer})
    pq.write_table(table, path)
    with pytest.raises(MisnamedActionError, match="does not know"):
        list(LogReader(path).batches(["action"]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_bits_move_with_their_actions(seed: int) -> None:
    """Eligible sets of 1 + 2 x 2 x 3 actions, read under a catalog of 1 + 3 x 2 x 4."""
    from engine.log.action_names import NamedActions

    draw = np.random.default_rng(seed)
    one, other = catalog("email sms", (9, 18), "abc"), catalog("push sms email", (18, 9), "cdba")
    dense = draw.random((7, one.k)) < 0.5
    stored = pa.array([row.tobytes() for row in pack(dense)], pa.binary())
    read = NamedActions(one, other, "x").read(pa.RecordBatch.from_pydict({"eligible": stored}))
    moved = unpack(np.frombuffer(b"".join(read.column(0).to_pylist()), np.uint8).reshape(7, -1), other.k)
    by_cell = {cell(other, action): action for action in range(other.k)}
    for action in range(one.k):
        assert (moved[:, by_cell[cell(one, action)]] == dense[:, action]).all()
    assert moved.sum() == dense.sum()
