"""A small seeded version of the digits study."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from experiments.study import digits

IMAGES = 500


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return digits.load()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "least"),
    [(digits.SOFTMAX, 0.25), (digits.SQUARECB, 0.2), (digits.RND, 0.3)],
    ids=["softmax", "squarecb", "rnd"],
)
def test_learners_find_the_digits(data: digits.Digits, entry: digits.Entry, least: float) -> None:
    """The first 500 images of one shuffle; guessing gives 0.1, and 0.2 is seven standard errors above it."""
    assert entry.run(data, 3, IMAGES) > least


def test_guessing_gives_a_tenth(data: digits.Digits) -> None:
    """Stock VW that explores evenly: 0.1 within four standard errors (0.0134) of 500 images."""
    assert digits.stock(data, "--epsilon 1", 4, IMAGES) == pytest.approx(0.1, abs=0.054)


def test_the_table_names_what_ran() -> None:
    text = digits.table([(digits.SOFTMAX, [0.7, 0.6]), (digits.STOCK[0], [0.5, 0.5])])
    assert "| softmax, inverse temperature 10 | 0.650 | 0.071 | 0.675 |" in text
    assert re.search(r"\| stock VW --softmax --lambda 10 \| 0\.500 \| 0\.000 \| +\|", text)
