"""policies/vw/learner.py and folder.py: trained folders."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from engine.errors import ArtefactError, LearnError, StorageError
from policies.exploring.config import ExplorationConfig
from policies.trained import TrainedFolder
from policies.vw import learner as learning
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner


def learner_of(world, **config) -> VwLearner:
    exploration = ExplorationConfig(kind="softmax", inverse_temperature=4.0)
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(**config), exploration)
    learner.learn([world.rounds(400, seed=51)])
    return learner


@pytest.fixture(scope="module")
def learner(world):
    return learner_of(world)


@pytest.fixture
def folder(learner, tmp_path):
    learner.export(tmp_path / "policy", source={"log": "a.parquet"})
    return tmp_path / "policy"


def test_round_trip(world, learner, folder):
    policy, loaded = learner.policy(), TrainedFolder(folder).policy()
    context = world.context(100, seed=52)
    eligible = np.ones((100, world.catalog.k), dtype=bool)
    assert loaded.distribution(context, eligible).tobytes() == policy.distribution(context, eligible).tobytes()
    manifest = TrainedFolder(folder).manifest
    assert manifest.version == loaded.version != ""
    assert set(manifest.files) == {"model.vw", "tables.npz"}
    assert manifest.parity < 1e-5
    assert (manifest.rounds, manifest.metric, manifest.source) == (400, "y", {"log": "a.parquet"})
    assert loaded.name == "vw_mtr_softmax"


@pytest.mark.parametrize("cb_type", ["mtr", "ips"])
def test_resuming_equals_never_having_stopped(world, tmp_path, cb_type):
    straight = learner_of(world, cb_type=cb_type, learning_rate=0.3)
    straight.export(tmp_path / "policy")
    resumed = TrainedFolder(tmp_path / "policy").learner()
    more = world.rounds(300, seed=53)
    straight.learn([more])
    resumed.learn([more])
    x = straight.state.encoder.encode(world.context(50, seed=54))
    np.testing.assert_array_equal(resumed.tables().scores(x), straight.tables().scores(x))
    assert replace(resumed.state, model=b"") == replace(straight.state, model=b"")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(bytes(data))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("name", ["model.vw", "tables.npz", "manifest.json"])
@pytest.mark.parametrize("read", [TrainedFolder.policy, TrainedFolder.learner])
def test_damage_is_found_before_use(folder, name, damage, read):
    damage(folder / name)
    with pytest.raises(ArtefactError) as caught:
        read(TrainedFolder(folder))
    assert caught.value.hint


def test_failing_parity_writes_nothing(learner, folder, monkeypatch):
    before = TrainedFolder(folder).manifest.version
    monkeypatch.setattr(learning, "PARITY_LIMIT", 0.0)
    with pytest.raises(ArtefactError, match="differ from Vowpal Wabbit"):
        learner.export(folder)
    assert TrainedFolder(folder).manifest.version == before


def test_replaced_whole(world, learner, folder):
    other = learner_of(world, learning_rate=0.7)
    version = other.export(folder).version
    assert TrainedFolder(folder).manifest.version == version
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]


def test_refusals(world, learner, tmp_path):
    with pytest.raises(StorageError, match="no folder"):
        learner.export(tmp_path / "none" / "policy")
    with pytest.raises(LearnError):
        VwLearner(world.catalog, world.schema, "y", (0.0, 1.0)).export(tmp_path / "policy")
    with pytest.raises(ArtefactError):
        TrainedFolder(tmp_path / "policy").policy()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"format": 99}, {"rounds": "many"}, {"encoder": {}}])
def test_a_well_signed_but_useless_manifest(folder, change):
    from engine.storage.artefact import _digest

    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **change}
    del content["version"]
    path.write_text(json.dumps({**content, "version": _digest(content)}))
    with pytest.raises(ArtefactError):
        TrainedFolder(folder).policy()


def test_loading_never_imports_vowpal_wabbit(folder, root):
    code = (
        "import sys; from policies.trained import TrainedFolder; "
        f"TrainedFolder({str(folder)!r}).policy(); print('vowpalwabbit' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("off", ["", "1"])
def test_numba_can_be_switched_off(root, off):
    code = (
        "from policies.vw.scoring import kernels; import importlib.util as u; "
        "print(kernels.AVAILABLE, bool(u.find_spec('numba')))"
    )
    environment = {"TACTFUL_NO_NUMBA": off, "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    available, installed = done.stdout.split()
    assert available == ("False" if off else installed)
