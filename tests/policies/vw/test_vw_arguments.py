"""policies/vw/arguments.py: golden strings."""

from __future__ import annotations

import math

import pytest

from engine.errors import ParameterError
from policies.vw.arguments import VwConfig, continuing_arguments, learning_arguments, regression_arguments

ALL = "--interactions xc --interactions xh --interactions xa --interactions ch --interactions ca --interactions ha"


def test_learning():
    """mtr: 0.5 x 100 ** -0.5 = 0.05."""
    config = VwConfig(learning_rate=0.5)
    assert learning_arguments(config, 100) == f"--cb_adf --cb_type mtr -b 18 {ALL} -l 0.05 --power_t 0.5"
    assert continuing_arguments(config, 100) == "-l 0.05 --power_t 0.5"
    other = VwConfig(cb_type="dr", learning_rate=0.5, power_t=0.25, bit_precision=20, interactions=("xa",))
    expected = "--cb_adf --cb_type dr -b 20 --interactions xa -l 0.5 --power_t 0.25"
    assert learning_arguments(other, 100) == expected


def test_regression():
    batch = VwConfig(interactions=("xa", "ch"), ridge=2.0)
    flags = "--bfgs --predict_only_model --l2 2"
    assert regression_arguments(batch) == f"-b 18 --interactions xa --interactions ch {flags}"
    online = VwConfig(interactions=(), regression="sgd", learning_rate=0.3, regression_passes=1)
    assert regression_arguments(online) == "-b 18 -l 0.3 --power_t 0.5"


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"learning_rate": math.nan},
        {"power_t": 1.5},
        {"bit_precision": 9},
        {"bit_precision": 29},
        {"passes": 0},
        {"max_levels": 0},
        {"ridge": -1.0},
        {"regression_passes": 1},
        {"interactions": ("xx",)},
        {"interactions": ("xa", "xa")},
    ],
)
def test_refusals(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        VwConfig(**bad)
