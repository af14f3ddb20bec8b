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
        provider_codes: what providers' codes mean (suppress, count, pause) -> rows.
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
    """

    released: int
    quota_grants: int
    unsettled: tuple[str, ...]
    now: str


STATE_OUTPUTS: dict[str, type[Output]] = {
    "state-record": StateRecordOutput,
    "state-expire": StateExpireOutput,
    "error": OUTPUTS["error"],
}
