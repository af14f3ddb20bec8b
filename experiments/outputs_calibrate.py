"""What `tactful calibrate` prints with `--json`."""

from __future__ import annotations

from experiments.outputs_base import Output


class MomentRow(Output, frozen=True, kw_only=True):
    """One figure: published, and in the simulated world.

    Attributes:
        claimed: whether the scenario says that it meets the figure.
        met: whether the difference is within the tolerance.
    """

    id: str
    published: float
    simulated: float
    difference: float
    tolerance: float
    met: bool
    claimed: bool
    unit: str
    source: str


class CalibratedGroup(Output, frozen=True, kw_only=True):
    """One group that was fitted or checked.

    Attributes:
        numbers: dotted name -> fitted number; empty for a check.
        data: the data set that its goals come from; null where they are published, or stored with the shipped numbers.
    """

    scenario: str
    contacts: int
    moments: tuple[MomentRow, ...]
    numbers: dict[str, float]
    data: str | None


class CalibrateOutput(Output, frozen=True, kw_only=True):
    """`tactful calibrate --json`.

    Attributes:
        checked: whether the shipped numbers were measured, and nothing was fitted.
        groups: group -> its table.
        missed: claimed figures that are not met.
        skipped: group -> why it was left out.
        files: what was written, by name.
    """

    checked: bool
    seed: int
    groups: dict[str, CalibratedGroup]
    missed: tuple[str, ...]
    skipped: dict[str, str]
    files: dict[str, str]


CALIBRATE_OUTPUTS: dict[str, type[Output]] = {"calibrate": CalibrateOutput}
