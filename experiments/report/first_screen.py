"""The first screen of a launch report: the question, the answer, what to do, what it is worth, what must not suffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from experiments.judge.contenders import ANY_SEND, LEARNED, LOGGED, SEGMENTS
from experiments.judge.launch.exploring import SHOWN
from experiments.judge.launch.views import NOT_REFUTED, REFUTED, UNBIASED
from experiments.judge.launch.volume import MATCHED
from experiments.report.launch_details import exploring_cause
from experiments.report.page import Card
from experiments.report.words import VERDICTS, Names, amount, between, capital, listed, tried

if TYPE_CHECKING:
    from engine.ope.estimate import Difference, Estimate
    from experiments.judge.backtest import BacktestOutput

GO, STAY, UNKNOWN = "go", "stay", "unknown"
# What a difference is counted for: so many contacts, over a month where the log is that long.
CONTACTS: Final = 100_000
MONTH_DAYS: Final = 30
# More messages than this are counted, not listed.
MOST_MESSAGES: Final = 3
# The lift that a next log is planned for, and the chance to see it.
LIFT, POWER = 0.03, 0.8
# A figure is worth naming where its interval is so many times narrower.
SHARPER: Final = 1.5
# Beyond this share of today's value a gain in money is more likely a fault than a finding.
MOST_GAIN: Final = 0.1


@dataclass(frozen=True)
class FirstScreen:
    """What a reader must have seen before all else.

    Attributes:
        question: with the metric, the messages and the practice that would be replaced.
        tone: go, stay or unknown: the colour of the answer.
        badge: the answer in a word or two.
        answer: the answer in a sentence.
        steps: (label, sentence): what to do, what it is worth, what must not suffer, what it was held against.
        because: the figures behind the answer, one sentence each.
        cards: key figures.
    """

    question: str
    tone: str
    badge: str
    answer: str
    steps: tuple[tuple[str, str], ...]
    because: tuple[str, ...]
    cards: tuple[Card, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The same for a terminal."""
        return (
            self.question,
            f"{self.badge}: {self.answer}",
            *(f"{label}: {said}" for label, said in self.steps),
            *self.because,
        )


@dataclass(frozen=True)
class _Screen:
    """What all sentences are made of."""

    output: BacktestOutput
    baseline: str
    estimator: str
    names: Names

    @property
    def unit(self) -> str:
        return self.output.log.unit

    @property
    def metric(self) -> str:
        return self.output.log.metric.replace("_", " ")

    @property
    def new(self) -> str:
        return self.names(LEARNED)

    @property
    def today(self) -> str:
        return self.names(self.baseline)

    @property
    def deciding(self) -> list[Estimate]:
        return [row for row in self.output.results if row.estimator == self.estimator]

    @property
    def learned(self) -> Estimate:
        return next(row for row in self.deciding if row.policy == LEARNED)

    def row(self, policy: str) -> Estimate | None:
        return next((row for row in self.deciding if row.policy == policy), None)

    def against_nothing(self, policy: str) -> Estimate | None:
        """A policy against doing nothing; None where that was not asked."""
        quiet = (row for row in self.output.comparisons if row.policy == policy and row.difference is not None)
        return next(quiet, None)


def first_screen(output: BacktestOutput, baseline: str, estimator: str) -> FirstScreen:
    """The first screen of a backtest.

    Args:
        output: what the backtest found.
        baseline: what would be replaced.
        estimator: the estimator that decides.
    """
    screen = _Screen(output, baseline, estimator, Names(output.log.hold, baseline))
    tone, badge, answer = _answer(screen)
    steps = (
        ("What to do on Monday", _monday(screen)),
        (f"Worth per {CONTACTS:,} contacts{_period(screen)}", _worth(screen)),
        ("What must not suffer", _suffer(screen)),
        ("Held against", practice_in_words(output, baseline, screen.names)),
    )
    return FirstScreen(
        question=_question(screen),
        tone=tone,
        badge=badge,
        answer=answer,
        steps=tuple((label, capital(said)) for label, said in steps if said),
        because=_because(screen),
        cards=_cards(screen),
    )


