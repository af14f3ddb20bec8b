"""Response models: how likely a contact answers a message, or unsubscribes, kept beside a trained policy (R23).

Each is a logistic regression of a yes-or-no metric on context and action (`policies.vw.reward_model`), compiled to
tables of log odds. They explain and warn; no policy here chooses by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from scipy.special import expit

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.types import FloatArray
from policies.vw.scoring.tables import ScoreTables

Role = Literal["respond", "unsub"]
ROLES: Final[tuple[Role, ...]] = ("respond", "unsub")
# What a metric of one of these names means; any other needs its role said: `respond=NAME`.
KNOWN: Final[dict[Role, tuple[str, ...]]] = {
    "respond": (
        *("respond", "responded", "response", "click", "clicks", "clicked", "visit", "visited", "conversion"),
        *("converted", "order", "ordered", "purchase", "purchased"),
    ),
    "unsub": ("unsubscribe", "unsubscribes", "unsubscribed", "unsub", "opt_out", "opted_out"),
}


class Asked(msgspec.Struct, frozen=True):
    """A metric that is to be modelled, and what it means."""

    role: Role
    metric: str


class ResponseNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the manifest of a trained folder says of one response model.

    Attributes:
        role: "respond" or "unsub".
        metric: the metric of the log that it was fitted on.
        encoder: the encoder of the context.
        rounds: the rounds that it was fitted on.
    """

    role: Role
    metric: str
    encoder: Encoder
    rounds: int

    @property
    def file(self) -> str:
        """Name of its tables in the folder."""
        return f"p_{self.role}.npz"


@dataclass(frozen=True)
class ResponseModel:
    """A response model, as fitted or as loaded."""

    note: ResponseNote
    tables: ScoreTables

    def predict(self, context: ContextBatch) -> FloatArray:
        """(n, k) probabilities of the response to every action, eligible or not.

        Raises:
            DataError: the context has another schema.
        """
        odds: FloatArray = expit(self.tables.scores(self.note.encoder.encode(context)))
        return odds


def asked_for(text: str) -> tuple[Asked, ...]:
    """Read `click,unsubscribe` or `respond=visit,unsub=left`.

    Raises:
        ParameterError: a name whose meaning is not known, or two for the same.
    """
    found = [_asked(item.strip()) for item in text.split(",") if item.strip()]
    if len({one.role for one in found}) != len(found):
        raise ParameterError(
            "also", "train", allowed="one metric for respond and one for unsub", got=text, hint="drop all but one"
        )
    return tuple(found)


def _asked(item: str) -> Asked:
    role, equals, metric = item.partition("=")
    if equals:
        for known in ROLES:
            if role == known and metric:
                return Asked(known, metric)
    else:
        for known, names in KNOWN.items():
            if item in names:
                return Asked(known, item)
    raise ParameterError(
        "also",
        "train",
        allowed="metrics that say a response or an unsubscribe",
        got=item,
        hint="say what it means: respond=NAME or unsub=NAME",
    )


def load_responses(folder: Path, notes: Sequence[ResponseNote], catalog: Catalog) -> dict[Role, ResponseModel]:
    """The response models of a folder whose hashes have been verified.

    Raises:
        ArtefactError: tables that do not fit.
    """
    return {
        note.role: ResponseModel(note, ScoreTables.load(folder / note.file, catalog, note.encoder.d)) for note in notes
    }


def notes_of(models: Iterable[ResponseModel]) -> tuple[ResponseNote, ...]:
    """Collect the notes of some models for a manifest, in the order of their roles."""
    return tuple(sorted((model.note for model in models), key=lambda note: note.role))
