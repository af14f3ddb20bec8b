"""Writes obp.json: the figures of obp and vw-estimators on three small seeded logs, with the logs.

    python -m venv env
    env/bin/pip install numpy==1.23.5 scipy==1.9.3 pandas==1.5.2 scikit-learn==1.1.3 pyyaml matplotlib tqdm
    env/bin/pip install --no-deps --ignore-requires-python obp==0.5.7 vw-estimators==0.2.2
    env/bin/python tests/engine/ope/golden/make_golden.py

obp 0.5.7 asks for Python below 3.11 and for torch 1.12. Its estimators of a policy's value use neither; torch, imported
for its learners, is replaced by an empty module here, and so are obp's packages that need seaborn and more.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import distribution, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

OUT = Path(__file__).with_name("obp.json")
N, K, GROUPS, SLOTS = 60, 5, 3, 3


def obp_ope() -> Any:
    """obp.ope without the rest of obp."""
    torch = ModuleType("torch")
    torch.Tensor = torch.tensor = type("Tensor", (), {})
    package = ModuleType("obp")
    package.__path__ = [str(distribution("obp").locate_file("obp"))]
    policy = ModuleType("obp.policy")
    policy.BasePolicy = policy.BaseContextFreePolicy = object
    for name in ("pyieoe", "seaborn", "pingouin"):
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules |= {"torch": torch, "obp": package, "obp.policy": policy}
    import obp.ope

    return obp.ope


def bandit_log(rng: np.random.Generator) -> dict[str, Any]:
    """One decision a row; actions 0-1, 2-3 and 4 share their attribute; two loggers."""
    strata = np.arange(N) % 3 // 2  # two thirds and one third
    loggers = rng.dirichlet(np.ones(K), size=(2, N)) * 0.9 + 0.1 / K
    target = rng.dirichlet(np.ones(K) * 0.5, size=N)
    logging = loggers[strata, np.arange(N)]
    action = np.array([rng.choice(K, p=row) for row in logging])
    reward = 0.3 * action + rng.random(N)
    model = 0.3 * np.arange(K) + 0.4 + 0.2 * rng.normal(size=(N, K))
    return {
        "action": action,
        "reward": reward,
        "logging": logging,
        "target": target,
        "model": model,
        "groups": np.array([0, 0, 1, 1, 2]),
        "loggers": loggers,
        "stratum": strata,
    }


def bandit_figures(ope: Any, log: dict[str, Any]) -> dict[str, float]:
    """obp's estimates of a bandit log."""
    rows = np.arange(N)
    propensity = log["logging"][rows, log["action"]]
    shares = np.bincount(log["stratum"]) / N
    mean_propensity = (shares[:, None] * log["loggers"][:, rows, log["action"]]).sum(axis=0)
    common = {"reward": log["reward"], "action": log["action"], "action_dist": log["target"][:, :, None]}
    common |= {"position": np.zeros(N, dtype=int)}
    single = common | {"pscore": propensity}
    model = {"estimated_rewards_by_reg_model": log["model"][:, :, None]}
    strata = single | {"stratum_idx": log["stratum"]}
    attributes = {
        "context": np.zeros((N, 1)),
        "pi_b": log["logging"][:, :, None],
        "action_embed": log["groups"][log["action"]][:, None],
        "p_e_a": np.eye(GROUPS)[log["groups"]][:, :, None],
    }
    made = {
        "ips": (ope.InverseProbabilityWeighting(), single),
        "clipped:2": (ope.InverseProbabilityWeighting(lambda_=2.0), single),
        "snips": (ope.SelfNormalizedInverseProbabilityWeighting(), single),
        "dm": (ope.DirectMethod(), common | model),
        "dr": (ope.DoublyRobust(), single | model),
        "drps:2": (ope.DoublyRobust(lambda_=2.0), single | model),
        "sndr": (ope.SelfNormalizedDoublyRobust(), single | model),
        "switch_dr:1.5": (ope.SwitchDoublyRobust(lambda_=1.5), single | model),
        "dros:3": (ope.DoublyRobustWithShrinkage(lambda_=3.0), single | model),
        "sg_ips:0.2": (ope.SubGaussianInverseProbabilityWeighting(lambda_=0.2), single),
        "sg_dr:0.2": (ope.SubGaussianDoublyRobust(lambda_=0.2), single | model),
        "mips": (ope.MarginalizedInverseProbabilityWeighting(n_actions=K), common | attributes),
        "smips": (ope.SelfNormalizedMarginalizedInverseProbabilityWeighting(n_actions=K), common | attributes),
        "balanced": (ope.MultiLoggersBalancedInverseProbabilityWeighting(), common | {"pscore_avg": mean_propensity}),
        "balanced_dr": (ope.MultiLoggersBalancedDoublyRobust(), common | model | {"pscore_avg": mean_propensity}),
        "weighted_ips": (ope.MultiLoggersWeightedInverseProbabilityWeighting(), strata),
    }
    return {name: float(np.mean(found._estimate_round_rewards(**given))) for name, (found, given) in made.items()}


