"""A slip in an override is told with the full key, what was given, the nearest name and all that are allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError
from experiments.settings import compose_settings
from tests.experiments.cli.test_configuration import COMMANDS
from tests.experiments.commands import refused

# What nobody who writes an override has heard of.
FOREIGN = ("Hydra", "hydra", "OmegaConf", "pkg://", "full_key", "EOF", "Config", "Struct", "`int`", "`str`", "msgspec")


def error_of(command: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compose_settings(command, overrides, COMMANDS[command])
    said = f"{caught.value.message} {caught.value.hint}"
    assert not any(word in said for word in FOREIGN), said
    assert "\n" not in said
    return caught.value


@pytest.mark.parametrize(
    ("command", "override", "message", "hint"),
    [
        ("train", "lerner=parts", "train has no key `lerner`, got lerner=parts; its keys are learner", "`learner`"),
        ("train", "learner=partss", "`learner` of train must be one of auto, bag, ", "did you mean"),
        ("train", "learner=", "`learner` of train must be one of auto, bag, ", "docs/"),
        ("train", "learner=null", "`learner` of train must be one of auto, bag, ", "docs/"),
        ("train", "learner.pases=2", "`learner` has the keys cb_type, ", "`learner.passes`"),
        ("train", "learner.passes=abc", "`learner.passes` of train must be a whole number, got 'abc'", "docs/"),
        ("train", "learner.passes=null", "`learner.passes` of train must be a whole number, got None", "docs/"),
        ("train", "learner.passes.x=1", "`learner.passes` is a value, and has no keys", "docs/"),
        ("train", "learner.passes=[1", "'learner.passes=[1' of train is no override", "key=value"),
        ("train", "learner.passes=${nothing}", "`learner.passes` of train cannot be set by", "key=value"),
        ("train", "learner=dr,ips", "`learner` of train must be one value", "[a,b]"),
        ("train", "+learner=dr", "`learner` of train is set already", "leave out the +"),
        ("train", "learner@x=dr", "train has no group `learner@x`; its groups are audit, ", "'learner'"),
        ("train", "+foo", "'+foo' of train is no override", "key=value"),
        ("train", "foo", "'foo' of train is no override", "foo=VALUE"),
        ("train", "=5", "'=5' of train is no override", "key=value"),
        ("train", "+foo=1", "train has no key `foo`, got foo=1", "docs/"),
        ("train", "~foo", "train has no key `foo`, got ~foo", "docs/"),
        ("train", "~learner", "`learner` of train is missing", "docs/"),
        ("train", "++lerner.x=dr", "train has no key `lerner`", "`learner`"),
        (
            "decide",
            "guardrails=defalt",
            "must be one of default, full, journeys, permission, got 'defalt'",
            "'default'",
        ),
        (
            "evaluate",
            "evaluation.metrik=x",
            "evaluate has no key `evaluation.metrik`, got evaluation.metrik=x",
            "docs/",
        ),
        ("evaluate", "evalation.alpha=.1", "evaluate has no key `evalation.alpha`", "`evaluation.alpha`"),
        ("evaluate", "alpha=.1", "evaluate has no key `alpha`", "`evaluation.alpha`"),
        ("evaluate", "evaluation.alpha=7", "`evaluation.alpha` of evaluate must be in (0, 1), got 7.0", "docs/"),
        ("evaluate", "evaluation.interval=delt", "`evaluation.interval` of evaluate must be one of", "'delta'"),
        ("evaluate", "evaluation.loggers.a=b", "no yaml sets `evaluation.loggers.a`", "+evaluation.loggers.a="),
        ("backtest", "peers=[linuc]", "`peers` of backtest must be unique, among", "'linucb'"),
        ("backtest", "estimators=ips", "`estimators` of backtest must be a list, got 'ips'", "docs/"),
        ("join", "metrics.margin.windw_s=3", "`metrics.margin` has the keys ", "`metrics.margin.window_s`"),
        ("join", "+metrics.foo=3", "`metrics.foo` of join must be keys with values, got 3", "docs/"),
        ("join", "metrics.margin.window_s=x", "`metrics.margin.window_s` of join must be", "docs/"),
        ("experiment", "experiment=seasn", "`experiment` of experiment must be one of cap, ", "'season'"),
        ("simulate", "+fault@scenario=complant", "`fault@scenario` of simulate must be one of", "'complaint_spike'"),
        ("simulate", "contacts=many", "`contacts` of simulate must be a whole number, got 'many'", "docs/"),
    ],
)
def test_a_slip_is_told_in_words_of_the_writer(command: str, override: str, message: str, hint: str) -> None:
    error = error_of(command, override)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_the_nearest_key(command: str) -> None:
    keys = list(compose_settings(command, [], COMMANDS[command]).__struct_fields__)
    key = max(keys, key=len)
    slip = key[:-2] + key[-1] + key[-2] + "x"
    error = error_of(command, f"{slip}=1")
    assert f"`{slip}`" in error.message
    assert f"`{key}`" in error.hint
    assert all(one in error.message for one in keys)


def test_the_override_at_fault_is_named_among_others() -> None:
    """A key that only one option of a group has may stand before the option that brings it."""
    good = ["learner.search.rounds=9", "learner=auto", "exploration=softmax"]
    error = error_of("train", *good, "learner.pases=2")
    assert "got learner.pases=2" in error.message


def test_any_text_is_one_error_line() -> None:
    for text in ("@=1", "+=1", "~", "++", "a b=3", "learner={a: 1}", "learner=../train"):
        assert error_of("train", text).hint


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    arguments: list[Any] = ["--log", tmp_path / "x.parquet", "--metric", "m", "--out", tmp_path / "o"]
    message, hint = refused(4, "train", *arguments, "lerner=parts")
    assert message.startswith("train has no key `lerner`, got lerner=parts; its keys are learner, exploration, audit")
    assert hint.startswith("did you mean `learner`? ")
