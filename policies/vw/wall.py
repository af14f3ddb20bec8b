"""The wall: the only module that imports Vowpal Wabbit. It trains from a file, predicts, and reads weights out.

VW is not thread-safe and holds the GIL: one workspace at a time per process. Every workspace is finished in a finally;
an unfinished one leaks, and an unfinished training run never writes its model.
"""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import vowpalwabbit
from vowpalwabbit import pyvw

from engine.errors import ArtefactError, LearnError, reason_of
from engine.storage.parts import scratch_folder, sync
from engine.types import FloatArray

VERSION: str = vowpalwabbit.__version__
CONSTANT_HASH = 11650396
# VW's own multiplier in the hash of an interaction (FNV prime), see interactions_predict.h.
_FNV = 16777619
# float32 sums over some thousand actions.
_SUM_TOLERANCE: Final = 1e-3
# Bfgs walks all 2 ** bits weights in every pass. Below this much text the walk is most of its time, and a table of the
# weights that occur, a little slower at each look, saves it.
SPARSE_BYTES: Final = 2_000_000


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, removed at the end.

    Raises:
        LearnError: the folder cannot be made, or a write in it failed (full disk ...).
    """
    try:
        with scratch_folder() as folder:
            yield folder
    except OSError as error:
        raise LearnError(
            f"cannot write temporary files for training: {reason_of(error)}",
            hint="free space, or set TMPDIR to another disk",
        ) from error


def train(
    arguments: str,
    data: Path,
    model_out: Path,
    model_in: Path | None = None,
    passes: int = 1,
    *,
    durable: bool = True,
    cache: Path | None = None,
) -> None:
    """Run VW over a text file; the model appears whole under `model_out` or not at all.

    Args:
        arguments: learning arguments; of a continued model only those that it does not keep.
        data: VW text.
        model_out: its folder must exist.
        model_in: continue from this model.
        passes: passes over the data, through VW's binary cache.
        durable: return when the model is on the disk; not needed in a folder that is thrown away.
        cache: where VW's binary cache is kept for the next run over the same data; null throws it away.

    Raises:
        LearnError: VW refused the arguments or the data, or wrote no model.
    """
    if not model_out.parent.is_dir():
        # VW itself would train, write nothing and say nothing.
        raise LearnError(f"{model_out.parent} is no folder, the model cannot be saved there", hint="make it first")
    try:
        with scratch_folder(model_out) as folder:
            part = folder / model_out.name
            start = ["-i", str(model_in)] if model_in else []
            if passes > 1:
                # Without --holdout_off every tenth row would be kept from learning.
                start += ["--passes", str(passes), "--cache_file", str(cache or f"{part}.cache"), "--holdout_off"]
                start += [] if cache else ["-k"]
            if "--bfgs" in arguments and data.stat().st_size < SPARSE_BYTES:
                start.append("--sparse_weights")
            _run([*start, *arguments.split(), "-d", str(data), "-f", str(part), "--no_stdin"])
            if not part.is_file() or part.stat().st_size == 0:
                raise LearnError(f"Vowpal Wabbit wrote no model for {arguments!r}", hint="is the disk full?")
            if durable:
                sync(part)
            part.replace(model_out)
        if durable:
            sync(model_out.parent)
    except (RuntimeError, OSError) as error:
        raise LearnError(f"Vowpal Wabbit failed with {arguments!r}: {error}") from error


def _run(arguments: list[str]) -> None:
    try:
        with _workspace(arguments):
            pass
    except RuntimeError as error:
        # The error's frames keep the half-made workspace alive; collected later, it would write its model once more,
        # and make the removed folder again for it.
        traceback.clear_frames(error.__traceback__)
        raise


def merge(models: Sequence[bytes], folder: Path) -> bytes:
    """VW's merge of models that learnt apart with the same arguments, in a scratch folder.

    Raises:
        LearnError: VW refused them.
    """
    paths = [folder / f"{shard}.vw" for shard in range(len(models))]
    for path, model in zip(paths, models, strict=True):
        path.write_bytes(model)
    try:
        with contextlib.ExitStack() as stack:
            # Without the counters VW does not know how much each model has seen, and every weight comes out 0.
            keep = "--preserve_performance_counters"
            shards = [stack.enter_context(_workspace(["-i", str(path), keep])) for path in paths]
            whole = pyvw.merge_models(None, shards)
            stack.callback(whole.finish)
            whole.save(str(folder / "whole.vw"))
        return (folder / "whole.vw").read_bytes()
    except (RuntimeError, OSError) as error:
        raise LearnError(f"Vowpal Wabbit cannot merge the models: {error}") from error


class Model:
    """A loaded model, to predict with and to read weights from; never to learn on.

    Args:
        workspace: loaded with `-i` alone: further flags change what some explorations predict.
        width: weight vectors that VW interleaves, see `arguments.model_layout`.
        bits: log2 of the number of weights.
    """

    def __init__(self, workspace: Any, width: int, bits: int) -> None:
        self._workspace = workspace
        self._stride = width
        self._mask = (1 << bits) - 1

    def costs(self, text: str, actions: int) -> FloatArray:
        """(actions,) predicted costs (or probabilities, if the model explores) of one multi-line example.

        Raises:
            ArtefactError: VW answered for another number of actions: a name broke the text.
        """
        answer = np.asarray(self._workspace.predict(text), dtype=np.float64)
        if answer.shape != (actions,):
            raise ArtefactError(f"Vowpal Wabbit answered with shape {answer.shape} for {actions} actions")
        return answer

    def value(self, text: str) -> float:
        """Prediction of one regression example, as VW clamps it to the labels that it has seen."""
        return float(self._workspace.predict(text))

    def hash_of(self, namespace: str, feature: str) -> int:
        """Hash of a feature before masking."""
        return int(self._workspace.hash_feature(feature, self._workspace.hash_space(namespace)))

    def weight(self, *hashes: int, position: int = 0) -> float:
        """Weight of a feature (one hash) or of the interaction of two, in the order of their namespaces.

        Args:
            position: the position of the policy among the interleaved ones.
        """
        return float(self._workspace.get_weight((_index(hashes, self._stride) + position) & self._mask))


def with_weights(model: bytes, weights: Sequence[tuple[tuple[int, ...], float]], folder: Path, *, bits: int) -> bytes:
    """A model with some weights set, its steps so far kept, in a scratch folder.

    Args:
        weights: hashes, as of `Model.weight`, and the value that their weight gets.

    Raises:
        LearnError: VW cannot use the model.
    """
    old, new = folder / "before.vw", folder / "after.vw"
    old.write_bytes(model)
    try:
        with _workspace(["-i", str(old), "--preserve_performance_counters"]) as workspace:
            for hashes, value in weights:
                workspace.set_weight(_index(hashes, 1) & ((1 << bits) - 1), 0, value)
            workspace.save(str(new))
        return new.read_bytes()
    except (RuntimeError, OSError) as error:
        raise LearnError(f"Vowpal Wabbit cannot set weights: {error}") from error


def _index(hashes: Sequence[int], stride: int) -> int:
    """Index of a feature (one hash) or of the interaction of two, in the order of their namespaces, before masking."""
    index = hashes[0] * stride
    for other in hashes[1:]:
        index = (_FNV * index) ^ (other * stride)
    return index


class LiveModel:
    """A workspace that stays loaded and answers with distributions: for explorations that are no tables.

    It belongs to the process that made it: it cannot be pickled, and it refuses to answer after a fork. One thread at a
    time uses it; others wait. `close` frees it; so does the end of its life.

    Args:
        arguments: the arguments of the workspace.

    Raises:
        ArtefactError: VW refuses them, or cannot read the model that they name.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        try:
            workspace = pyvw.Workspace(arg_list=[*arguments, "--quiet"])
        except RuntimeError as error:
            traceback.clear_frames(error.__traceback__)
            raise ArtefactError(f"Vowpal Wabbit cannot use the model: {error}", hint="train again") from error
        self._workspace = workspace
        self._process = os.getpid()
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, workspace.finish)

    @classmethod
    def from_bytes(cls, model: bytes) -> LiveModel:
        """Load a saved model.

        Raises:
            ArtefactError: VW cannot read it.
        """
        with scratch_folder() as folder:
            path = folder / "model.vw"
            path.write_bytes(model)
            # With -i alone: -t changes the distribution of rnd and large_action_space.
            return cls(["-i", str(path)])

    def __reduce__(self) -> NoReturn:
        raise ArtefactError(
            "a live Vowpal Wabbit model cannot be pickled or copied", hint="load it in each process from its folder"
        )

    def probabilities(self, text: str, actions: int) -> FloatArray:
        """(actions,) distribution of one multi-line example, normalised in float64.

        Raises:
            ArtefactError: another process, a closed model, or an answer that is no distribution over that many actions.
        """
        return _normalised(self._answer(text), actions)

    def slot_probabilities(self, text: str, actions: int, slots: int) -> FloatArray:
        """(slots, actions) distribution of every slot of a conditional example, 0 for what a slot does not offer.

        Raises:
            ArtefactError: as for `probabilities`.
        """
        answer = self._answer(text)
        if len(answer) != slots:
            raise ArtefactError(f"Vowpal Wabbit answered for {len(answer)} slots, asked were {slots}")
        out = np.zeros((slots, actions))
        for slot, pairs in enumerate(answer):
            for action, probability in pairs:
                out[slot, action] = probability
        return np.stack([_normalised(row, actions) for row in out])

    def _answer(self, text: str) -> Any:
        if os.getpid() != self._process or not self.close.alive:
            raise ArtefactError(
                "this live Vowpal Wabbit model is closed, or belongs to another process",
                hint="load it in each process from its folder",
            )
        with self._lock:
            return self._workspace.predict(text)


