"""policies/parts/folder.py: a folder of parts is the policy, bit for bit, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import ArtefactError, LearnError
from engine.log.training_rows import TrainingRows
from policies.parts import learner as learning
from policies.parts.folder import PartsManifest
from policies.parts.learner import PartsLearner
from policies.trained import TrainedFolder
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwResponseModel
from tests.policies.parts.parts_worlds import SCHEMA, catalog, context, learner, learnt, log


@pytest.fixture(scope="module")
def made() -> PartsLearner:
    return learnt(log(3000))


@pytest.fixture
def folder(made: PartsLearner, tmp_path: Path) -> Path:
    made.export(tmp_path / "policy", source={"log": "a.parquet"})
    return tmp_path / "policy"


def test_round_trip(made: PartsLearner, folder: Path) -> None:
    opened = TrainedFolder(folder)
    policy, loaded = made.policy(), opened.scored()
    shown, everything = context(200, 3), np.ones((200, catalog().k), dtype=np.bool_)
    assert loaded.scores(shown).tobytes() == policy.scores(shown).tobytes()
    assert loaded.distribution(shown, everything).tobytes() == policy.distribution(shown, everything).tobytes()
    assert opened.compiled().version == loaded.version == opened.version
    assert isinstance(opened.manifest, PartsManifest)
    assert (opened.manifest.metric, opened.manifest.rounds, opened.manifest.stage) == ("margin", 3000, "clicked")
    assert opened.manifest.parity < 1e-4
    assert opened.manifest.config == made.config
    assert loaded.name == "vw_parts_greedy"
    assert {name: fee.tolist() for name, fee in loaded.tables.fees.items()} == {
        name: fee.tolist() for name, fee in policy.tables.fees.items()
    }


def test_the_manifest_says_what_was_chosen(made: PartsLearner, folder: Path) -> None:
    said = json.loads((folder / "manifest.json").read_text())["parts"]
    assert said == json.loads(msgspec.json.encode(made.state.summary()))
    assert said["stage"] == "clicked"
    assert set(said["parts"]) == {"chance", "organic", "worth", "unsubscribed"}
    own = {"rows", "mean", "interactions", "ridge", "smooth", "held_out_gain", "memory", "memory_gain"}
    assert own == set(said["parts"]["chance"])
    assert len(said["discount_charge_usd"]) == 3
    assert len(said["prices_usd"]["unsubscribed"]) == 2


def test_the_same_log_gives_the_same_folder(folder: Path, tmp_path: Path) -> None:
    learnt(log(3000)).export(tmp_path / "again", source={"log": "a.parquet"})
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])])
@pytest.mark.parametrize("name", ["chance.npz", "worth.vw", "money.npz", "loss_unsubscribed.npz", "manifest.json"])
def test_a_damaged_folder_is_refused(name: str, damage: object, folder: Path) -> None:
    damage(folder / name)  # type: ignore[operator]
    with pytest.raises(ArtefactError):
        TrainedFolder(folder).policy()


@pytest.mark.parametrize("lost", ["money", "loss_unsubscribed"])
def test_a_manifest_that_lacks_a_table_is_refused(lost: str, made: PartsLearner, folder: Path, tmp_path: Path) -> None:
    manifest = TrainedFolder(folder).manifest
    assert isinstance(manifest, PartsManifest)
    fewer = msgspec.structs.replace(manifest, tables=tuple(name for name in manifest.tables if name != lost))

    def write(part: Path) -> None:
        for name, tables in made.policy().tables.stored().items():
            tables.save(part / f"{name}.npz")

    fewer.publish(tmp_path / "fewer", write, None)
    with pytest.raises(ArtefactError, match="lacks tables"):
        TrainedFolder(tmp_path / "fewer").policy()


def test_a_folder_of_parts_does_not_go_on(folder: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot go on") as failed:
        TrainedFolder(folder).learner()
    assert "--log once for each" in failed.value.hint


def test_response_models_lie_beside_it(made: PartsLearner, tmp_path: Path) -> None:
    batch = log(2000)
    model = VwResponseModel(catalog(), SCHEMA, "clicked", (0.0, 1.0), VwConfig(bit_precision=16))
    model.fit([batch])
    made.export(tmp_path / "policy", responses=[model.response("respond")], rows=TrainingRows.of([batch]))
    opened = TrainedFolder(tmp_path / "policy")
    shown = context(20, 4)
    assert set(opened.responses()) == {"respond"}
    chances = opened.responses()["respond"].predict(shown)
    np.testing.assert_array_equal(chances, model.response("respond").predict(shown))
    rows = opened.training_rows()
    assert rows is not None
    assert len(rows) == 2000


def test_a_copy_is_the_same_policy_of_no_log(made: PartsLearner, tmp_path: Path) -> None:
    batch = log(500)
    made.export(tmp_path / "policy", source={"through": 3}, rows=TrainingRows.of([batch]))
    first = TrainedFolder(tmp_path / "policy")
    first.copied(tmp_path / "copy")
    other = TrainedFolder(tmp_path / "copy")
    shown = context(20, 4)
    assert (other.source, first.source) == ({}, {"through": 3})
    assert other.scored().scores(shown).tobytes() == first.scored().scores(shown).tobytes()
    assert (other.training_rows().keys == first.training_rows().keys).all()  # type: ignore[union-attr]


def test_tables_that_are_not_vowpal_wabbits_are_not_exported(
    made: PartsLearner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = TrainedFolder(folder).version
    monkeypatch.setattr(learning, "PARITY_LIMIT", 1e-15)
    with pytest.raises(ArtefactError, match="differ from Vowpal Wabbit's"):
        made.export(folder)
    assert TrainedFolder(folder).version == before


def test_nothing_learnt_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(LearnError, match="call learn first"):
        learner().export(tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
