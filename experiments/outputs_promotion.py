"""What `tactful promote --json` and `tactful rollback --json` print."""

from __future__ import annotations

from experiments.outputs_base import Output
from experiments.outputs_launch import GateOutput


class PromoteOutput(Output, frozen=True, kw_only=True):
    """`tactful promote --json`.

    Attributes:
        promoted: whether the version serves now.
        overridden: why it does although the gate refused, or ""; in the history too.
        version / previous: of the new version, and of the one that served before; null where none did.
        sequence: of the pointer now; null where nothing ever served.
        rows: of the log that the gate rests on.
        gate: its answer; null where an override let the version through without one, or where it served already.
    """

    promoted: bool
    overridden: str
    live: str
    version: str
    previous: str | None
    sequence: int | None
    metric: str
    rows: int
    gate: GateOutput | None
    notes: tuple[str, ...] = ()


class RollbackOutput(Output, frozen=True, kw_only=True):
    """`tactful rollback --json`: what serves now, and what served before."""

    live: str
    version: str
    previous: str
    sequence: int
    notes: tuple[str, ...] = ()


PROMOTION_OUTPUTS: dict[str, type[Output]] = {"promote": PromoteOutput, "rollback": RollbackOutput}