def single_messages(output: BacktestOutput, estimator: str) -> str:
    """How many of the constant messages are shown to do better than the baseline."""
    rows = [row for row in _messages(output) if row.estimator == estimator]
    baseline = next((row.difference.baseline for row in rows if row.difference is not None), LOGGED)
    return tried(rows, "single messages", Names(output.log.hold, baseline))


def too_good(learned: Estimate, unit: str) -> str:
    """That a gain in money is larger than such gains are, and what to look at; "" where it is not."""
    gap, value = learned.difference, learned.value
    if unit != "usd" or learned.verdict != "better" or gap is None or gap.value is None or value is None:
        return ""
    base = value - gap.value
    if not gap.value > MOST_GAIN * abs(base):
        return ""
    size = f"of {100 * gap.value / abs(base):.0f} %" if base else "from nothing"
    return (
        f"A gain {size} in money asks for a check of its own: against a tuned practice, controlled tests found 0.5 "
        "to 2 % (Duolingo 0.5 %, LinkedIn 0.72 %). Is what it is held against really today's practice? Does a feature "
        "know what happened after the decision? Are the propensities those of the draw?"
    )


def practice_in_words(output: BacktestOutput, baseline: str, names: Names) -> str:
    """What the learned policy would replace, and whose it is."""
    if baseline == SEGMENTS:
        by = ", ".join(output.split["segments"]) or "nothing: one segment"
        return f"{names(baseline)}, by {by}; your own rule would be --practice RULE.yaml"
    if baseline == LOGGED:
        return f"{names(baseline)}; your own rule would be --practice RULE.yaml"
    return names(baseline)


def _messages(output: BacktestOutput) -> list[Estimate]:
    """The rows of constant messages."""
    hold = (f"always:{output.log.hold}", "always:hold")
    return [row for row in output.results if row.policy.startswith("always:") and row.policy not in hold]


def _question(screen: _Screen) -> str:
    output = screen.output
    names = list(dict.fromkeys(row.policy.removeprefix("always:") for row in _messages(output)))
    if not names:
        return f"Judged by {screen.metric}: should {screen.new} replace {screen.today}?"
    held = screen.row(f"always:{output.log.hold}") is not None
    if len(names) > MOST_MESSAGES:
        choice = f"choose among {len(names)} messages{' and silence' if held else ''}"
    elif len(names) == 1 and not held:
        choice = f"decide on {names[0]}"
    else:
        choice = f"choose between {listed([*names, *(('no message',) if held else ())])}"
    return f"Judged by {screen.metric}: should {screen.new} {choice}, in place of {screen.today}?"


def _answer(screen: _Screen) -> tuple[str, str, str]:
    """Tone, badge and the answer in a sentence."""
    output, learned = screen.output, screen.learned
    launch, new, today, metric = output.launch, screen.new, screen.today, screen.metric
    if launch.policy == learned.policy:
        return GO, "Launch", f"Yes. {capital(new)} does better on {metric} than {today}{_harm(output)}."
    stay = f"Stay with {today}" if launch.policy == screen.baseline else "Do not launch"
    if learned.verdict == "better":
        asked = [check.label for check in output.gate.checks if check.blocks] if output.gate else []
        refusal = f"the log does not show that {_lower(asked)} stay within the margins set for them"
        return STAY, stay, f"Not yet. {capital(new)} does better on {metric} than {today}, but {refusal}."
    if learned.verdict == "worse":
        return STAY, stay, f"No. {capital(new)} does worse on {metric} than {today}."
    if learned.verdict == "no difference":
        return STAY, stay, f"No. The log does not show that {new} does better on {metric} than {today}."
    if any(view.decides and view.check == REFUTED for view in output.views):
        why = f"what {metric} leaves out of the money differs between the two"
        return UNKNOWN, stay, f"The log cannot say: {why}. Nothing should change."
    return UNKNOWN, stay, f"The log cannot say: it holds too little that speaks for {new}. Nothing should change."


