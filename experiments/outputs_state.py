"""What the commands of `tactful state` print with `--json`: one object each, as typed structs."""

from __future__ import annotations

from experiments.outputs import OUTPUTS, KeyOutput
from experiments.outputs_base import Output


class StateRecordOutput(Output, frozen=True, kw_only=True):
    """`tactful state record --json`.

    Attributes:
        facts: the file.
        rows: facts in it; of them `new` changed the store and `known` were there already, or older than what was.
        kinds: kind of fact -> rows.
        contact_key: the key under which the contacts are stored.
    """

    facts: str
    rows: int
    new: int
    known: int
    kinds: dict[str, int]
    contact_key: KeyOutput | None = None


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
