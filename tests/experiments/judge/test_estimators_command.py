"""Every estimator through `tactful evaluate` and `tactful backtest`, on a simulated log that was decided uniformly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.ope.estimators.named import ESTIMATORS
from experiments.judge.shared_models import regressor_named
from tests.experiments.commands import refused, result, run, screen

ATTRIBUTES = ("evaluation.attributes=[channel,discount_depth]", "evaluation.logging=uniform")
# Simulated contacts have one of three motives; here it stands in for a logger, and all three are the same policy.
LOGGERS = ("evaluation.logger_column=context_motive",)
FAST = ("evaluation.folds=2",)


@dataclass(frozen=True)
class Trial:
    """A log of the uniform policy, and a policy that was trained in the same shop."""

    log: Path
    policy: Path


@pytest.fixture(scope="module")
def trial(demo, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    log = tmp_path_factory.mktemp("trial") / "log.parquet"
    world = ("scenario=newsletter", "scenario.catalog=small_shop", "scenario.attribution_window_days=1")
    run("simulate", "--out", log, *world, "policy=uniform", "contacts=1500", "days=3", "seed=5")
    return Trial(log, demo.policy)


def evaluated(trial, names, *overrides):
    policy = ("--policy", trial.policy)
    return run(
        "evaluate", "--log", trial.log, *policy, "--metric", "order", "--estimator", ",".join(names), *FAST, *overrides
    )


@pytest.fixture(scope="module")
def everything(trial):
    from engine.log.parquet import LogReader

    reader = LogReader(trial.log)
    motives = {str(v) for block in reader.rounds(extra=["context_motive"]) for v in block.extra["context_motive"]}
    policies = ", ".join(f"{motive}: uniform" for motive in sorted(motives))
    loggers = (*LOGGERS, f"+evaluation.loggers={{{policies}}}")
    return evaluated(trial, [*ESTIMATORS, "dros:30", "clipped:slope"], *ATTRIBUTES, *loggers)


def test_every_estimator_is_accepted(everything) -> None:
    assert everything["skipped"] == []
    assert [row["estimator"] for row in everything["results"]] == [*ESTIMATORS, "dros:30", "clipped:slope"]
    assert all(row["value"] is not None for row in everything["results"])


def test_like_loggers_change_nothing(trial, everything) -> None:
    ips, balanced = (result(everything, str(trial.policy), name) for name in ("ips", "balanced"))
    assert balanced["value"] == pytest.approx(ips["value"], rel=1e-9)


def test_attributes_have_a_support_of_their_own(trial, everything) -> None:
    ips, mips = (result(everything, str(trial.policy), name) for name in ("ips", "mips"))
    assert mips["ess"] > 2 * ips["ess"]
    assert mips["max_weight"] < ips["max_weight"]
    assert mips["stderr"] < ips["stderr"]
    assert any("chosen attributes alone" in note for note in mips["notes"])


def test_the_choice_of_slope_is_reported(trial, everything) -> None:
    for name in ("switch_dr", "dros", "drps", "sg_ips", "sg_dr", "clipped:slope"):
        assert any("chosen by SLOPE among" in note for note in result(everything, str(trial.policy), name)["notes"])


def test_without_what_they_need_they_are_skipped(trial) -> None:
    out = evaluated(trial, ["ips", "mips", "balanced", "weighted_dr"])
    assert {entry["estimator"] for entry in out["skipped"]} == {"mips", "balanced", "weighted_dr"}
    out = evaluated(trial, ["ips", "mips", "balanced", "weighted_ips"], *LOGGERS, ATTRIBUTES[0])
    assert {entry["estimator"] for entry in out["skipped"]} == {"mips", "balanced"}


def test_another_logging_policy_is_refused(trial) -> None:
    error, _ = refused(
        3,
        *("evaluate", "--log", trial.log, "--policy", "uniform", "--metric", "order", "--estimator", "mips"),
        *(ATTRIBUTES[0], f"evaluation.logging={trial.policy}"),
    )
    assert "did not decide this log" in error


def test_unknown_attributes_are_refused(trial) -> None:
    error, _ = refused(
        2,
        *("evaluate", "--log", trial.log, "--policy", "uniform", "--metric", "order", "--estimator", "mips"),
        *("evaluation.attributes=[colour]", ATTRIBUTES[1]),
    )
    assert "`attributes`" in error


def test_a_regressor_of_scikit_learn_is_the_reward_model(trial, everything) -> None:
    pytest.importorskip("sklearn")
    named = ("evaluation.regressor=sklearn.linear_model.Ridge", "+evaluation.regressor_options={alpha: 3.0}")
    out = evaluated(trial, ["dr", "mrdr"], *named)
    assert [row["estimator"] for row in out["results"]] == ["dr", "mrdr"]
    other = result(everything, str(trial.policy), "dr")
    assert out["results"][0]["value"] != other["value"]
    assert abs(out["results"][0]["value"] - other["value"]) < 2 * other["stderr"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("os.system", {}, "must name a class of scikit-learn"),
        ("sklearn.linear_model.NoSuch", {}, "is not there"),
        ("sklearn.linear_model.Ridge", {"alhpa": 1}, "no argument 'alhpa' .*did you mean 'alpha'"),
        ("sklearn.ensemble.StackingRegressor", {}, "missing a required argument"),
        ("sklearn.no_such_module.Ridge", {}, "cannot be imported"),
        ("sklearn.preprocessing.StandardScaler", {}, "no regressor"),
        ("sklearn.ensemble.RandomForestClassifier", {}, "no regressor: it lacks RegressorMixin"),
        ("sklearn.base.RegressorMixin", {}, "no regressor: it lacks BaseEstimator"),
        ("sklearn.utils.os.system", {}, "cannot be imported"),
        ("sklearn.os.system", {}, "cannot be imported"),
        ("sklearn.utils.shutil.rmtree", {}, "cannot be imported"),
        ("sklearn.datasets.clear_data_home", {"data_home": "FOLDER"}, "no class but a function"),
        ("sklearn.datasets.load_files", {"container_path": "FOLDER"}, "no class but a function"),
        ("sklearn.linear_model", {}, "no class but a module|is not there"),
        ("sklearn.utils.Path", {}, "is not there"),
        ("sklearn.datasets._base.Path", {}, "public modules"),
        ("sklearn.svm.__main__.Ridge", {}, "public modules"),
        ("sklearn.linear_model.__class__", {}, "public modules"),
        ("sklearn", {}, "must name a class of scikit-learn"),
        ("sklearnx.Ridge", {}, "must name a class of scikit-learn"),
        (".sklearn.Ridge", {}, "must name a class of scikit-learn"),
        ("sklearn..Ridge", {}, "public modules"),
        ("sklearn.linear_model.Ridge()", {}, "public modules"),
        ("sklearn.linear model.Ridge", {}, "public modules"),
        ("sklearn.linear_model.R\u0131dge", {}, "public modules"),
    ],
)
def test_regressors_are_checked(name, options, message, tmp_path) -> None:
    pytest.importorskip("sklearn")
    kept = tmp_path / "folder" / "kept"
    kept.mkdir(parents=True)
    options = {key: str(kept.parent) if value == "FOLDER" else value for key, value in options.items()}
    with pytest.raises(ConfigError, match=message):
        regressor_named(name, options)
    assert kept.is_dir()


def test_every_regressor_of_scikit_learn_can_be_had() -> None:
    pytest.importorskip("sklearn")
    for name in (
        "linear_model.Ridge",
        "ensemble.HistGradientBoostingRegressor",
        "svm.SVR",
        "tree.DecisionTreeRegressor",
    ):
        made = regressor_named(f"sklearn.{name}", {})
        assert type(made).__name__ == name.partition(".")[2]


def test_a_backtest_may_be_decided_by_another_estimator(trial, tmp_path) -> None:
    out = run(
        *("backtest", "--log", trial.log, "--metric", "order", "--out", tmp_path / "out"),
        *("estimators=[sg_ips,snips]", "deciding_estimator=sg_ips", "learner=mtr"),
    )
    assert {row["estimator"] for row in out["results"]} == {"sg_ips", "snips"}
    assert {row["estimator"] for row in out["comparisons"]} == {"sg_ips"}


@pytest.mark.parametrize(
    "overrides",
    [["estimators=[snips,ips]"], ["estimators=[dr,magic]"], ["estimators=[]"]],
    ids=["no dr", "unknown", "none"],
)
def test_a_backtest_refuses_what_it_cannot_decide_by(trial, tmp_path, overrides) -> None:
    refused(2, *("backtest", "--log", trial.log, "--metric", "order", "--out", tmp_path / "out", *overrides))


def asked(trial, *options: str) -> tuple[object, ...]:
    """An evaluation by IPS with options."""
    return (
        "evaluate",
        "--log",
        trial.log,
        "--policy",
        trial.policy,
        "--metric",
        "order",
        "--estimator",
        "ips",
        *options,
    )


def test_uplift_is_printed_where_it_is_asked_for(trial) -> None:
    """The uniform log sends one of several messages: its policy must be named. The baseline gives no distribution."""
    output = run(*asked(trial, "--uplift", "evaluation.logging=uniform"))
    (found,) = output["uplift"]
    assert found["policy"] == str(trial.policy)
    assert found["rows"] + found["left_out"] == output["results"][0]["n"]
    for name in ("everybody", "rule", "over_everybody", "auuc", "qini"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
    assert found["over_everybody"]["value"] == pytest.approx(found["rule"]["value"] - found["everybody"]["value"])
    shares = [point["share"] for point in found["curve"]]
    assert shares == sorted(shares)
    assert "several messages" in refused(3, *asked(trial, "--uplift"))[0]


def test_quantiles_are_printed_where_they_are_asked_for(trial) -> None:
    found = run(*asked(trial, "--quantiles", "0.1,0.999"))["quantiles"]
    assert list(found) == ["logged", str(trial.policy)]
    for quantiles in found.values():
        assert [one["level"] for one in quantiles] == [0.1, 0.999]
        assert all(one["low"] <= one["value"] <= one["high"] for one in quantiles)
    # Orders are rare: the lower quantile is no order.
    assert found["logged"][0]["value"] == 0.0
    for wrong in ("0", "1.5", "half"):
        assert "in (0, 1)" in refused(2, *asked(trial, "--quantiles", wrong))[0]


def test_both_have_a_table_on_the_screen_and_lines_in_the_report(trial, tmp_path: Path) -> None:
    given = ("--uplift", "--quantiles", "0.5", "--out", str(tmp_path / "out"), "evaluation.logging=uniform")
    shown = screen(*asked(trial, *given))
    for words in ("Qini", "rule - everybody", "quantiles of order, logged first"):
        assert words in shown
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in (f"Qini of {trial.policy}", "Quantile 0.5 under logged", "--quantiles 0.5 --uplift"):
        assert words in page


def test_neither_is_printed_where_nobody_asks(trial) -> None:
    assert not {"uplift", "quantiles"} & run(*asked(trial)).keys()
