"""An experiment for its readers: the page of a run, Markdown for docs/, and the picture of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.figures import GRID, INK, MUTED, STYLE, png_bytes
from experiments.report.files import write_whole
from experiments.report.page import Card, Sheet, environment
from experiments.report.words import VERDICTS, Names, amount, between, capital, percent
from experiments.season.outputs import ExperimentOutput, ScenarioGap, SeasonRow

_VERDICTS: Final = {"better": "#11734b", "worse": "#b3261e", "no difference": INK, "insufficient": "#a0a8b0"}
_COLOURS: Final = (
    *("#0b6e99", "#c4552d", "#11734b", "#8a5aa8", "#1b2733", "#b58900", "#5b8c5a", "#a33b6f", "#6b7f99", "#d98c5f"),
    *("#3f9a8f", "#7a5c3e", "#9aa53b", "#55555f", "#c77dba"),
)
_STYLES: Final = ("-", "--", ":")


def season_page(output: ExperimentOutput, picture: str, command: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        output: of the experiment.
        picture: of `season_figure`, as SVG.
        command: that makes it again.
    """
    template = environment().get_template("season.html.j2")
    lines = [(gap, [_season_line(row) for row in _rows_of(output, gap)]) for gap in output.gaps]
    sheet = _sheet(output)
    page = template.render(sheet=sheet, output=output, lines=lines, picture=picture, command=command, room=_room)
    return page.lstrip()


@dataclass(frozen=True)
class _SeasonLine:
    """A policy in one scenario, as text."""

    policy: str
    profit: str
    difference: str
    interval: str
    verdict: str
    tone: str
    sends: str
    unsubscribes: str
    complaints: str
    discounted: str
    regret: str
    closed: str


def _sheet(output: ExperimentOutput) -> Sheet:
    """The first screen: what was found, of how many scenarios."""
    judged = [row for row in output.rows if row.verdict]
    better = sum(row.verdict == "better" for row in judged)
    worse = sum(row.verdict == "worse" for row in judged)
    one = len(output.seeds) == 1
    places = len({row.scenario for row in output.rows})
    contacts = max((row.contacts for row in output.rows), default=0)
    tone, badge = ("go", f"{better} of {len(judged)} better") if better else ("stay", "None is shown to be better")
    if not judged or all(row.verdict == "insufficient" for row in judged):
        tone, badge = "unknown", "Cannot tell"
    first, *rest = [_in_words(one, output) for one in output.said] or ["Nothing was compared."]
    return Sheet(
        question=output.question or output.experiment.capitalize().replace("_", " "),
        eyebrow="Experiment, SIMULATED: seasons in made-up worlds",
        tone=tone,
        badge=badge,
        answer=first,
        because=rest,
        notes=[_in_words(one, output) for one in output.notes],
        cards=[
            Card("Better than what they are held against", f"{better} of {len(judged)}", f"{worse} are worse"),
            Card("Scenarios", f"{places}", f"{output.days} days each"),
            Card("Contacts of a world", f"{contacts:,}", f"{len(output.seeds)} {'seed' if one else 'seeds'}"),
        ],
    )


def _in_words(sentence: str, output: ExperimentOutput) -> str:
    """A sentence with its policies in words."""
    names = {row.policy for row in output.rows} | {output.baseline, output.reference}
    asked = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
    told = re.sub(rf"(?<![\w`])(?:{asked})(?![\w`])", lambda found: Names()(found[0]), sentence) if asked else sentence
    return capital(told)


def _rows_of(output: ExperimentOutput, gap: ScenarioGap) -> list[SeasonRow]:
    return [row for row in output.rows if (row.scenario, row.variant) == (gap.scenario, gap.variant)]


def _season_line(row: SeasonRow) -> _SeasonLine:
    more = ", more than the baseline"
    low, high = row.difference_low, row.difference_high
    return _SeasonLine(
        policy=capital(Names()(row.policy)),
        profit=amount(row.profit, "usd"),
        difference=amount(row.difference, "usd", signed=True) if row.difference is not None else "",
        interval="" if low is None else between(low, high, "usd", signed=True),
        verdict=VERDICTS.get(row.verdict, "") or "held against",
        tone={"better": "good", "worse": "bad", "no difference": "even"}.get(row.verdict, "grey"),
        sends=f"{row.sends:.3g}{more if row.more_sends else ''}",
        unsubscribes=f"{amount(row.unsubscribes, 'share')}{more if row.more_unsubscribes else ''}",
        complaints=amount(row.complaints, "share"),
        discounted=amount(row.discount_share, "share"),
        regret=amount(row.regret_per_day, "usd"),
        closed=percent(row.gap_closed),
    )


