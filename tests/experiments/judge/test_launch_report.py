"""The launch report says what was found, claims no more, and is readable by machines that read to people."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from engine.ope.estimate import Difference
from experiments.judge.audit import AuditGate
from experiments.judge.backtest import BacktestOutput
from experiments.judge.launch.exploring import NOT, POSSIBLE, SHOWN, ExploringOutput, ExploringRow
from experiments.report.bars import mark, scale_of
from experiments.report.first_screen import first_screen, too_good
from experiments.report.launch import launch_page, render_launch
from experiments.report.words import Names, amount, between, percent
from tests.experiments.judge.launch_examples import HOSTILE, check, example, result

COMMAND = "tactful backtest --log log.parquet --metric margin"
CASES = {
    "launch": example("better", launch="vw"),
    "refused": example("better", unsubscribes="undecided"),
    "no-difference": example("no difference"),
    "insufficient": example("insufficient"),
    "bare": example("worse", metrics=(), gate=None, treatment=None, rules=(), comparisons=()),
}


def html_of(output: BacktestOutput, baseline: str = "static_segments") -> str:
    return render_launch(launch_page(output, baseline, "dr", COMMAND))


class Outline(HTMLParser):
    """What a screen reader goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.flaws: list[str] = []
        self.text: list[str] = []
        self.lang = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.lang = given.get("lang") or self.lang
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [str(given["href"])] if tag == "a" else []
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.flaws.append("th without scope")
        if tag == "svg" and given.get("aria-hidden") != "true" and not given.get("aria-label"):
            self.flaws.append("picture without a text that stands for it")
        if tag in ("img", "script", "link", "iframe", "object") or any(name.startswith("on") for name in given):
            self.flaws.append(f"{tag} in the page")
        if tag not in ("meta", "br", "line", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.flaws.append(f"{tag} closes something else")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    return parser


@pytest.mark.parametrize("case", CASES)
def test_the_structure_can_be_read_aloud(case: str) -> None:
    page = html_of(CASES[case])
    found = outline(page)
    assert page.startswith("<!doctype html>")
    assert found.flaws == []
    assert found.open == []
    assert found.lang == "en"
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(later - before <= 1 for before, later in zip(found.headings, found.headings[1:], strict=False))
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert "#answer" in found.links


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_loaded_and_nothing_runs(case: str) -> None:
    page = html_of(CASES[case])
    assert not re.search(r"<script|<link|<iframe|@import|\son\w+=|javascript:", page, re.IGNORECASE)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page, re.IGNORECASE)
    assert not re.search(r"url\(", page)


def test_text_of_the_data_stays_text() -> None:
    page = html_of(CASES["launch"])
    assert HOSTILE not in page
    assert HOSTILE in "".join(outline(page).text)


def answer(output: BacktestOutput, baseline: str = "static_segments") -> tuple[str, str, str]:
    first = first_screen(output, baseline, "dr")
    return first.tone, first.badge, " ".join(first.lines[1:]).replace("\u00a0", " ").partition(": ")[2]


def test_a_launch_is_a_clear_yes() -> None:
    tone, badge, said = answer(CASES["launch"])
    assert (tone, badge) == ("go", "Launch")
    assert said.startswith(
        "Yes. The learned policy does better on margin than segments tuned on this log, and every guardrail"
    )
    assert "+$0.0850 per decision" in said
    assert "95 % interval +$0.010 to +$0.160" in said


def test_a_refusal_names_what_refuses() -> None:
    tone, badge, said = answer(CASES["refused"])
    assert (tone, badge) == ("stay", "Stay with segments tuned on this log")
    assert said.startswith("Not yet.")
    assert "unsubscribe rate" in said


def test_too_little_data_is_no_answer() -> None:
    tone, badge, said = answer(CASES["insufficient"])
    assert (tone, badge) == ("unknown", "Stay with segments tuned on this log")
    assert said.startswith("The log cannot say")
    assert "Nothing should change" in said
    assert "No message at all is shown" not in said
    assert "$0.02" not in said


def test_silence_is_advised_only_where_it_is_shown_to_be_better() -> None:
    shown = example("no difference", launch="always:hold")
    _, badge, said = answer(shown)
    assert badge == "Do not launch"
    assert "No message at all is shown to do better than segments tuned on this log." in said
    assert "Stop what segments tuned on this log sends, but for a small share that is drawn by chance" in said