class OnlineModel(LiveModel):
    """A live workspace that also learns, example by example; studies compare with it, serving never does."""

    def learn(self, text: str) -> None:
        """Learn from one labelled multi-line example."""
        with self._lock:
            self._workspace.learn(text)


@contextlib.contextmanager
def online(arguments: str) -> Iterator[OnlineModel]:
    """A new model of VW's own, to ask and to teach in turns.

    Raises:
        ArtefactError: VW refuses the arguments.
    """
    model = OnlineModel(arguments.split())
    try:
        yield model
    finally:
        model.close()


def _normalised(answer: Any, actions: int) -> FloatArray:
    found = np.asarray(answer, dtype=np.float64)
    if found.shape != (actions,) or not (found >= 0.0).all() or not abs(found.sum() - 1.0) <= _SUM_TOLERANCE:
        raise ArtefactError(
            f"Vowpal Wabbit's answer is no distribution over {actions} actions: {answer!r}",
            hint="an unsupported exploration, or a diverged model: lower learning_rate",
        )
    # One sum from left to right: the same bytes wherever the row stands.
    return np.asarray(found / np.cumsum(found)[-1])


@contextlib.contextmanager
def load(model: Path, *, bits: int, width: int = 1, batch: bool = False) -> Iterator[Model]:
    """Load a model for predictions.

    Args:
        width: weight vectors that VW interleaves.
        batch: the model was trained by bfgs.

    Raises:
        ArtefactError: no file there, or VW cannot read it. VW loads many damaged files without a word: compare the
            hash first (`engine.storage.artefact`).
    """
    if not model.is_file():
        raise ArtefactError(f"{model} does not exist", hint="train first")
    try:
        with _workspace(["-i", str(model), *(["-t", "--predict_only_model"] if batch else [])]) as workspace:
            yield Model(workspace, width, bits)
    except RuntimeError as error:
        raise ArtefactError(f"Vowpal Wabbit cannot use {model}: {error}", hint="train again") from error


@contextlib.contextmanager
def _workspace(arguments: list[str]) -> Iterator[Any]:
    # A list: VW splits one string at every space, also inside a path.
    workspace = pyvw.Workspace(arg_list=[*arguments, "--quiet"])
    try:
        yield workspace
    finally:
        workspace.finish()
