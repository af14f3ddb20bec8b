"""The records: one schema for decisions, outcomes and logs, the same words as in code (docs/schema.md is made from it).

A log is a table of decisions; once outcomes are joined it also has `reward_NAME` columns. What is true of the whole
file (catalog, features, metrics, how propensities were obtained) stands in the file's footer as `LogMeta`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.errors import LogFormatError, ParameterError, reason_of
from engine.features import FeatureSchema
from engine.types import IntArray, ObjectArray

SCHEMA_VERSION: Final = 1
FOOTER_KEY: Final = b"tactful"
MARK_KEY: Final = b"tactful_state"
SETTINGS_KEY: Final = b"tactful_settings"
CONTEXT: Final = "context_"
STATE: Final = "state_"
REWARD: Final = "reward_"
RAW: Final = "raw_"

INSTANT: Final = pa.timestamp("us", tz="UTC")
LABEL: Final = pa.dictionary(pa.int32(), pa.string())

DECIDED, DISPATCHED, DELIVERED, FAILED, SUPPRESSED = STATES = (
    "decided",
    "dispatched",
    "delivered",
    "failed",
    "suppressed",
)
TREATMENT, CONTROL, UNIFORM_SLICE = GROUPS = ("treatment", "control", "uniform")

# (name, type, nullable, meaning): the columns of every decision, in file order.
DECISION_COLUMNS: Final[tuple[tuple[str, pa.DataType, bool, str], ...]] = (
    ("decision_id", pa.string(), False, "unique in the log; the key of outcomes and of the sampling"),
    ("contact_id", pa.string(), False, "keyed hash of the contact's id, 32 hex digits"),
    ("cluster", pa.uint64(), True, "keyed hash of the unit within which decisions depend; null: each row on its own"),
    ("decided_at", INSTANT, True, "when the decision was taken; null only in logs of others that do not say"),
    ("use_case", LABEL, False, "the use case, or the mapping's name in logs of others"),
    ("group", LABEL, False, "treatment, control (held out for good) or uniform (the uniform slice)"),
    ("channel", LABEL, True, "channel of the chosen action; null for hold"),
    ("send_hour", LABEL, True, "hour slot of the chosen action; null for hold"),
    ("arm", LABEL, True, "content arm of the chosen action; null for hold"),
    ("action_name", LABEL, False, "name of the chosen action in the catalog"),
    ("action", pa.int32(), False, "index of the chosen action in the catalog; 0 is hold"),
    (
        "propensity",
        pa.float64(),
        True,
        "probability with which the action was drawn, in (0, 1]; 1 in control; null: absent",
    ),
    (
        "eligible",
        pa.binary(),
        False,
        "k bits, little-endian: action a is bit a % 8 of byte a // 8; of a modular catalog factors, see below",
    ),
    ("available", pa.bool_(), False, "false where nothing was drawn, as in control (not for learning and evaluation)"),
    ("state", LABEL, False, "decided, dispatched, delivered, failed or suppressed; hold counts as dispatched"),
    ("send_at", INSTANT, True, "planned instant of the send; null for hold and in logs of others"),
    ("policy_version", LABEL, True, "version of the policy that gave the distribution"),
    ("catalog_version", LABEL, False, "version of the catalog"),
    ("pack_version", LABEL, True, "version of the guardrail pack"),
    ("schema_version", LABEL, False, "version of the feature schema"),
    ("seed", pa.int64(), True, "seed of the sampling"),
    ("rule_inputs", pa.binary(), True, "JSON of what the guardrail rules read of this contact, for replay"),
)

OUTCOME_COLUMNS: Final[tuple[tuple[str, pa.DataType, bool, str], ...]] = (
    ("decision_id", pa.string(), False, "the decision that the outcome is credited to"),
    ("event", LABEL, False, "what happened: delivered, bounced, opened, clicked, purchased, unsubscribed ..."),
    ("at", INSTANT, False, "when it happened"),
    (
        "value_usd",
        pa.float64(),
        True,
        "money, where the event has any; what is lost (a refund, a cost) lies below zero",
    ),
)


class RewardSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A metric of the log.

    Attributes:
        low / high: declared range, inclusive; the cost range of learning and the bounds of intervals come from it.
        unit: "usd", "share", "log steps" ...
        description: one line for reports.
    """

    low: float
    high: float
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        for field, value in (("low", self.low), ("high", self.high)):
            if not math.isfinite(value):
                raise ParameterError(field, "a reward", allowed="finite", got=value)
        if not self.low < self.high:
            raise ParameterError("low", "a reward", allowed=f"below high = {self.high}", got=self.low)