def test_what_is_not_known_is_not_called_unharmed() -> None:
    """Guardrail metrics that the log does not record are counted, and the yes does not speak for them."""
    unknown = example("better", unsubscribes="n/a", launch="vw")
    assert "what it does to guardrail metrics this log cannot say" in answer(unknown)[2]
    assert unknown.gate is not None
    checks = (*unknown.gate.checks, check("complaint_rate", "pass"))
    gate = type(unknown.gate)(
        policy="vw", baseline="static_segments", passed=True, reason="", error=0.05, checks=checks
    )
    said = answer(example("better", launch="vw", gate=gate))[2]
    assert "the one guardrail metric that the log knows" in said
    assert "The one guardrail metric that the log knows stays within its margin; of 1 more the log cannot say" in said


def test_an_overridden_audit_stands_above_the_figures() -> None:
    audit = AuditGate(verdict="fail", failed=("propensities",), overridden="a dry run")
    page = launch_page(example("better", launch="vw", audit=audit), "static_segments", "dr", COMMAND)
    assert page.notes[0] == "The audit of this log fails (propensities) and was overridden: a dry run"
    assert "propensities" in dict(page.facts)["Audit of the log"]


def test_what_the_log_cannot_say_stands_in_one_line_with_its_reason_once() -> None:
    page = launch_page(CASES["launch"], "static_segments", "dr", COMMAND)
    lines = {line.label: line for layer in page.layers for line in layer.lines}
    assert "Reply rate" not in lines
    assert page.absent == "Reply rate"
    assert sum("Reply rate" in what and "replied" in why for what, why in page.unknown) == 1
    assert lines["Unsubscribe rate"].verdict == "worse"
    assert html_of(CASES["launch"]).count("no metric &#39;replied&#39;") == 1


def test_names_call_nothing_the_users_that_is_not() -> None:
    names = Names("No E-Mail", "always:No E-Mail")
    assert names("always:No E-Mail") == "no message at all"
    assert (
        names("static_segments") == Names(baseline="static_segments")("static_segments") == "segments tuned on this log"
    )
    assert names("logged") == "what the log did"
    assert names("rules/ours.yaml") == "your rule (ours.yaml)"
    assert Names()("always:email|9|news") == "always email|9|news"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (amount(0.0036, "share"), "0.36 %"),
        (amount(-0.0101, "share", signed=True), "\u22121.0 pts"),
        (amount(0.0852, "usd", signed=True), "+$0.0852"),
        (amount(1234.5, "count"), "1,234"),
        (amount(None, "usd"), "n/a"),
        (amount(-1e-9, "share", signed=True), "0 pts"),
        (between(-0.403, 0.096, "usd", signed=True), "\u2212$0.403 to +$0.096"),
        (between(None, 0.1, "usd"), "no interval"),
        (percent(0.0004), "< 0.1 %"),
        (percent(0.256), "26 %"),
        (percent(0.0256), "2.6 %"),
    ],
)
def test_figures_for_people(shown: str, expected: str) -> None:
    assert shown.replace("\u00a0", " ") == expected


def test_scales_hold_all_values_and_zero() -> None:
    scale = scale_of([0.013, 0.164, None])
    assert (scale.start, scale.end) == (0.0, pytest.approx(0.18))
    drawn = mark(scale, 0.09, 0.045, 0.135)
    assert (drawn.value, drawn.low, drawn.high, drawn.zero) == pytest.approx((50.0, 25.0, 75.0, 0.0))
    both = scale_of([-0.4, 0.1])
    assert both.start <= -0.4
    assert both.end >= 0.1
    assert [value for _, value in both.labels] == [both.start, 0.0, both.end] or len(both.labels) == 2
    assert scale_of([]).start < 0 < scale_of([]).end


def test_colours_of_text_have_contrast() -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 on every background that the page uses, on white and on the verdicts' own."""
    style = html_of(CASES["launch"])
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))
    grounds = ["#ffffff", *re.findall(r"background: (#[ef][0-9a-f]{5})", style), "#f4f7f9"]
    for name in ("ink", "soft", "blue", "good", "bad", "warn", "grey"):
        for ground in grounds:
            assert contrast(colours[name], ground) >= 4.5, (name, ground)
    for name in ("good", "warn", "grey"):
        assert contrast("#ffffff", colours[name]) >= 4.5, name


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def losing(cause: str, high: float) -> BacktestOutput:
    cost = Difference(baseline="vw_greedy", value=-0.02, stderr=0.005, low=-0.04, high=high)
    without = Difference(baseline="logged", value=0.004, stderr=0.01, low=-0.015, high=0.023)
    row = ExploringRow(name="as configured", off_greedy=0.1, cost=0.02, cost_month=20.0, half_width=0.01, unseen=0.0)
    exploring = ExploringOutput(
        baseline="logged",
        decisions_month=1_000,
        confidence=0.95,
        measured=cost,
        rows=(row,),
        without=without,
        cause=cause,
    )
    return replace(example("worse"), exploring=exploring)


