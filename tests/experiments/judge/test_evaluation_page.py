"""The page of an evaluation answers first, in words, and says nothing that the verdicts do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from experiments.judge.evaluate import EvaluateOutput
from experiments.report.evaluation import evaluation_page
from tests.experiments.commands import run
from tests.experiments.judge.launch_examples import example
from tests.experiments.judge.launch_examples import result as row_of


def page_of(*rows: tuple[str, str], baseline: str = "logged") -> str:
    bounds = {"better": (0.01, 0.16), "worse": (-0.16, -0.01)}
    made = [row_of(name, said, low=a, high=b, baseline=baseline) for name, said in rows
            for a, b in (bounds.get(said, (-0.05, 0.09)),)]  # fmt: skip
    others = [replace(row, estimator="ips") for row in made]
    output = EvaluateOutput(log=example("better").log, results=(*made, *others))
    return evaluation_page(output, baseline, "tactful evaluate --log log.parquet")


def first(page: str) -> str:
    """The text of the first screen."""
    body = page[page.index("<header>") : page.index("</section>")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ").replace("&#39;", "'")


@pytest.mark.parametrize(
    ("verdict", "badge", "answer"),
    [
        ("better", "Better: tuned segments", "Yes. Tuned segments is shown to do better than what the log did."),
        ("worse", "None is shown to be better", "No. Tuned segments is shown to do worse than what the log did."),
        (
            "no difference",
            "None is shown to be better",
            "The log does not show that tuned segments does better or worse",
        ),
        ("insufficient", "Cannot tell", "The log cannot say: it holds too little that speaks for tuned segments."),
    ],
)
def test_one_policy_is_answered_in_a_sentence(verdict: str, badge: str, answer: str) -> None:
    said = first(page_of(("segments", verdict)))
    assert "Judged by margin: would tuned segments have done better than what the log did?" in said
    assert badge in said
    assert answer in said
    assert ("+$0.0850" in said) == (verdict == "better")


def test_of_many_policies_those_are_named_that_are_better() -> None:
    said = first(page_of(("always:a", "better"), ("always:b", "no difference"), ("uniform", "insufficient")))
    assert "which of always a, always b and a choice at random would have done better" in said
    assert (
        "Of 3 policies tried, 2 can be judged; of these, 1 is shown to do better than what the log did: always a."
        in said
    )
    many = first(page_of(*((f"always:{name}", "no difference") for name in "abcdef")))
    assert "which of 6 policies" in many
    assert "Of 6 policies tried, none is shown to do better than what the log did." in many


def test_other_estimators_have_figures_and_no_verdict() -> None:
    page = page_of(("segments", "better"))
    appendix = page[page.index('id="others"') :]
    assert "weighted outcomes (ips)" in appendix
    assert "chip" not in appendix
    assert page.count('class="chip') == 1


def test_a_page_holds_no_folder_of_the_machine(hillstrom: Path, tmp_path: Path) -> None:
    asked = ("--log", hillstrom, "--metric", "visit", "--policy", "always:Mens E-Mail", "--out", tmp_path / "out")
    run("evaluate", *asked)
    page = (tmp_path / "out" / "report.html").read_text()
    assert str(tmp_path) not in page[: page.index('id="reproduce"')]
    assert first(page).count("Mens E-Mail") >= 2
    assert not re.search(r"<script|<link|\son\w+=", page, re.IGNORECASE)