def _room(output: ExperimentOutput, gap: ScenarioGap) -> str:
    """What there is to gain in a scenario, in sentences."""
    said = []
    reference, baseline = Names()(output.reference), Names()(output.baseline)
    if gap.gap is not None:
        bounds = "" if gap.gap_low is None else f" ({between(gap.gap_low, gap.gap_high, 'usd', signed=True)})"
        said.append(
            f"{capital(reference)} earns {amount(gap.gap, 'usd', signed=True)}{bounds} a contact over {baseline}."
        )
    if gap.bound is not None:
        said.append(f"Nobody can pass {baseline} by more than {amount(gap.bound, 'usd')}.")
    if gap.silence_off is not None:
        off, error = amount(gap.silence_off, "usd", signed=True), amount(gap.silence_stderr, "usd")
        said.append(f"Silence less its closed form: {off} (standard error {error}).")
    return " ".join(said)


def write_docs(output: ExperimentOutput, path: Path) -> Path:
    """Write the page and, beside it, its picture.

    Raises:
        StorageError: the disk refused.
    """
    picture = path.with_suffix(".png")
    write_whole(picture, png_bytes(lambda: season_figure(output), dpi=60))
    return write_whole(path, "\n".join(season_markdown(output, picture.name)) + "\n")


def season_markdown(output: ExperimentOutput, picture: str) -> Iterator[str]:
    """Lines of the page."""
    contacts = max(row.contacts for row in output.rows)
    yield from (f"# {output.experiment.capitalize().replace('_', ' ')}", "", f"{output.question}", "")
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in output.rows))
    policies = len({row.policy for row in output.rows})
    yield (
        f"This run: {policies} policies, {contacts:,} contacts for each of seeds "
        f"{', '.join(map(str, output.seeds))}, {output.days} days; {scenarios}."
    )
    yield from ("", f"![differences, regret and sends]({picture})", "", "## What was found", "")
    yield from (f"- {sentence}" for sentence in output.said)
    yield from ("", "## What it rests on", "")
    yield from (f"- {note}" for note in output.notes)
    for gap in output.gaps:
        yield from _scenario(output, gap)
    yield from ("", *(resources.files("experiments.report") / "season_method.txt").read_text("utf-8").splitlines())


def _scenario(output: ExperimentOutput, gap: ScenarioGap) -> Iterator[str]:
    single = len({one.variant for one in output.gaps}) == 1
    yield from ("", f"## {gap.scenario}" if single else f"## {gap.scenario}, {gap.variant}", "")
    room = []
    if gap.gap is not None:
        between = "" if gap.gap_low is None else f" ({gap.gap_low:+.3f} to {gap.gap_high:+.3f})"
        room.append(f"{output.reference} minus {output.baseline}: {gap.gap:+.3f}{between} USD per contact.")
    if gap.observable is not None:
        room.append(f"Observations allow about {gap.observable:+.3f}.")
    if gap.discounts is not None:
        room.append(f"Segments without discounts: {gap.discounts:+.3f}.")
    if gap.bound is not None:
        room.append(f"Nobody can pass {output.baseline} by more than {gap.bound:+.1f}.")
    if gap.silence_off is not None:
        room.append(f"Silence minus its closed form: {gap.silence_off:+.3f} ({gap.silence_stderr:.3f}).")
    yield from (" ".join(room), "") if room else ()
    columns = ("policy", "USD per contact", "difference", "interval", "sends", "unsubscribes", "complaints")
    yield f"| {' | '.join((*columns, 'at a discount', 'regret per day', 'gap closed', 'of observable'))} |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for row in output.rows:
        if (row.scenario, row.variant) == (gap.scenario, gap.variant):
            yield _line(row)


