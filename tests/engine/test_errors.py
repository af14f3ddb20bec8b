"""The tree of errors: template, hints, exit codes."""

from __future__ import annotations

import pickle

import msgspec
import numpy as np
import pytest
import yaml

from engine import errors
from engine.errors import placed, reason_of
from engine.files.documents import load_yaml


def test_the_parameter_template_names_everything() -> None:
    error = errors.ParameterError("epsilon", "EpsilonGreedy", allowed="in [0, 1]", got=1.3, hint="lower it")
    assert str(error) == "`epsilon` of EpsilonGreedy must be in [0, 1], got 1.3 (hint: lower it)"
    assert error.parameter == "epsilon"
    assert isinstance(error, ValueError)


def test_a_message_without_a_hint_stays_as_it_is() -> None:
    assert str(errors.DataError("no rows")) == "no rows"
    assert str(errors.DataError("no rows", hint="add some")) == "no rows (hint: add some)"


@pytest.mark.parametrize(
    "error",
    [
        errors.ParameterError("epsilon", "EpsilonGreedy", allowed="in [0, 1]", got=1.3, hint="lower it"),
        errors.LearnError("m", hint="h"),
    ],
)
def test_an_error_of_another_process_arrives_as_it_was(error: errors.TactfulError) -> None:
    made = pickle.loads(pickle.dumps(error))
    assert type(made) is type(error)
    assert (made.args, vars(made), str(made)) == (error.args, vars(error), str(error))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("TactfulError", 1),
        ("ParameterError", 2),
        ("ConfigError", 4),
        ("DataError", 3),
        ("LogFormatError", 3),
        ("MisnamedActionError", 3),
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


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (np.float64(3.0), "3.0"),
        (np.float32(0.5), "0.5"),
        (np.int64(-7), "-7"),
        (np.uint8(7), "7"),
        (np.str_("it's (x) \\ np"), '"it\'s (x) \\\\ np"'),
        (np.bytes_(b"a)"), "b'a)'"),
        (np.bool_(True), "True"),
        (np.float64("nan"), "nan"),
        (np.datetime64("2026-01-02"), "'2026-01-02'"),
        ([np.float64(1.5), {"a": np.int32(2)}, (np.str_("x"),)], "[1.5, {'a': 2}, ('x',)]"),
        (np.array([1, 2], dtype=np.int32), "[1, 2]"),
        (np.array(["a", "b)"]), "['a', 'b)']"),
        (np.arange(6.0).reshape(2, 3), "[[0., 1., 2.],\n       [3., 4., 5.]]"),
        (np.zeros(0, dtype=np.float32), "[]"),
        ("np.nothing", "'np.nothing'"),
        ("it is np.float64", "'it is np.float64'"),
        (None, "None"),
    ],
)
def test_values_are_shown_as_a_person_writes_them(got: object, words: str) -> None:
    error = errors.ParameterError("x", "y", allowed="z", got=got)
    assert str(error) == f"`x` of y must be z, got {words}"
    assert errors.DataError(f"got {got!r}", hint=f"not {got!r}").message == f"got {words}"
    assert errors.DataError("m", hint=f"not {got!r}").hint == f"not {words}"


def test_values_of_any_length_fit_into_an_error() -> None:
    assert str(errors.ParameterError("x", "y", allowed="z", got=10**5000)).endswith("got <int too long to show>")
    assert len(str(errors.ParameterError("x", "y", allowed="z", got="a" * 10**6))) < 400
    assert len(str(errors.DataError("a" * 10**6))) < 4100
    assert errors.plain("np.str_('" + "(" * 100_000).startswith("np.str_('((")


def test_the_template_knows_every_scalar_of_numpy() -> None:
    for kind in set(np.sctypeDict.values()) - {np.object_, np.void, np.datetime64}:
        assert "np." not in errors.shown(kind(1)), kind


def test_a_reason_has_no_numbers_and_no_temporary_names() -> None:
    gone = FileNotFoundError(2, "No such file or directory", "nodir/.x.parquet.123-0.part")
    assert reason_of(gone) == "No such file or directory"
    library = OSError(2, "Failed to open local file '.x.123-0.part'. Detail: [errno 2] No such file or directory")
    assert reason_of(library) == "No such file or directory"
    assert reason_of(ValueError("in 'a/.x.parquet.123-0.part', row 3")) == "in 'a/x.parquet', row 3"
    assert placed("a.b.1-2.part and .hidden stay") == "a.b.1-2.part and .hidden stay"


def test_a_reason_of_yaml_says_where_and_one_of_msgspec_what() -> None:
    with pytest.raises(yaml.YAMLError) as broken:
        load_yaml("a: [1\n")
    assert reason_of(broken.value).startswith("line 2, column 1: expected ',' or ']'")
    with pytest.raises(msgspec.ValidationError) as wrong:
        msgspec.convert({"a": "x"}, dict[str, int])
    assert reason_of(wrong.value).startswith("Expected a whole number, got a text")
