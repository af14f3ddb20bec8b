"""policies/parts/bags.py and what a learner of parts does with bags: draws by contact, folders, a safe policy."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.errors import ArtefactError, ParameterError
from engine.identity import keyed_hash
from engine.records.rounds import RoundBatch
from experiments.study.stage_worlds import CLICKED, MONEY, StageWorld, catalog, reward_range, schema
from policies.check import check_policy
from policies.exploring.config import ExplorationConfig
from policies.parts.bags import bag_counts, bagged
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.parts.regression import Rows, refit
from policies.trained import TrainedFolder, export_learner
from policies.vw.arguments import VwConfig
from policies.vw.scoring.compiled import CompiledPolicy
from policies.wrappers.safe import SafePolicy

QUICK = PartsConfig(smooth=False, ridges=(30.0,), worth_ridges=(300.0,), past=False, passes=8)
GREEDY = ExplorationConfig(kind="greedy")


def learnt(rounds: list[RoundBatch], parts: PartsConfig = QUICK, **changes) -> PartsLearner:
    config = VwConfig(parts=msgspec.structs.replace(parts, **changes))
    one = PartsLearner(catalog(), schema(), MONEY, reward_range(), config, GREEDY)
    one.learn(rounds)
    return one


@pytest.fixture(scope="module")
def log() -> list[RoundBatch]:
    return StageWorld().log(3000, seed=7)


@pytest.fixture(scope="module")
def made(log) -> PartsLearner:
    return learnt(log, safety="segments", bags=4)


def clicks(log: list[RoundBatch]) -> list[Rows]:
    sent = [batch.take(np.flatnonzero(batch.action > 0)) for batch in log]
    return [Rows(one.context, one.action, one.rewards[CLICKED], one.cluster) for one in sent]


def test_draws_are_poisson_and_by_contact() -> None:
    keys = keyed_hash(np.array([f"c{i}" for i in range(40_000)], dtype=object), "cluster")
    counts = bag_counts(keys, 0, 0)
    assert counts.mean() == pytest.approx(1.0, abs=0.02)
    assert counts.var() == pytest.approx(1.0, abs=0.04)
    assert (counts == 0).mean() == pytest.approx(np.exp(-1.0), abs=0.01)
    np.testing.assert_array_equal(bag_counts(keys[::-1], 0, 0)[::-1], counts)
    np.testing.assert_array_equal(bag_counts(np.repeat(keys[:9], 3), 0, 0), np.repeat(counts[:9], 3))
    for other in (bag_counts(keys, 1, 0), bag_counts(keys, 0, 1)):
        assert abs(np.corrcoef(counts, other)[0, 1]) < 0.03


def test_a_weight_is_a_row_that_often(log, made) -> None:
    """Importance weights give what rows that stand there more than once give."""
    fitted, rows = made.state.fitted["chance"], clicks(log)
    weighted = [replace(one, weight=1 + np.arange(one.n) % 3) for one in rows]
    repeated = [one.take(np.repeat(np.arange(one.n), 1 + np.arange(one.n) % 3)) for one in rows]
    first = refit(fitted, lambda: weighted, 8, made.config)
    second = refit(fitted, lambda: repeated, 8, made.config)
    np.testing.assert_allclose(first.base, second.base, atol=2e-3)
    np.testing.assert_allclose(first.arm, second.arm, atol=2e-3)
    assert np.abs(first.base - fitted.tables.base).max() > 0.01


def test_the_same_bytes_whatever_the_batches(log, made) -> None:
    whole = clicks(log)
    cut = [one.take(slice(start, start + 700)) for one in whole for start in range(0, one.n, 700)]
    fitted = made.state.fitted["chance"]
    first, second = (bagged(fitted, lambda rows=rows: rows, 2, 8, made.config, 0) for rows in (whole, cut))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.base, other.base)
        np.testing.assert_array_equal(one.arm, other.arm)
    assert (first[0].base != first[1].base).any()


def test_bags_leave_what_is_served_as_it_is(log, made) -> None:
    plain, context = learnt(log), log[0].context
    assert plain.state.bags == ()
    assert type(plain.policy()) is CompiledPolicy
    np.testing.assert_array_equal(plain.policy().scores(context), made.policy().scores(context))
    drawn = learnt(log, bags=2)
    assert type(drawn.policy()) is CompiledPolicy
    assert len(drawn.state.bags) == 2


@pytest.mark.slow
def test_bags_spread_as_far_as_logs_do(made) -> None:
    """The deviation of a chance over bags is that over logs drawn anew, within a factor of two."""
    people = StageWorld().people(200, seed=1)
    logs = [learnt(StageWorld().log(3000, seed=seed)).state for seed in range(20, 26)]
    x = made.state.encoder.encode(people.context())
    over_logs = np.std([one.tables.chance.scores(one.encoder.encode(people.context())) for one in logs], axis=0, ddof=1)
    bags = learnt(StageWorld().log(3000, seed=7), bags=6).state.bags
    over_bags = np.std([one.chance.scores(x) for one in bags], axis=0, ddof=1)
    assert 0.5 < over_bags[:, 1:].mean() / over_logs[:, 1:].mean() < 2.0


def test_a_safe_folder_serves_the_same(made, log, tmp_path) -> None:
    export_learner(made, tmp_path / "policy")
    trained = TrainedFolder(tmp_path / "policy")
    context, every = log[0].context, np.ones((log[0].n, 19), dtype=bool)
    for served in (trained.policy(), trained.compiled(), trained.scored()):
        assert isinstance(served, SafePolicy)
        assert served.name == "vw_parts_safe_greedy"
        np.testing.assert_array_equal(served.distribution(context, every), made.policy().distribution(context, every))
    check_policy(trained.policy(), catalog(), schema())
    bold = replace(made.policy(), shown=True)
    kept = bold.kept(context, every)
    assert 0.0 < kept.mean() < 1.0
    today = made.state.practice.distribution(context, every)
    np.testing.assert_array_equal(bold.distribution(context, every)[kept], today[kept])
    (tmp_path / "policy" / "practice.npz").write_bytes(b"nothing")
    with pytest.raises(ArtefactError):
        TrainedFolder(tmp_path / "policy").policy()


def test_what_other_contacts_do_not_show_is_not_left(log, made, tmp_path) -> None:
    """Some 150 clicks tell two policies apart in fewer than twenty decisions: the practice stays everywhere."""
    assert not made.state.shown
    assert "so it stays everywhere" in made.state.said[-1]
    context, every = log[0].context, np.ones((log[0].n, 19), dtype=bool)
    today = made.state.practice.distribution(context, every)
    export_learner(made, tmp_path / "policy")
    for served in (made.policy(), TrainedFolder(tmp_path / "policy").policy()):
        assert isinstance(served, SafePolicy)
        assert served.kept(context, every).all()
        np.testing.assert_array_equal(served.distribution(context, every), today)


def test_money_without_a_stage_has_bags_too(log, tmp_path) -> None:
    one = learnt(log, stage="", safety="segments", bags=4)
    export_learner(one, tmp_path / "policy")
    context, every = log[0].context, np.ones((log[0].n, 19), dtype=bool)
    served = TrainedFolder(tmp_path / "policy").policy()
    np.testing.assert_array_equal(served.distribution(context, every), one.policy().distribution(context, every))
    assert len({bag.money.base.tobytes() for bag in one.state.bags}) == 4


@pytest.mark.slow
def test_what_acts_past_the_stage_is_drawn_too() -> None:
    """Every text message brings a dollar, clicked or not."""
    log = []
    for batch in StageWorld(noise=0.1).log(6000, seed=3):
        by_text = (batch.action > 0) & (catalog().split(batch.action)[0] == 1)
        log.append(replace(batch, rewards={**batch.rewards, MONEY: batch.rewards[MONEY] + by_text}))
    state = learnt(log, past=True, bags=4).state
    assert any("past the stage; what does was added" in said for said in state.said)
    assert len({bag.money.arm.tobytes() for bag in state.bags}) == 4
    x = state.encoder.encode(log[0].context)
    for tables in (state.tables, *state.bags):
        text = tables.money.scores(x)[:, 7:13].mean() - tables.money.scores(x)[:, 1:7].mean()
        assert text == pytest.approx(1.0, abs=0.25)


@pytest.mark.slow
def test_the_practice_is_charged_as_the_parts_are() -> None:
    """An arm whose discount costs more than anything brings is no practice either."""
    arms = [
        msgspec.structs.replace(arm, discount_depth=0.5 if arm.id == "for_convenience" else 0.0)
        for arm in catalog().arms
    ]
    cheap = msgspec.structs.replace(catalog(), arms=tuple(arms))
    world = StageWorld()

    def arms_of(days: float) -> set[int]:
        parts = msgspec.structs.replace(QUICK, discount_days=days, safety="segments", bags=4)
        one = PartsLearner(cheap, schema(), MONEY, reward_range(), VwConfig(parts=parts), GREEDY)
        one.learn(world.log(3000, seed=7))
        context, every = world.people(500, 1).context(), np.ones((500, 19), dtype=bool)
        sent = one.state.practice.distribution(context, every).argmax(axis=1)
        return set(cheap.split(sent[sent > 0])[2].tolist())

    assert 2 in arms_of(0.0)
    assert 2 not in arms_of(50.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bags": -1}, "at least 0"),
        ({"bags": 3, "safety": "segments"}, "at least 4 with safety=segments"),
        ({"bags": 0, "safety": "segments"}, "leave it null"),
        ({"confidence": 0.5}, "above 0.5"),
        ({"confidence": float("nan")}, "above 0.5"),
    ],
)
def test_refusals(changes, said) -> None:
    with pytest.raises(ParameterError, match=said):
        PartsConfig(**changes)


@pytest.mark.slow
def test_a_safe_policy_loses_less_than_the_parts_alone() -> None:
    """Ten small logs of a weak world: what is lost against the practice, where anything is, is at most half."""
    world = StageWorld(strength=0.3)
    people = world.people(4000, seed=99)
    every, safe, plain = np.ones((people.n, 19), dtype=bool), [], []
    for seed in range(10):
        one = learnt(world.log(2000, seed), safety="segments", bags=8)
        chosen, today = (policy.distribution(people.context(), every) for policy in (one.policy(), one.state.practice))
        # What the parts alone would choose: a safe policy keeps their scores.
        alone = one.policy().scores(people.context())
        chosen, bold, today = (world.value(of.argmax(axis=1), people) for of in (chosen, alone, today))
        safe.append(chosen - today)
        plain.append(bold - today)
    assert np.minimum(safe, 0.0).sum() >= 0.5 * np.minimum(plain, 0.0).sum(), (safe, plain)
