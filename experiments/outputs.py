"""What several commands print with `--json`: typed structs, from which `tactful schema` makes JSON schemas.

What one command alone prints stands in the module that makes it.
"""

from __future__ import annotations

import json

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every object that a command prints."""


class CommandOutput(Output, frozen=True, kw_only=True):
    """Base of what a whole command prints.

    Attributes:
        warnings: sentences about what went through without an error and yet is hardly what was meant; `show` prints
            them beside the tables.
    """

    warnings: tuple[str, ...] = ()


class MetricDifference(Output, frozen=True, kw_only=True):
    """A metric of the policy minus that of the baseline, on the same rows.

    Attributes:
        verdict: better | worse | no difference | insufficient, "better" being the good direction of the metric.
    """

    baseline: str
    value: float
    stderr: float | None
    low: float | None
    high: float | None
    verdict: str


class MetricRow(Output, frozen=True, kw_only=True):
    """One metric of one policy; every figure is null where the log cannot say, and then `missing` says why.

    Attributes:
        layer: delivery | engagement | conversion | efficiency | honesty | volume.
        label: its name for people.
        unit: "share", "usd" or "count".
        rows: number of rows of the log whose outcome is known.
        effective: what the rows of the denominator are worth: (sum w)^2 / sum w^2.
    """

    policy: str
    metric: str
    layer: str
    label: str
    unit: str
    higher_is_better: bool
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    alpha: float
    rows: int
    effective: float
    missing: str = ""
    difference: MetricDifference | None = None


class LogSummary(Output, frozen=True, kw_only=True):
    """What was evaluated.

    Attributes:
        rows: all rows of the log; `dropped` names those that no estimate uses.
        contacts: distinct contacts.
        actions: actions that the log could take (hold counts where the log could hold).
        propensity: "logged", or "absent".
        clusters: "contact" where rows of one cluster depend on each other, else "row".
        unit / description: of the metric, as the log declares them.
        hold: the catalog's name of sending nothing.
        days: from the first decision to the last; null where the log knows no instants.
        assigned: whether each contact got the same action in all of its decisions.
    """

    path: str
    rows: int
    contacts: int
    actions: int
    metric: str
    dropped: dict[str, int]
    propensity: str
    clusters: str
    notes: tuple[str, ...] = ()
    unit: str = ""
    description: str = ""
    hold: str = "hold"
    days: float | None = None
    assigned: bool = False


class KeyOutput(Output, frozen=True, kw_only=True):
    """Which contact key a command used, without the key itself.

    Attributes:
        source: "environment" or "file".
        file: path of the file; null for the environment.
        created: whether this run made the key.
        fingerprint: 16 hex digits by which two keys are told apart.
        warnings: why the key hides less than it should.
    """

    source: str
    file: str | None
    created: bool
    fingerprint: str
    warnings: tuple[str, ...] = ()


class MetricJoin(Output, frozen=True, kw_only=True):
    """Outcomes of one metric: credited and late ones; decisions with and without a reward yet."""

    credited: int
    late: int
    matured: int
    pending: int


class ErrorOutput(Output, frozen=True, kw_only=True):
    """Any command with `--json` that failed."""

    error: str
    hint: str


def json_bytes(output: Output) -> bytes:
    """The object that `--json` prints, indented, with full-precision figures."""
    try:
        return msgspec.json.format(msgspec.json.encode(output), indent=2)
    except UnicodeEncodeError:
        # Names of files may hold bytes that are no UTF-8; as escapes they stay what they are.
        return json.dumps(msgspec.to_builtins(output), indent=2).encode()
