"""The policy of a live folder, loaded in whatever process asks it: so it can be handed to workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engine.features import ContextBlock
from engine.types import BoolArray, FloatArray
from policies.vw.live import LivePolicy
from policies.vw.live_learner import load_live, read_live


class LiveFolderPolicy:
    """Serves a live folder (`engine.protocols.Policy`); each process loads its own workspace when first asked.

    Args:
        folder: a live folder; it must stay there until every process has been asked once.

    Raises:
        ArtefactError: the folder is missing, damaged or foreign.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_live(folder)
        self.name, self.version = manifest.name, manifest.version
        self.catalog = manifest.catalog
        self._folder = Path(folder)
        self._served: tuple[int, LivePolicy] | None = None

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities, VW's own.

        Raises:
            ArtefactError: the folder is no longer as it was.
            EligibilityError, ParameterError, DataError: see `policies.vw.live.LivePolicy`.
        """
        here = os.getpid()
        if self._served is None or self._served[0] != here:
            self._served = here, load_live(self._folder).policy()
        return self._served[1].distribution(context, eligible)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_served": None}