@pytest.mark.parametrize(("cause", "high", "said"), [(SHOWN, -0.003, "is what"), (POSSIBLE, 0.003, "may be what")])
def test_the_price_of_exploring_is_named_first_where_it_loses(cause: str, high: float, said: str) -> None:
    because = launch_page(losing(cause, high), "logged", "dr", COMMAND).first.because
    named = [sentence for sentence in because if sentence.startswith(f"The price of exploring {said} makes it lose")]
    assert len(named) == 1
    assert "\u2212$0.0200 per decision" in named[0]
    assert "do worse than what the log did (\u2212$0.0150 to +$0.0230)" in named[0]


def test_exploring_is_not_named_where_it_is_not_the_cause() -> None:
    because = launch_page(losing(NOT, -0.003), "logged", "dr", COMMAND).first.because
    assert not [sentence for sentence in because if "exploring" in sentence]


def test_the_first_screen_says_what_to_do_what_it_is_worth_and_what_must_not_suffer() -> None:
    """+0.085 (0.01 to 0.16) a decision; 128,000 decisions about 16,000 contacts are 8 each."""
    steps = {
        name: said.replace("\u00a0", " ") for name, said in first_screen(CASES["launch"], "static_segments", "dr").steps
    }
    assert list(steps) == [
        "What to do on Monday",
        "Worth per 100,000 contacts, 8 decisions each",
        "What must not suffer",
        "Held against",
    ]
    assert steps["Worth per 100,000 contacts, 8 decisions each"] == "+$68,000 (95 % interval +$8,000 to +$128,000)"
    assert "tactful promote" in steps["What to do on Monday"]
    assert "--practice RULE.yaml" in steps["Held against"]


@pytest.mark.parametrize(
    ("days", "label"),
    [
        (60.0, "Worth per 100,000 contacts and month, 4 decisions each"),
        (14.2, "Worth per 100,000 contacts over the log's 14 days, 8 decisions each"),
        (0.0, "Worth per 100,000 contacts, 8 decisions each"),
    ],
)
def test_a_month_is_counted_only_where_the_log_is_that_long(days: float, label: str) -> None:
    output = CASES["launch"]
    output = replace(output, log=replace(output.log, days=days))
    said = dict(first_screen(output, "static_segments", "dr").steps)[label]
    assert said.startswith("+$34,000" if days > 30 else "+$68,000")


def test_where_groups_were_assigned_the_worth_is_by_contact() -> None:
    """Five dollars a contact are 500,000 per 100,000 contacts, whatever a decision is worth."""
    output = CASES["launch"]
    each = Difference(baseline="static_segments", value=5.0, stderr=1.0, low=3.0, high=7.0)
    rows = tuple(replace(row, per_contact=each) for row in output.results)
    output = replace(output, results=rows, log=replace(output.log, assigned=True))
    first = first_screen(output, "static_segments", "dr")
    worth = next(said for label, said in first.steps if label.startswith("Worth"))
    assert worth.startswith("+$500,000 (")
    assert any("per contact, as groups were assigned" in sentence for sentence in first.because)


def test_the_question_has_real_names() -> None:
    output = CASES["launch"]
    some = result("vw", "better", low=0.0, high=0.1)
    for names, said in (
        (("Mens", "Womens"), "choose between Mens, Womens and no message, in place of"),
        (("a", "b", "c", "d"), "choose among 4 messages and silence, in place of"),
    ):
        rows = (*output.results, *(replace(some, policy=f"always:{name}") for name in names))
        question = first_screen(replace(output, results=rows), "static_segments", "dr").question
        assert f"Judged by margin: should the learned policy {said}" in question


@pytest.mark.parametrize(
    ("low", "high", "unit", "doubted"),
    [(0.02, 0.04, "usd", True), (0.0, 0.04, "usd", False), (0.1, 0.2, "share", False)],
)
def test_a_gain_in_money_beyond_a_tenth_asks_for_a_check(low: float, high: float, unit: str, doubted: bool) -> None:
    """Of a baseline at 0.25: 0.03 is 12 %, 0.02 is 8 %."""
    row = result("vw", "better", low=low, high=high)
    assert bool(too_good(row, unit)) == doubted
    assert not too_good(replace(row, verdict="no difference"), unit)


def test_without_a_difference_the_size_of_the_next_log_is_named() -> None:
    """Standard error 0.035, baseline 0.25: 80,000 x (0.035 x 2.8016 / 0.0075)^2 = 13.7 million."""
    monday = dict(first_screen(CASES["no-difference"], "static_segments", "dr").steps)["What to do on Monday"]
    assert "takes about 14,000,000 decisions" in monday
