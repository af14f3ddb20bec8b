"""Tables of results, prices and volumes for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from experiments.outputs import MetricRow
from experiments.report.words import LAYERS, amount, between, figure_text, interval_text, percent

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate
    from engine.ope.metrics.gate import Gate
    from engine.ope.quantiles import Quantile
    from engine.ope.uplift.policies import Uplift
    from experiments.judge.launch.volume import VolumeRow
    from experiments.judge.planning.decisions import PlanOutput
    from experiments.judge.planning.learning import LearnOutput
    from experiments.judge.volume_curve import VolumeCurve
    from experiments.serve.prices import PricesOutput

_STYLES = {"better": "green", "worse": "red", "insufficient": "dim italic", "no difference": ""}


def results_table(rows: Sequence[Estimate], title: str) -> Table:
    """Values and differences with their intervals; rows of too little support are dimmed and show no figure."""
    table = Table(title=title)
    for name in ("policy", "estimator", "value", "difference", "ESS", "verdict"):
        table.add_column(name, justify="right" if name == "ESS" else "left", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row), style=_STYLES.get(row.verdict, ""))
    return table


def _cells(row: Estimate) -> list[str]:
    estimator = row.estimator if row.exact else f"{row.estimator} (not exact)"
    ess = figure_text(row.ess, 6)
    if row.verdict == "insufficient":
        return [row.policy, estimator, "-", "-", ess, row.verdict]
    difference = "n/a"
    if row.difference is not None:
        difference = _with_interval(row.difference.value, row.difference.low, row.difference.high)
    return [row.policy, estimator, _with_interval(row.value, row.low, row.high), difference, ess, row.verdict]


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return f"{figure_text(value)} ({interval_text(low, high)})"


def plan_table(output: PlanOutput) -> Table:
    """Decisions by exploration."""
    table = Table(title=f"decisions to see a difference of {figure_text(output.difference)}")
    for name in ("exploration", "decisions", "for the power", "for the support", "effective share", "largest weight"):
        table.add_column(name, justify="right", overflow="fold")
    for row in output.plan:
        counts = ["n/a" if count is None else f"{count:,}" for count in (row.decisions, row.for_power, row.for_support)]
        table.add_row(
            f"{100 * row.exploration:g} %", *counts, figure_text(row.effective_share), figure_text(row.largest_weight)
        )
    return table


def learning_table(output: LearnOutput) -> Table:
    """What each exploration brings and costs."""
    from experiments.report.plan_learn import cost_text

    table = Table(title=f"exploring to learn {output.metric}, {output.per_week:,.0f} decisions a week")
    for name in ("exploration", "80 % by week", "share at the end", "cost per 100,000", "smallest propensity",
                 "effective rows next month", "next log answers on"):  # fmt: skip
        table.add_column(name, justify="right", overflow="fold")
    for row in output.explorations:
        mark = " *" if row.exploration == output.recommended else ""
        table.add_row(
            f"{100 * row.exploration:g} %{mark}",
            "not in time" if row.by_week is None else str(row.by_week),
            percent(row.share),
            cost_text(row, output.unit),
            figure_text(row.smallest_propensity),
            f"{row.next_month_ess:,.0f}",
            ", ".join(row.answers) or "nothing",
        )
    return table


def metrics_table(rows: Sequence[MetricRow], title: str) -> Table:
    """The stack of metrics, one line a metric, one column a policy; "n/a" where the log cannot say."""
    policies = list(dict.fromkeys(row.policy for row in rows))
    table = Table("layer", "metric", *policies, title=title)
    found = {(row.policy, row.metric): row for row in rows}
    layer = ""
    for row in rows[: len(rows) // max(len(policies), 1)]:
        own = [found[policy, row.metric] for policy in policies]
        shown = [f"{amount(one.value, one.unit)}{_change(one)}" for one in own]
        table.add_row("" if row.layer == layer else LAYERS[row.layer], row.label, *shown)
        layer = row.layer
    return table


def _change(row: MetricRow) -> str:
    gap = row.difference
    if gap is None or gap.verdict not in ("better", "worse"):
        return ""
    return f"  {gap.verdict}: {between(gap.low, gap.high, row.unit, signed=True)}"


def quantiles_table(found: Mapping[str, Sequence[Quantile]], title: str) -> Table:
    """One line a policy, one column a level; "n/a" where the log holds nothing of what the policy does."""
    levels = list(dict.fromkeys(quantile.level for quantiles in found.values() for quantile in quantiles))
    table = Table("policy", *(f"{level:g}" for level in levels), title=title)
    for policy, quantiles in found.items():
        shown = [_with_interval(one.value, one.low, one.high) for one in quantiles]
        table.add_row(policy, *(shown or ["n/a"] * len(levels)))
    return table


def uplift_table(found: Sequence[Uplift], title: str) -> Table:
    """One line a policy: what its rule gains over sending to nobody and to everybody, and how it orders the rows."""
    table = Table("policy", "rows", "everybody", "its rule", "rule - everybody", "AUUC", "Qini", title=title)
    for one in found:
        figures = (one.everybody, one.rule, one.over_everybody, one.auuc, one.qini)
        shown = [_with_interval(figure.value, figure.low, figure.high) for figure in figures]
        table.add_row(one.policy, f"{one.rows:,}", *shown)
    return table


def curve_table(found: VolumeCurve) -> Table:
    """One line a share: each ranking's value per 1,000 decisions with its band, and the learnt ranking's price."""
    table = Table("sends kept", "price", *(one.ranking for one in found.curves), title=f"{found.metric} by volume")
    for place, point in enumerate(found.curves[0].points):
        price = found.prices[place]
        bands = [one.points[place].bands[found.metric] for one in found.curves]
        shown = ["n/a" if b is None else _with_interval(1000 * b.value, 1000 * b.low, 1000 * b.high) for b in bands]
        table.add_row(f"{100 * point.share:.0f} %", "none" if price is None else figure_text(price), *shown)
    return table


def gate_table(gate: Gate) -> Table:
    """The demands of the promotion gate and their answers, without those that the log knows nothing of."""
    table = Table("metric", "role", "answer", "why", title=f"promotion gate: {'pass' if gate.passed else 'stay'}")
    for check in gate.checks:
        if check.verdict == "n/a" and not check.blocks:
            continue
        style = {"pass": "green", "fail": "red", "undecided": "yellow"}.get(check.verdict, "dim")
        table.add_row(check.metric, check.role, check.verdict, check.reason.split(": ", 1)[-1], style=style)
    return table


def price_tables(prices: PricesOutput | None) -> list[Table]:
    """Each budget with what is expected of it."""
    if prices is None or not prices.rows:
        return []
    looked = f"found on {prices.sampled:,} of {prices.contacts:,} contacts"
    table = Table("budget", "of", "expected", "price", title=f"Prices, {looked}")
    for row in prices.rows:
        error = f" +- {row.stderr:.3g}" if row.stderr else ""
        table.add_row(row.name, f"{row.budget:,.6g} {row.unit}", f"{row.expected:,.6g}{error}", f"{row.price:.4g}")
    return [table]


def volume_table(rows: tuple[VolumeRow, ...]) -> Table:
    """What each policy sends."""
    table = Table(
        "policy", "messages per decision", "times the baseline", title="Expected volume on the log's contexts"
    )
    for row in rows:
        times = "-" if row.times_baseline is None else f"{row.times_baseline:.3f}"
        table.add_row(row.policy, f"{row.sends_per_decision:.4f}", times)
    return table