class RejectedReason(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why an import rejected rows, and of which actions they were.

    Attributes:
        reason: why, in words.
        rows: how many were rejected for it.
        about: "reward" where the outcome itself is why; "row" where the row could not be read, so that the outcome may
            be why; else "other".
        actions: name -> (rejected for this reason, kept), of the actions that lost most rows.
        p_value: what the test gives that rejection for this reason does not depend on the action.
    """

    reason: str
    rows: int
    about: Literal["reward", "row", "other"]
    actions: dict[str, tuple[int, int]] = {}
    p_value: float = 1.0


class Rejections(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rows that an import rejected.

    Attributes:
        rows_read: how many rows the foreign log has.
        even: whether each action had one probability in all rows, so that only a fault makes rejection depend on it.
        reasons: the most frequent first.
    """

    rows_read: int
    even: bool = True
    reasons: tuple[RejectedReason, ...] = ()

    @property
    def by_outcome(self) -> int:
        """Rows whose outcome is why they were rejected."""
        return sum(one.rows for one in self.reasons if one.about == "reward")

    @property
    def unread(self) -> int:
        """Rows whose outcome may be why they were rejected."""
        return sum(one.rows for one in self.reasons if one.about == "row")

    @property
    def action_p(self) -> float:
        """The smallest p-value over the reasons, by Bonferroni."""
        return min([1.0, *(one.p_value * len(self.reasons) for one in self.reasons)])


class JoinedOutcomes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What became of the outcomes of one join; states of the dispatch (dispatched, delivered ...) are no outcomes here.

    Attributes:
        given: outcome rows, without exact repeats and states.
        without_decision: those whose decision is not in the log.
        after_now / before_decision: those later than the join's now, and those earlier than their decision.
        unread: event that no metric reads -> rows whose decision is known.
        late: rows outside the window of every metric that reads them.
        credited: rows that some metric counts.
        metrics: metric -> rows that it counts.
        without_value: metric that sums values -> of these, rows without one.
        misspelt: event that no metric reads -> event that some metric reads under nearly that name.
    """

    given: int
    without_decision: int
    after_now: int
    before_decision: int
    unread: dict[str, int]
    late: int
    credited: int
    metrics: dict[str, int]
    without_value: dict[str, int] = {}
    misspelt: dict[str, str] = {}


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The counts of each contact's own past among the context columns (docs/memory.md).

    Attributes:
        stage: metric (0 or 1) whose hits are counted.
        known_days: days after a decision from which on its stage counts.
    """

    stage: str
    known_days: float


class LogMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is true of a whole log; the JSON footer of its file.

    Attributes:
        catalog / features: the actions and the context columns of every row.
        rewards: the metrics whose `reward_NAME` columns are there.
        propensity: "logged" where each row has its own; "absent" where there is none.
        clustered: whether the `cluster` column is filled.
        source: what the log was made from.
        notes: sentences that every report must repeat ("SIMULATED by its provider").
        raw_columns: names of the `raw_NAME` columns that were carried along untouched.
        policy: folder of the policy that decided, for `explain`; "" where there is none.
        pack: the guardrail pack that was in force, as plain data; None in logs of others.
        conditions: the sender's side that its rules read, as plain data; None in logs of others.
        limits: the set-level limits that held, as plain data; absent where there were none.
        contact_key: fingerprint of the key of the contacts' pseudonyms; absent where they are simulated people.
        prices: policy version -> the prices that it decided under, as plain data; absent where there were none.
        rejections: the rows of the foreign log that were rejected; absent where none was.
        joined: what became of the outcomes of each join that made the log's rewards; absent where there was none.
        memory: what the context columns count of each contact's own past; absent where they do not.
    """

    catalog: Catalog
    features: FeatureSchema
    rewards: dict[str, RewardSpec] = {}
    propensity: Literal["logged", "absent"] = "logged"
    clustered: bool = False
    source: str = ""
    notes: tuple[str, ...] = ()
    raw_columns: tuple[str, ...] = ()
    policy: str = ""
    pack: dict[str, Any] | None = None
    conditions: dict[str, Any] | None = None
    limits: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    prices: dict[str, dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    contact_key: str | msgspec.UnsetType = msgspec.UNSET
    rejections: Rejections | msgspec.UnsetType = msgspec.UNSET
    joined: tuple[JoinedOutcomes, ...] | msgspec.UnsetType = msgspec.UNSET
    memory: Remembered | msgspec.UnsetType = msgspec.UNSET
    version: int = SCHEMA_VERSION


class _Version(msgspec.Struct):
    version: int = 0


def log_schema(meta: LogMeta) -> pa.Schema:
    """The Arrow schema of a log with this meta; raw columns are typed by whoever writes them and not in it."""
    fields = [pa.field(name, kind, nullable) for name, kind, nullable, _ in DECISION_COLUMNS]
    for spec in meta.features.features:
        kind = pa.float64() if spec.type == "numeric" else LABEL
        fields.append(pa.field(CONTEXT + spec.name, kind, True))
        fields.append(pa.field(STATE + spec.name, pa.uint8(), False))
    fields += [pa.field(REWARD + name, pa.float64(), True) for name in meta.rewards]
    return pa.schema(fields, metadata={FOOTER_KEY: msgspec.json.encode(meta)})


def outcome_schema() -> pa.Schema:
    """The Arrow schema of an outcome file."""
    return pa.schema([pa.field(name, kind, nullable) for name, kind, nullable, _ in OUTCOME_COLUMNS])


def meta_of(schema: pa.Schema, *, source: str) -> LogMeta:
    """Read the footer of a log.

    Raises:
        LogFormatError: no footer of ours, or one of a newer version.
    """
    footer = (schema.metadata or {}).get(FOOTER_KEY)
    if footer is None:
        raise LogFormatError(
            f"{source} has no Tactful footer",
            hint="make the log with `tactful import`; to add columns of your own to a log keep its "
            "Arrow metadata, or give them with `--columns FILE` keyed by decision_id",
        )
    try:
        # The version first: a newer footer may have keys that this version cannot decode.
        version = msgspec.json.decode(footer, type=_Version).version
        if version > SCHEMA_VERSION:
            raise LogFormatError(
                f"{source} has schema version {version}, this Tactful reads up to {SCHEMA_VERSION}",
                hint="upgrade Tactful",
            )
        return msgspec.json.decode(footer, type=LogMeta)
    except (msgspec.DecodeError, msgspec.ValidationError, ParameterError, RecursionError) as error:
        raise LogFormatError(
            f"{source} has a footer that cannot be read: {reason_of(error)}",
            hint="it was written by another version; import the log again",
        ) from error


LEGAL: Final[Mapping[str, tuple[str, ...]]] = {
    DECIDED: (DISPATCHED, FAILED, SUPPRESSED),
    DISPATCHED: (DELIVERED, FAILED, SUPPRESSED),
    DELIVERED: (),
    FAILED: (),
    SUPPRESSED: (),
}


def advance_states(state: ObjectArray, row: IntArray, event: ObjectArray) -> tuple[ObjectArray, int]:
    """States after the events that name a state, taken in the order given.

    A report of delivery stands for the dispatch before it: senders often report the last step only.

    Args:
        state: (n,) states before.
        row: (m,) positions in `state`, each row's events in the order of their instants.
        event: (m,) events; those that are no state are passed over.

    Returns:
        The states after, and how many events named a state that could not follow.
    """
    after = state.copy()
    illegal = 0
    for position in np.flatnonzero(np.isin(event, list(STATES))):
        before, wanted = after[row[position]], event[position]
        if wanted == before:
            continue
        if wanted in LEGAL[before] or (before == DECIDED and wanted == DELIVERED):
            after[row[position]] = wanted
        else:
            illegal += 1
    return after, illegal