def _harm(output: BacktestOutput) -> str:
    """What the answer may claim of the guardrail metrics: unknown is not unharmed."""
    asked = [check for check in output.gate.checks if check.role == "guardrail"] if output.gate is not None else []
    if not asked:
        return ""
    known = [check for check in asked if check.verdict != "n/a"]
    if len(known) == len(asked):
        return ", and every guardrail metric stays within its margin"
    if not known:
        return "; what it does to guardrail metrics this log cannot say"
    if len(known) == 1:
        return ", and the one guardrail metric that the log knows stays within its margin"
    return f", and the {len(known)} guardrail metrics that the log knows stay within their margins"


def _monday(screen: _Screen) -> str:
    """The next step; where the log cannot tell, the step is to learn, not to act."""
    output, learned, today = screen.output, screen.learned, screen.today
    if output.launch.policy == LEARNED:
        return (
            "Promote the folder policy beside this report (tactful promote), leave its exploring on, and look at "
            "tactful monitor after a week."
        )
    if output.launch.policy != screen.baseline:
        return (
            f"Stop what {today} sends, but for a small share that is drawn by chance, so that the next log can tell "
            "when messages help again."
        )
    if learned.verdict == "better":
        return f"Keep {today}. {_refused(screen)}"
    if learned.verdict == "insufficient":
        return (
            f"Keep {today}, and draw a share of the decisions by chance: tactful plan --log ... --learn says how large "
            "a share, and for how long."
        )
    found = output.exploring
    if learned.verdict == "worse" and found is not None and found.cause == SHOWN:
        return f"Keep {today}. If you try again, explore less: without exploring it is not shown to lose."
    if learned.verdict == "worse":
        return f"Keep {today}."
    return " ".join(said for said in (f"Keep {today}.", _needed(screen), _sharper(screen)) if said)


def _refused(screen: _Screen) -> str:
    """What would have to be shown, or the learned policy at today's volume where volume is all that refuses."""
    gate, matched = screen.output.gate, screen.row(MATCHED)
    blocked = [check for check in gate.checks if check.blocks] if gate is not None else []
    if matched is not None and [check.metric for check in blocked] == ["sends_per_decision"] and matched.difference:
        gap = matched.difference
        figures = (
            f" ({between(gap.low, gap.high, screen.unit, signed=True)})" if matched.verdict != "insufficient" else ""
        )
        return (
            f"If you may not send more, look at {screen.names(MATCHED)}: {VERDICTS[matched.verdict]}{figures}. "
            "If you may, raise the margin of messages per decision and ask again."
        )
    labels = _lower([check.label for check in blocked])
    return f"Show that {labels} stay within their margins, with a longer log, before you launch."


def _needed(screen: _Screen) -> str:
    """How many decisions would show a gain that is worth having, at the error of this log."""
    learned = screen.learned
    gap, value = learned.difference, learned.value
    if gap is None or gap.stderr is None or gap.value is None or value is None or not gap.stderr > 0.0:
        return ""
    base = abs(value - gap.value)
    if not base > 0.0:
        return ""
    reach = NormalDist().inv_cdf(1.0 - learned.alpha / 2.0) + NormalDist().inv_cdf(POWER)
    rows = learned.n * (gap.stderr * reach / (LIFT * base)) ** 2
    if rows <= learned.n:
        return f"This log would have shown a gain of {100 * LIFT:g} % with a chance of {100 * POWER:g} % or more."
    return (
        f"To see a gain of {100 * LIFT:g} % with a chance of {100 * POWER:g} % takes about {_about(rows)} decisions "
        f"that judge; this log had {learned.n:,}."
    )


