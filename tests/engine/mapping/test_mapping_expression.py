"""The expression evaluator: values by hand, missing cells, and everything that must not run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.mapping.expression import compile_expression

CELLS = {
    "a": np.array(["1", "2", "", "4"], dtype=object),
    "b": np.array(["10", "0", "3", "x"], dtype=object),
    "s": np.array(["send", "none", "", "send"], dtype=object),
    "user-x": np.array(["1", "1", "2", "2"], dtype=object),
}
NAN = np.nan


def values(text: str) -> np.ndarray:
    return compile_expression(text, owner="test").evaluate(CELLS, 4)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 1", [2, 3, NAN, 5]),
        ("-a * 2 - 1", [-3, -5, NAN, -9]),
        ("b / a", [10, 0, NAN, NAN]),
        ("a ** 2 // 3 % 2", [0, 1, NAN, 1]),
        ("a >= 2", [0, 1, NAN, 1]),
        ("1 < a < 4", [0, 1, NAN, 0]),
        ("a == 1 or a == 2", [1, 1, NAN, 0]),
        ("not a == 1", [0, 1, NAN, 1]),
        ("a in (1, 4)", [1, 0, NAN, 1]),
        ("a not in (1, 4)", [0, 1, NAN, 0]),
        ("s == 'send'", [1, 0, NAN, 1]),
        ("'send' != s", [0, 1, NAN, 0]),
        ("s in ('send', 'push')", [1, 0, NAN, 1]),
        ("s == ''", [0, 0, 1, 0]),
        ("isnull(a)", [0, 0, 1, 0]),
        ("isnull(a + 1)", [0, 0, 1, 0]),
        ("where(isnull(a), 0, a)", [1, 2, 0, 4]),
        ("where(s == 'send', 0.6, 1 - 0.6)", [0.6, 0.4, NAN, 0.6]),
        ("min(a, 2) + max(a, 2, 3)", [4, 5, NAN, 6]),
        ("floor(log(exp(a)) + 0.5) - abs(-1)", [0, 1, NAN, 3]),
        ("col('user-x') * 2", [2, 2, 4, 4]),
        ("a == 2 and b == 99", [0, 0, 0, 0]),
        ("a > 0 and b > 2", [1, 0, NAN, NAN]),
        ("a == 1 or b == 3", [1, 0, 1, NAN]),
        ("1", [1, 1, 1, 1]),
    ],
)
def test_values_by_hand(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(values(text), expected, rtol=1e-12, atol=1e-12)


def test_a_cell_that_is_no_number_is_told_apart_from_an_empty_one() -> None:
    _, bad = compile_expression("a + b", owner="test").evaluate(CELLS, 4)
    assert bad.tolist() == [False, False, False, True]


def test_the_columns_that_are_read() -> None:
    assert compile_expression("where(s == 'x', a, col('user-x'))", owner="t").columns == {"s", "a", "user-x"}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.__class__",
        "a[0]",
        "lambda: 1",
        "[x for x in a]",
        "open('f')",
        "where(a, b)",
        "where(test=a, a=1, b=2)",
        "f'{a}'",
        "a if b else 1",
        "(a := 1)",
        "a is b",
        "a & b",
        "a == None",
        "'text'",
        "a + 'text'",
        "'send' == a + 1",
        "s in a",
        "s in (a, b)",
        "s in ()",
        "col(a)",
        "1e400",
        "1" * 400,
        "a +",
        "",
        "~a",
        "{'a': 1}",
        "a" * 3000,
        "-" * 1900 + "a",
    ],
)
def test_what_is_not_on_the_white_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="owner-key"):
        compile_expression(text, owner="owner-key")


def test_the_offending_node_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'a\.real' \(Attribute\) is not allowed"):
        compile_expression("1 + a.real", owner="x")


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=20), st.floats(-10, 10))
def test_arithmetic_equals_numpy(cells: list[float | None], factor: float) -> None:
    column = np.array(["" if v is None else repr(v) for v in cells], dtype=object)
    floats = np.array([NAN if v is None else v for v in cells])
    got, bad = compile_expression(f"a * {factor!r} + 1", owner="t").evaluate({"a": column}, len(cells))
    np.testing.assert_array_equal(got, floats * factor + 1)
    assert not bad.any()
