"""The tree of errors: template, hints, exit codes."""

from __future__ import annotations

import pytest

from engine import errors


def test_the_parameter_template_names_everything() -> None:
    error = errors.ParameterError("epsilon", "EpsilonGreedy", allowed="in [0, 1]", got=1.3, hint="lower it")
    assert str(error) == "`epsilon` of EpsilonGreedy must be in [0, 1], got 1.3 (hint: lower it)"
    assert error.parameter == "epsilon"
    assert isinstance(error, ValueError)


def test_a_message_without_a_hint_stays_as_it_is() -> None:
    assert str(errors.DataError("no rows")) == "no rows"
    assert str(errors.DataError("no rows", hint="add some")) == "no rows (hint: add some)"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("TactfulError", 1),
        ("ParameterError", 2),
        ("ConfigError", 4),
        ("DataError", 3),
        ("LogFormatError", 3),
        ("MissingPropensityError", 3),
        ("EligibilityError", 6),
        ("LearnError", 7),
        ("ArtefactError", 7),
        ("StorageError", 5),
        ("GateError", 8),
        ("UnsettledError", 9),
    ],
)
def test_exit_codes_are_those_of_the_drawn_tree(kind: str, code: int) -> None:
    error = getattr(errors, kind)
    assert error.exit_code == code
    assert issubclass(error, errors.TactfulError)
    drawn = next(line for line in (errors.__doc__ or "").splitlines() if kind in line)
    assert str(code) in drawn.split()