def _sharper(screen: _Screen) -> str:
    """A figure that this log does not refute and that sees much more, to be fixed before the next one."""
    found = [
        view
        for view in screen.output.views
        if not view.decides and view.check in (UNBIASED, NOT_REFUTED) and (view.times or 0.0) >= SHARPER
    ]
    if not found:
        return ""
    best = max(found, key=lambda view: view.times or 0.0)
    times = f"{best.times:.2g} times"
    return f"Fix judged_by={best.judged_by} before the next log: its interval is {times} narrower on this one."


def _about(value: float) -> str:
    """A count to two digits: nobody plans by more."""
    places = max(len(f"{value:.0f}") - 2, 0)
    return f"{round(value, -places):,.0f}"


def _period(screen: _Screen) -> str:
    log = screen.output.log
    each = _each(screen)
    often = "one decision each" if abs(each - 1.0) < 0.05 else f"{each:.2g} decisions each"
    if log.days is not None and log.days >= MONTH_DAYS:
        return f" and month, {often}"
    if log.days is not None and log.days >= 1.0:
        return f" over the log's {log.days:.0f} days, {often}"
    return f", {often}"


def _each(screen: _Screen) -> float:
    """Decisions about a contact: in a month where the log is at least that long, else in all of the log."""
    log = screen.output.log
    used = log.rows - sum(log.dropped.values())
    often = used / max(log.contacts, 1)
    return often * MONTH_DAYS / log.days if log.days is not None and log.days >= MONTH_DAYS else often


def _worth(screen: _Screen) -> str:
    """What the learned policy brings more, for many contacts, with its interval."""
    learned, unit = screen.learned, screen.unit
    gap, factor = learned.difference, CONTACTS * _each(screen)
    if screen.output.log.assigned and learned.per_contact is not None and gap is not None:
        log = screen.output.log
        gap = learned.per_contact
        factor = CONTACTS * (MONTH_DAYS / log.days if log.days is not None and log.days >= MONTH_DAYS else 1.0)
    if learned.verdict == "insufficient" or gap is None or gap.value is None:
        return "not known: the log holds too little"
    counted = "count" if unit == "share" else unit
    value = amount(_rounded(gap.value * factor), counted, signed=True)
    low, high = (None if end is None else _rounded(end * factor) for end in (gap.low, gap.high))
    what = "" if unit == "usd" else f" in {screen.metric}"
    return f"{value}{what} ({100 * (1 - learned.alpha):g} % interval {between(low, high, counted, signed=True)})"


def _rounded(value: float) -> float:
    """Three digits, as more would claim what no interval holds."""
    return float(f"{value:.3g}")


def _suffer(screen: _Screen) -> str:
    """What the guardrail metrics say, and which of them the log does not know."""
    gate = screen.output.gate
    asked = [check for check in gate.checks if check.role == "guardrail"] if gate is not None else []
    if not asked:
        return ""
    blocked = [check.label for check in asked if check.blocks]
    silent = sum(check.verdict == "n/a" for check in asked)
    known = len(asked) - silent
    if not known:
        return f"the log records none of the {len(asked)} guardrail metrics, so it cannot say"
    tail = f"; of {silent} more the log cannot say" if silent else ""
    if blocked:
        margin = "their margins" if len(blocked) > 1 else "the margin"
        return f"{_lower(blocked)}, not shown to stay within {margin}{tail}"
    kept = "the one guardrail metric" if known == 1 else f"all {known} guardrail metrics"
    stay = "stays within its margin" if known == 1 else "stay within their margins"
    return f"{kept} that the log knows {stay}{tail}"


