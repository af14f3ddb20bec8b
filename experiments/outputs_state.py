"""What the commands of `tactful state` print with `--json`: one object each, as typed structs."""

from __future__ import annotations

from experiments.outputs import OUTPUTS, KeyOutput
from experiments.outputs_base import CommandOutput, Output


class StateRecordOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful state record --json`.

    Attributes:
        facts: the file.
        rows: of it. A reply or a provider's code may be several facts, or none.
        new: facts that changed the store.
        known: facts that were there already, or older than what was.
        kinds: kind of fact -> rows.
        contact_key: the key under which the contacts are stored.
        replies: what raw replies were read as (stop, doubt, start, help, none) -> rows.
        provider_codes: what providers' codes mean (suppress, count, pause, doubt) -> rows.
        unusual_channels: channel that is none of the usual ones -> facts that name it; where a catalog does not know it
            either, their refusals and stops close every channel.
    """

    facts: str
    rows: int
    new: int
    known: int
    kinds: dict[str, int]
    contact_key: KeyOutput | None = None
    replies: dict[str, int] = {}
    provider_codes: dict[str, int] = {}
    unusual_channels: dict[str, int] = {}


class StateExpireOutput(Output, frozen=True, kw_only=True):
    """`tactful state expire --json`.

    Attributes:
        released: reservations whose lease was over.
        quota_grants: grants of set-level limits whose lease was over.
        unsettled: decisions that were handed to the provider and never settled; they count until somebody settles them.
        forgotten: records of decisions that were taken more than 30 days before, removed.
    """

    released: int
    quota_grants: int
    unsettled: tuple[str, ...]
    now: str
    forgotten: int = 0


class UnsettledSend(Output, frozen=True, kw_only=True):
    """A send that some run took and nobody has settled: `contact_id` is a pseudonym, `taken_at` ISO 8601 in UTC."""

    decision_id: str
    contact_id: str
    channel: str
    taken_at: str


class StateUnsettledOutput(Output, frozen=True, kw_only=True):
    """`tactful state unsettled --json`.

    Attributes:
        unsettled: sends of which nobody has said whether they went out; those of a run that is at work are among them.
    """

    unsettled: tuple[UnsettledSend, ...]


class StateSettleOutput(Output, frozen=True, kw_only=True):
    """`tactful state settle --json`.

    Attributes:
        settled: sends that changed; `known` had ended so already.
        dispatched / failed: of those given, what was said of them.
        unsettled: sends of the store that are still open.
    """

    settled: int
    known: int
    dispatched: int
    failed: int
    unsettled: int
    now: str


class StateRebuildOutput(Output, frozen=True, kw_only=True):
    """`tactful state rebuild --json`.

    Attributes:
        decisions: records of decisions that the store did not have.
        sends: state -> sends that were added or changed: reserved, dispatching (due, and no outcome says whether they
            left: settle them), dispatched, failed, released.
        limits: set-level limits whose use was put back.
        unsettled: sends of the store that are open now.
        sequence: number of the store's last change.
        said: what cannot be rebuilt, in sentences.
    """

    decisions: int
    sends: dict[str, int]
    limits: tuple[str, ...]
    unsettled: int
    sequence: int
    said: tuple[str, ...]


STATE_OUTPUTS: dict[str, type[Output]] = {
    "state-record": StateRecordOutput,
    "state-expire": StateExpireOutput,
    "state-unsettled": StateUnsettledOutput,
    "state-settle": StateSettleOutput,
    "state-rebuild": StateRebuildOutput,
    "error": OUTPUTS["error"],
}
