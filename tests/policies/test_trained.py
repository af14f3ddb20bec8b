"""policies/trained.py: folders of every kind are written, read, served and learnt on alike."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from engine.errors import ArtefactError, LearnError, ParameterError
from engine.log.training_rows import TrainingRows
from engine.storage.artefact import publish
from policies.check import check_policy
from policies.linear.bandits import SUMS, LinearManifest
from policies.peers.constant import UniformPolicy
from policies.registry import Setting, learner
from policies.trained import TrainedFolder, export_learner
from policies.vw.arguments import LiveConfig, VwConfig
from policies.vw.learner import VwLearner

COMPILED, LIVE = VwConfig(), VwConfig(live=LiveConfig(kind="regcb"))
KINDS = {"vw": ("vw", COMPILED), "live": ("vw", LIVE), "linucb": ("linucb", COMPILED), "lin_ts": ("lin_ts", COMPILED)}


@pytest.fixture(scope="module")
def folders(make_world, tmp_path_factory):
    """Name -> (a learner after one block, its folder), the world, the block that comes next."""
    small = make_world(1, 2, 2)
    root = tmp_path_factory.mktemp("trained")
    found = {}
    for name, (policy, config) in KINDS.items():
        setting = Setting(small.catalog, small.schema, "y", (0.0, 1.0), learner=config)
        one = learner(policy, setting)
        one.learn([small.rounds(200, seed=81)])
        export_learner(one, root / name, {"through": 3})
        found[name] = one, root / name
    return small, found, small.rounds(150, seed=82)


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_serves_and_learns_on(name, folders, tmp_path):
    small, found, more = folders
    one, path = found[name]
    said = TrainedFolder(path).manifest
    assert (said.catalog, said.features, said.metric, said.reward_range, said.rounds) == (
        *(small.catalog, small.schema, "y", (0.0, 1.0)),
        200,
    )
    assert said.source == {"through": 3}
    served = TrainedFolder(path).policy()
    assert served.name == said.name
    check_policy(served, small.catalog, small.schema)
    context, eligible = small.context(20, seed=83), np.ones((20, small.catalog.k), dtype=bool)
    np.testing.assert_array_equal(served.distribution(context, eligible), one.policy().distribution(context, eligible))
    moved = pickle.loads(pickle.dumps(served))
    np.testing.assert_array_equal(moved.distribution(context, eligible), served.distribution(context, eligible))
    going = TrainedFolder(path).learner()
    going.learn([more])
    one.learn([more])
    np.testing.assert_allclose(
        going.policy().distribution(context, eligible), one.policy().distribution(context, eligible), atol=1e-12
    )
    assert export_learner(going, tmp_path / "next").version != said.version


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_folder_is_refused(name, folders, tmp_path):
    setting = Setting(folders[0].catalog, folders[0].schema, "y", (0.0, 1.0), learner=KINDS[name][1])
    one = learner(KINDS[name][0], setting)
    with pytest.raises(LearnError, match="nothing has been learnt"):
        export_learner(one, tmp_path / "none")
    one.learn([folders[2]])
    export_learner(one, tmp_path / "policy")
    file = next(path for path in (tmp_path / "policy").iterdir() if path.name != "manifest.json")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match="truncated"):
        TrainedFolder(tmp_path / "policy")


def test_only_compiled_folders_serve_everywhere(folders):
    assert TrainedFolder(folders[1]["vw"][1]).compiled().name == "vw_mtr_squarecb"
    for name in ("live", "linucb"):
        with pytest.raises(ArtefactError, match="not compiled"):
            TrainedFolder(folders[1][name][1]).compiled()
        with pytest.raises(ArtefactError, match="expected a 'tactful-vw-policy'"):
            TrainedFolder(folders[1][name][1]).scored()


def test_what_has_no_folder(tmp_path):
    with pytest.raises(ArtefactError, match="UniformPolicy"):
        export_learner(UniformPolicy(), tmp_path / "none")
    with pytest.raises(ArtefactError, match="no trained folder"):
        TrainedFolder(tmp_path / "none")
    (tmp_path / "manifest.json").write_text(json.dumps([1]))
    with pytest.raises(ArtefactError, match="no manifest"):
        TrainedFolder(tmp_path)


def test_a_folder_names_the_rows_behind_it_or_none(folders, tmp_path):
    one, path = folders[1]["linucb"]
    assert TrainedFolder(path).training_rows() is None
    export_learner(one, tmp_path / "kept", rows=TrainingRows.of([folders[2]]))
    assert TrainedFolder(tmp_path / "kept").training_rows().shared([folders[2]]) == 150


def test_sums_of_another_size_are_refused(folders, tmp_path):
    manifest = json.loads((folders[1]["linucb"][1] / "manifest.json").read_text())

    def write(part):
        for name in SUMS:
            np.save(part / f"{name}.npy", np.zeros((2, 2)))

    publish(tmp_path / "other", LinearManifest.KIND, manifest, write)
    with pytest.raises(ArtefactError, match="another size"):
        TrainedFolder(tmp_path / "other").learner()


@pytest.mark.parametrize(
    ("change", "said"), [({"format": 2}, "format 2"), ({"policy": "lin"}, "cannot be used"), ({"width": "w"}, "cannot")]
)
def test_a_foreign_manifest_is_refused(change, said, folders, tmp_path):
    manifest = json.loads((folders[1]["linucb"][1] / "manifest.json").read_text()) | change
    publish(tmp_path / "other", LinearManifest.KIND, manifest, lambda part: None)
    with pytest.raises(ArtefactError, match=said):
        TrainedFolder(tmp_path / "other")


def test_live_stands_alone(folders):
    with pytest.raises(ParameterError, match="live"):
        VwConfig(cb_type="dr", live=LiveConfig())
    with pytest.raises(ParameterError, match="live"):
        VwLearner(folders[0].catalog, folders[0].schema, "y", (0.0, 1.0), LIVE)