def _because(screen: _Screen) -> tuple[str, ...]:
    """The figures behind the answer, one sentence each."""
    output, learned, unit = screen.output, screen.learned, screen.unit
    found: list[str] = []
    gap = learned.difference
    if learned.verdict == "insufficient":
        found += [f"{capital(note)}." for note in learned.notes[:2]]
    elif gap is not None and gap.value is not None:
        found.append(_figures(screen, "per decision", gap))
        if output.log.assigned and learned.per_contact is not None:
            found.append(_figures(screen, "per contact, as groups were assigned to contacts", learned.per_contact))
    cause = exploring_cause(output.exploring, unit, screen.names)
    found += [cause] if cause else []
    quiet = screen.against_nothing(screen.baseline)
    if quiet is not None and quiet.difference is not None and output.launch.policy != LEARNED:
        tail = ""
        if quiet.verdict != "insufficient":
            tail = f" ({between(quiet.difference.low, quiet.difference.high, unit, signed=True)})"
        nothing = screen.names(quiet.difference.baseline)
        found.append(f"{capital(screen.today)} against {nothing}: {VERDICTS[quiet.verdict]}{tail}.")
        found += _silence(screen, quiet)
    messages = single_messages(output, screen.estimator)
    return (*found, *((messages,) if messages else ()))


def _silence(screen: _Screen, quiet: Estimate) -> list[str]:
    """What is said of sending nothing, where today's practice does worse than that."""
    any_send = screen.against_nothing(ANY_SEND)
    if screen.output.launch.policy not in (LEARNED, screen.baseline):
        nothing = screen.names(screen.output.launch.policy)
        return [f"{capital(nothing)} is shown to do better than {screen.today}."]
    if quiet.verdict == "worse" and any_send is not None and any_send.verdict == "better":
        return ["A message drawn by chance does better than none: messages help, the choice among them does not."]
    return []


def _figures(screen: _Screen, what: str, gap: Difference) -> str:
    return (
        f"The difference in {screen.metric} is {amount(gap.value, screen.unit, signed=True)} {what}; "
        f"{100 * (1 - screen.learned.alpha):g} % interval {between(gap.low, gap.high, screen.unit, signed=True)}."
    )


def _cards(screen: _Screen) -> tuple[Card, ...]:
    output, learned, unit = screen.output, screen.learned, screen.unit
    gap = learned.difference
    trusted = learned.verdict != "insufficient" and gap is not None
    value = amount(gap.value, unit, signed=True) if trusted and gap is not None else "not known"
    detail = between(gap.low, gap.high, unit, signed=True) if trusted and gap is not None else "too little data"
    cards = [Card(f"{capital(screen.metric)} per decision, against today", value, detail)]
    rows = {(row.policy, row.metric): row for row in output.metrics}
    for name in ("sends_per_decision", "unsubscribe_rate"):
        own, today = rows.get((LEARNED, name)), rows.get((screen.baseline, name))
        if own is None or today is None or own.value is None or today.value is None:
            continue
        change = own.difference
        tail = f"; change {between(change.low, change.high, own.unit, signed=True)}" if change else ""
        cards.append(Card(own.label, amount(own.value, own.unit), f"today {amount(today.value, own.unit)}{tail}"))
    if output.treatment is not None:
        cards.append(Card("Treated differently", f"{100 * output.treatment.distance:.0f} %", _changed(screen)))
    return tuple(cards)


def _changed(screen: _Screen) -> str:
    """What a decision is worth that is changed at all: the others are the same under both."""
    treatment, learned = screen.output.treatment, screen.learned
    gap = learned.difference
    if (
        treatment is None
        or gap is None
        or gap.value is None
        or learned.verdict == "insufficient"
        or not treatment.distance
    ):
        return "of decisions"
    low, high = (None if end is None else end / treatment.distance for end in (gap.low, gap.high))
    each = amount(gap.value / treatment.distance, screen.unit, signed=True)
    return f"of decisions; each of these {each} ({between(low, high, screen.unit, signed=True)})"


def _lower(labels: Sequence[str]) -> str:
    """Names within a sentence."""
    return listed([name[:1].lower() + name[1:] if not name.isupper() else name for name in labels]) or "all metrics"
