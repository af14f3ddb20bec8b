"""The page of an experiment: what was asked, the answer in sentences, the picture, every figure."""

from __future__ import annotations

from experiments.report.page import environment
from experiments.report.words import interval_text
from experiments.season.outputs import ExperimentOutput


def season_page(output: ExperimentOutput, picture: str, command: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        output: of the experiment.
        picture: of `season_picture`.
        command: that makes it again.
    """
    template = environment().get_template("season.html.j2")
    return template.render(output=output, picture=picture, command=command, interval=interval_text)