def slope_choices(ope: Any, log: dict[str, Any], grids: dict[str, list[float]], delta: float) -> dict[str, float]:
    """The parameters that obp's SLOPE chooses; its half-widths are one-sided at delta, ours two-sided at 2 delta."""
    rows = np.arange(N)
    given = {
        "reward": log["reward"],
        "action": log["action"],
        "action_dist": log["target"][:, :, None],
        "pscore": log["logging"][rows, log["action"]],
        "position": np.zeros(N, dtype=int),
    }
    model = {"estimated_rewards_by_reg_model": log["model"][:, :, None]}
    families = {
        "clipped": (ope.InverseProbabilityWeightingTuning, {}),
        "drps": (ope.DoublyRobustTuning, model),
        "switch_dr": (ope.SwitchDoublyRobustTuning, model),
        "dros": (ope.DoublyRobustWithShrinkageTuning, model),
        "sg_ips": (ope.SubGaussianInverseProbabilityWeightingTuning, {}),
        "sg_dr": (ope.SubGaussianDoublyRobustTuning, model),
    }
    chosen = {}
    for name, (family, extra) in families.items():
        tuned = family(lambdas=grids[name], tuning_method="slope", delta=delta)
        chosen[name] = float(tuned._tune_hyperparam_with_slope(**given, **extra))
    return chosen


def slate_log(rng: np.random.Generator) -> dict[str, Any]:
    """Slates of three slots, each slot drawn on its own; a reward a slot."""
    logging, target = (rng.dirichlet(np.ones(K), size=(N, SLOTS)) * 0.8 + 0.2 / K for _ in range(2))
    action = np.array([[rng.choice(K, p=logging[i, s]) for s in range(SLOTS)] for i in range(N)])
    reward = rng.random((N, SLOTS)) + 0.2 * action
    return {
        "action": action,
        "reward": reward,
        "logging": logging,
        "target": target,
        "model": rng.random((N, SLOTS, K)),
    }


def slate_figures(ope: Any, log: dict[str, Any]) -> dict[str, float]:
    """obp's estimates of the sum of a slate's rewards."""
    rows, slots = np.arange(N)[:, None], np.arange(SLOTS)[None, :]
    ours, theirs = (log[name][rows, slots, log["action"]] for name in ("logging", "target"))
    common = {
        "slate_id": np.repeat(np.arange(N), SLOTS),
        "reward": log["reward"].ravel(),
        "position": np.tile(np.arange(SLOTS), N),
    }

    def flat(kind: str, values: np.ndarray) -> np.ndarray:
        if kind == "pscore":
            return np.repeat(values.prod(axis=1), SLOTS)
        return (values.cumprod(axis=1) if kind == "pscore_cascade" else values).ravel()

    def weights(kind: str) -> dict[str, np.ndarray]:
        return {kind: flat(kind, ours), f"evaluation_policy_{kind}": flat(kind, theirs)}

    cascade = common | weights("pscore_cascade")
    cascade |= {"action": log["action"].ravel(), "q_hat": log["model"].ravel()}
    cascade |= {"evaluation_policy_action_dist": log["target"].ravel()}
    made = {
        "standard": (ope.SlateStandardIPS(len_list=SLOTS), common | weights("pscore")),
        "independent": (ope.SlateIndependentIPS(len_list=SLOTS), common | weights("pscore_item_position")),
        "interaction": (ope.SlateRewardInteractionIPS(len_list=SLOTS), common | weights("pscore_cascade")),
        "cascade_dr": (ope.SlateCascadeDoublyRobust(len_list=SLOTS, n_unique_action=K), cascade),
    }
    return {name: float(found.estimate_policy_value(**given)) for name, (found, given) in made.items()}


def vw_figures(bandit: dict[str, Any], slates: dict[str, Any]) -> dict[str, float]:
    """vw-estimators' estimates of the same logs."""
    from estimators.bandits import ips, snips
    from estimators.slates import pseudo_inverse

    made = {"ips": ips.Estimator(), "snips": snips.Estimator()}
    for i, action in enumerate(bandit["action"]):
        for found in made.values():
            found.add_example(
                float(bandit["logging"][i, action]), float(bandit["reward"][i]), float(bandit["target"][i, action])
            )
    made["pseudo_inverse"] = pseudo_inverse.Estimator()
    for i, row in enumerate(slates["action"]):
        logged, asked = ([float(slates[name][i, s, a]) for s, a in enumerate(row)] for name in ("logging", "target"))
        made["pseudo_inverse"].add_example(logged, float(slates["reward"][i].sum()), asked)
    return {name: float(found.get()) for name, found in made.items()}


def plain(log: dict[str, Any]) -> dict[str, Any]:
    return {name: values.tolist() for name, values in log.items()}


def main() -> None:
    ope = obp_ope()
    rng = np.random.default_rng(2022)
    bandit, slates = bandit_log(rng), slate_log(rng)
    infinity = 1e12  # JSON has no infinity
    taus = [infinity, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2]
    harmonic = [0.0, 0.001, 0.01, 0.1, 0.3, 1.0]
    grids = {"clipped": taus, "drps": taus, "switch_dr": taus, "dros": taus, "sg_ips": harmonic, "sg_dr": harmonic}
    written = {
        "versions": {name: version(name) for name in ("obp", "vw-estimators", "numpy", "scipy", "scikit-learn")}
        | {"python": platform.python_version()},
        "bandit": {"log": plain(bandit), "obp": bandit_figures(ope, bandit)},
        "slope": {
            "grids": grids,
            "obp": {str(delta): slope_choices(ope, bandit, grids, delta) for delta in (0.025, 0.25, 0.35, 0.45)},
        },
        "slates": {"log": plain(slates), "obp": slate_figures(ope, slates)},
        "vw": vw_figures(bandit, slates),
    }
    OUT.write_text(json.dumps(written, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
