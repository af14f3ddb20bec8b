"""The wall: the only module that imports Vowpal Wabbit. It trains from a file, predicts, and reads weights out.

VW is not thread-safe and holds the GIL: one workspace at a time per process. Every workspace is finished in a finally;
an unfinished one leaks, and an unfinished training run never writes its model.
"""

from __future__ import annotations

import contextlib
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import vowpalwabbit
from vowpalwabbit import pyvw

from engine.durable import sync
from engine.errors import ArtefactError, LearnError
from engine.types import FloatArray

VERSION: str = vowpalwabbit.__version__
CONSTANT_HASH = 11650396
# VW's own multiplier in the hash of an interaction (FNV prime), see interactions_predict.h.
_FNV = 16777619


def train(arguments: str, data: Path, model_out: Path, model_in: Path | None = None, passes: int = 1) -> None:
    """Run VW over a text file; the model appears whole under `model_out` or not at all.

    Args:
        arguments: learning arguments; of a continued model only those that it does not keep.
        data: VW text.
        model_out: its folder must exist.
        model_in: continue from this model.
        passes: passes over the data, through VW's binary cache.

    Raises:
        LearnError: VW refused the arguments or the data, or wrote no model.
    """
    if not model_out.parent.is_dir():
        # VW itself would train, write nothing and say nothing.
        raise LearnError(f"{model_out.parent} is no folder, the model cannot be saved there", hint="make it first")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{model_out.name}.", dir=model_out.parent) as folder:
            part = Path(folder) / model_out.name
            start = ["-i", str(model_in)] if model_in else []
            if passes > 1:
                # Without --holdout_off every tenth row would be kept from learning.
                start += ["--passes", str(passes), "--cache_file", f"{part}.cache", "-k", "--holdout_off"]
            _run([*start, *arguments.split(), "-d", str(data), "-f", str(part), "--no_stdin"])
            if not part.is_file() or part.stat().st_size == 0:
                raise LearnError(f"Vowpal Wabbit wrote no model for {arguments!r}", hint="is the disk full?")
            sync(part)
            part.replace(model_out)
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
            position: of the policy among the interleaved ones.
        """
        index = hashes[0] * self._stride
        for other in hashes[1:]:
            index = (_FNV * index) ^ (other * self._stride)
        return float(self._workspace.get_weight((index + position) & self._mask))


@contextlib.contextmanager
def load(model: Path, *, bits: int, width: int = 1, batch: bool = False) -> Iterator[Model]:
    """Load a model for predictions.

    Args:
        width: weight vectors that VW interleaves.
        batch: the model was trained by bfgs.

    Raises:
        ArtefactError: no file there, or VW cannot read it. VW loads many damaged files without a word: compare the
            hash first (`engine.artefact`).
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