def _line(row: SeasonRow) -> str:
    gain = "-" if row.difference is None else f"{row.difference:+.3f}"
    if row.verdict in ("better", "worse"):
        gain = f"**{gain}** {row.verdict}"
    between = "-" if row.difference_low is None else f"{row.difference_low:+.3f} to {row.difference_high:+.3f}"
    closed = "-" if row.gap_closed is None else f"{row.gap_closed:.0%}"
    if row.gap_closed_low is not None and row.gap_closed_high is not None:
        closed += f" ({row.gap_closed_low:.0%} to {row.gap_closed_high:.0%})"
    figures = [
        row.policy,
        f"{row.profit:.3f}",
        gain,
        between,
        f"{row.sends:.2f}" + (" (more)" if row.more_sends else ""),
        f"{row.unsubscribes:.4f}" + (" (more)" if row.more_unsubscribes else ""),
        f"{row.complaints:.5f}",
        "-" if row.discount_share is None else f"{row.discount_share:.1%}",
        "-" if row.regret_per_day is None else f"{row.regret_per_day:.4f}",
        closed,
        "-" if row.observable_closed is None else f"{row.observable_closed:.0%}",
    ]
    return f"| {' | '.join(figures)} |"


def season_figure(output: ExperimentOutput) -> Figure:
    """One line of three panels per scenario and variant."""
    with mpl.rc_context(STYLE):
        lines = len(output.gaps)
        policies = list(dict.fromkeys(row.policy for row in output.rows))
        figure = Figure(figsize=(13.5, 0.7 + lines * max(2.6, 0.24 * len(policies) + 0.8)), layout="constrained")
        figure.suptitle(f"SIMULATED: {output.experiment}, {output.days} days", x=0.01, ha="left", fontweight="bold")
        for number, gap in enumerate(output.gaps):
            rows = [row for row in output.rows if (row.scenario, row.variant) == (gap.scenario, gap.variant)]
            place = gap.scenario if len({one.variant for one in output.gaps}) == 1 else f"{gap.scenario}: {gap.variant}"
            _differences(figure.add_subplot(lines, 3, 3 * number + 1), rows, place)
            _curves(figure.add_subplot(lines, 3, 3 * number + 2), gap, policies, output, kind="regret")
            _curves(figure.add_subplot(lines, 3, 3 * number + 3), gap, policies, output, kind="sends")
        return figure


def _differences(axes: Any, rows: Sequence[SeasonRow], place: str) -> None:
    drawn = [row for row in rows if row.difference is not None]
    for y, row in enumerate(drawn):
        colour = _VERDICTS[row.verdict]
        if row.difference_low is not None:
            axes.plot([row.difference_low, row.difference_high], [y, y], color=colour, linewidth=2.2)
        axes.plot([row.difference], [y], "o", color=colour, markersize=5)
    axes.axvline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(drawn)), [f"{row.policy}{' (more sends)' if row.more_sends else ''}" for row in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    against = sorted({row.against for row in drawn})
    unit = f"USD per contact against {against[0]}" if len(against) == 1 else "USD per contact against the first variant"
    _finish(axes, place, unit)


def _curves(axes: Any, gap: ScenarioGap, policies: Sequence[str], output: ExperimentOutput, *, kind: str) -> None:
    named = gap.regret_so_far if kind == "regret" else gap.sends_per_day
    for number, name in enumerate(policies):
        values = named.get(name)
        if not values or (kind == "regret" and name == output.reference):
            continue
        days = [(step + 1) * output.days / len(values) for step in range(len(values))]
        # Sends of single days jump with the caps; a week's mean shows the level.
        shown = values if kind == "regret" else _weekly(values, output.days)
        style = {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _STYLES[number % len(_STYLES)]}
        axes.plot(days, shown, linewidth=1.4, label=name, **style)
    if not axes.lines:
        # Without a reference there is no regret to draw.
        axes.set_visible(False)
        return
    title = f"Regret to {output.reference}, so far" if kind == "regret" else "Sends, mean of the week before"
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _finish(axes, title, "day")
    axes.set_ylabel("USD per contact" if kind == "regret" else "per contact and day")
    if kind == "sends":
        axes.legend(fontsize=7, ncols=2, loc="upper right", facecolor="white", edgecolor="none", framealpha=0.8)


def _weekly(values: Sequence[float], days: int) -> list[float]:
    width = max(1, round(7 * len(values) / days))
    per_day = len(values) / days
    means = []
    for step in range(len(values)):
        part = values[max(0, step + 1 - width) : step + 1]
        means.append(per_day * sum(part) / len(part))
    return means


def _finish(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
    axes.set_xlabel(unit)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
