"""Scratch folders for what Vowpal Wabbit reads and writes; a failing disk is a failed learn, nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from engine.errors import LearnError
from engine.storage.parts import scratch_folder


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
            f"cannot write temporary files for training: {error}", hint="free space, or set TMPDIR to another disk"
        ) from error
