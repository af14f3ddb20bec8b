"""What a contact's own past says: counts that know nothing newer, priors by moments, and what the regression makes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.encoder import Encoder, MemoryCoding
from engine.errors import ParameterError
from engine.features import MISSING, PRESENT, Column, ContextBatch, FeatureSchema
from engine.records.rounds import RoundBatch
from engine.types import NOT_AN_INSTANT
from experiments.study import memory_worlds, stage_worlds
from experiments.study.memory_worlds import CLICKED, TasteWorld, learnt
from policies.explain import compare
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.parts.memory.columns import kinds, memory_features, with_memory
from policies.parts.memory.prior import codings_of
from policies.parts.memory.sums import Memory, weights
from policies.trained import TrainedFolder
from policies.vw.arguments import VwConfig
from tests.policies.parts.parts_worlds import SCHEMA, US_PER_DAY, catalog, learner, log

DAY_0 = 20_000 * US_PER_DAY


def learner_of(batches: list[RoundBatch], metric: str = CLICKED, **parts: Any) -> PartsLearner:
    """After a log: of clicks alone, in straight lines and few bits, which takes a fifth of the time."""
    given: dict[str, Any] = {"smooth": False, "ridges": (30.0,), "worth_ridges": (300.0,), "past": False, "recency": ""}
    config = VwConfig(parts=PartsConfig(**{**given, **parts}), bit_precision=14)
    limits = (0.0, 1.0) if metric == CLICKED else stage_worlds.reward_range()
    whole = with_memory(stage_worlds.schema(), stage_worlds.catalog(), CLICKED)
    greedy = ExplorationConfig(kind="greedy")
    made = PartsLearner(stage_worlds.catalog(), whole, metric, limits, config, greedy)
    made.learn(batches)
    return made


def rounds(*rows: tuple[int, float, int, float], propensity: float = 1.0 / 13.0) -> RoundBatch:
    """Rows of (contact, day, action, clicked), all 13 actions eligible."""
    contact, day, action, clicked = (np.array(each) for each in zip(*rows, strict=True))
    batch = log(len(rows))
    return replace(
        batch,
        cluster=contact.astype(np.uint64),
        decided_at=(DAY_0 + day * US_PER_DAY).astype(np.int64),
        action=action.astype(np.int32),
        propensity=np.full(len(rows), propensity),
        rewards={"clicked": clicked.astype(np.float64)},
    )


def counted(memory: Memory, contact: int, day: float) -> dict[str, float]:
    """The counts of a contact that are not 0."""
    found = memory.at(np.array([contact], dtype=np.uint64), np.array([DAY_0 + int(day * US_PER_DAY)]))
    return {name.removeprefix("memory.clicked."): float(one.values[0]) for name, one in found.items() if one.values[0]}


# Actions of the small shop: 1 + (channel * 2 + hour) * 3 + arm; hours 9 and 18, arms cheap, safe and sale.
EMAIL_9_CHEAP, EMAIL_18_SAFE, SMS_9_SALE = 1, 5, 9


def test_kinds_are_those_that_part_the_sends() -> None:
    """`brand` is the same for all arms, so it is left out; `category` and the arm itself part them otherwise."""
    found = {kind.name: kind.levels for kind in kinds(catalog())}
    assert found == {
        "all": ("all",),
        "channel": ("email", "sms"),
        "hour": ("morning", "evening"),
        "category": ("shoes", "books"),
        "motive": ("price", "trust"),
        "arm": ("cheap", "safe", "sale"),
    }


def test_of_two_attributes_that_part_alike_one_is_kept_and_odd_names_stay_apart() -> None:
    arms = tuple(Arm(id=f"arm {i}/", attributes={"tone": "a/b" if i else "a b", "mood": str(i)}) for i in range(2))
    odd = Catalog(name="odd", channels=("email",), hours=("now",), arms=arms)
    assert [kind.name for kind in kinds(odd)] == ["all", "mood"]
    names = [spec.name for spec in memory_features(odd, "was clicked?")]
    assert len(set(names)) == len(names) == 6
    tones = replace(kinds(odd)[1], levels=("a/b", "a b"))
    assert len(set(tones.features("clicked"))) == 2


def test_only_what_was_known_counts() -> None:
    """Known after three days: the click of day 0 counts from day 3 on, at that instant too."""
    memory = Memory(catalog(), "clicked", 3.0)
    memory.add(rounds((7, 0.0, EMAIL_9_CHEAP, 1.0), (7, 1.0, SMS_9_SALE, 0.0), (8, 0.0, EMAIL_18_SAFE, 1.0)))
    assert counted(memory, 7, 2.99) == {}
    assert counted(memory, 9, 9.0) == {}
    first = {"all.all", "channel.email", "hour.morning", "category.shoes", "motive.price", "arm.cheap"}
    assert counted(memory, 7, 3.0) == {f"{name}.{what}": 1.0 for name in first for what in ("hits", "sends")}
    later = counted(memory, 7, 4.0)
    assert (later["all.all.hits"], later["all.all.sends"]) == (1.0, 2.0)
    assert (later["motive.price.hits"], later["motive.price.sends"]) == (1.0, 2.0)
    assert (later.get("channel.sms.hits", 0.0), later["channel.sms.sends"]) == (0.0, 1.0)
    # The sale has no category.
    assert later["category.shoes.sends"] == 1.0


def test_a_decision_knows_neither_itself_nor_its_twin_of_the_same_instant() -> None:
    memory = Memory(catalog(), "clicked", 0.0)
    batch = rounds((7, 0.0, 1, 1.0), (7, 0.0, 1, 1.0), (7, 1.0, 1, 1.0))
    memory.add(batch)
    sends = memory.at(batch.cluster, batch.decided_at)["memory.clicked.all.all.sends"].values
    np.testing.assert_array_equal(sends, [0.0, 0.0, 2.0])


def test_holds_pending_undated_and_unusable_rows_are_not_remembered() -> None:
    batch = rounds((7, 0.0, 0, 0.0), (7, 0.0, 1, np.nan), (7, 0.0, 1, 1.0), (7, 0.0, 1, 1.0))
    at = batch.decided_at.copy()
    at[3] = NOT_AN_INSTANT
    memory = Memory(catalog(), "clicked", 0.0)
    kept = memory.add(replace(batch, usable=np.array([True, True, False, True]), decided_at=at))
    assert not kept.any()
    assert counted(memory, 7, 9.0) == {}
    undated = memory.at(batch.cluster[:1], np.array([NOT_AN_INSTANT]))["memory.clicked.all.all.hits"]
    assert undated.state.tolist() == [MISSING]
    assert np.isnan(undated.values).all()


def test_counts_are_the_same_bytes_however_the_log_was_cut() -> None:
    batch = log(2000, contacts=50)
    batch = replace(batch, propensity=np.random.default_rng(1).uniform(0.01, 1.0, 2000))
    whole, pieces = (Memory(catalog(), "clicked", 1.5) for _ in range(2))
    whole.add(batch)
    for start, stop in reversed(list(pairwise((0, 1, 700, 701, 2000)))):
        pieces.add(batch.take(slice(start, stop)))
    one = whole.at(batch.cluster, batch.decided_at)
    for name, column in one.items():
        rows = np.arange(1999, -1, -7)
        other = pieces.at(batch.cluster[rows], batch.decided_at[rows])[name]
        assert other.values.tobytes() == column.values[rows].tobytes(), name


def test_weights_are_inverse_propensities_cut_to_half_and_twice() -> None:
    found = weights(np.array([1.0 / 13.0, 1.0, 1e-9, np.nan, 0.8 / 13.0]), np.full(5, 13))
    np.testing.assert_array_equal(found, [1.0, 0.5, 2.0, 1.0, 1.25])


def test_weighted_sends_count_by_kishs_effective_number() -> None:
    """Weights 2 and 1/2, the heavy one a hit: n = 2.5^2 / 4.25, hits = n 2 / 2.5."""
    memory = Memory(catalog(), "clicked", 0.0)
    memory.add(rounds((7, 0.0, 1, 1.0), propensity=0.001))
    memory.add(rounds((7, 0.0, 1, 0.0), propensity=1.0))
    found = counted(memory, 7, 1.0)
    assert found["all.all.sends"] == pytest.approx(2.5**2 / 4.25)
    assert found["all.all.hits"] == pytest.approx(2.5**2 / 4.25 * 2.0 / 2.5)


@pytest.mark.parametrize("days", [-1.0, np.nan, np.inf])
def test_days_until_known_must_be_a_number(days: float) -> None:
    with pytest.raises(ParameterError, match="known_days"):
        Memory(catalog(), "clicked", days)


def two_counts(values: dict[str, list[float]], state: list[int]) -> ContextBatch:
    specs = {spec.name: spec for spec in memory_features(catalog(), "clicked")}
    schema = FeatureSchema(features=tuple(specs[name] for name in values))
    shown = np.array(state, dtype=np.uint8)
    return ContextBatch(schema, {name: Column(np.array(own), shown) for name, own in values.items()}, len(state))


def test_the_coding_is_the_log_of_the_posterior_mean() -> None:
    """All: (3 + 2) / (20 x 0.1 + 2) = 1.25. E-mail: (2 + 4) / (10 x 0.2 x 1.25 + 4) = 6 / 6.5. Missing: 0."""
    whole = MemoryCoding("memory.clicked.all.all.hits", "memory.clicked.all.all.sends", 0.1, 2.0)
    email = MemoryCoding("memory.clicked.channel.email.hits", "memory.clicked.channel.email.sends", 0.2, 4.0, whole)
    names = (whole.name, whole.sends, email.name, email.sends)
    context = two_counts(dict(zip(names, ([3.0] * 2, [20.0] * 2, [2.0] * 2, [10.0] * 2), strict=True)), [PRESENT, 1])
    encoder = Encoder(context.schema.version, (whole, email))
    expected = [[np.log(1.25), np.log(6.0 / 6.5)], [0.0, 0.0]]
    np.testing.assert_allclose(encoder.encode(context), expected, rtol=1e-6)
    assert msgspec.convert(encoder.to_builtins(), Encoder) == encoder


def counts_of(n: int, shape: float, by_channel: float, seed: int) -> list[RoundBatch]:
    """n contacts after 20 sends on each channel, with gamma factors of their own."""
    rng = np.random.default_rng(seed)
    own = rng.gamma(shape, 1.0 / shape, n) if shape else np.ones(n)
    taste = rng.gamma(by_channel, 1.0 / by_channel, (2, n)) if by_channel else np.ones((2, n))
    hits = rng.binomial(20, np.minimum(0.08 * own * taste, 1.0)).astype(np.float64)
    sends = np.full(n, 20.0)
    values = dict.fromkeys((spec.name for spec in memory_features(catalog(), "clicked")), np.zeros(n))
    head = "memory.clicked"
    values |= {f"{head}.all.all.hits": hits.sum(axis=0), f"{head}.all.all.sends": 2.0 * sends}
    for name, channel in zip(("email", "sms"), hits, strict=True):
        values |= {f"{head}.channel.{name}.hits": channel, f"{head}.channel.{name}.sends": sends}
    batch, state = log(n), np.full(n, PRESENT, dtype=np.uint8)
    columns = {**batch.context.columns, **{name: Column(own, state) for name, own in values.items()}}
    return [replace(batch, context=ContextBatch(with_memory(SCHEMA, catalog(), "clicked"), columns, n))]


def test_strengths_are_found_by_moments() -> None:
    """The factor of all sends has variance 1/2, and the channels' 1/3 each: they add to that of all, half of 1/3."""
    found = {
        one.name.split(".")[2]: one.strength for one in codings_of(counts_of(20_000, 2.0, 3.0, 1), catalog(), "clicked")
    }
    assert found["channel"] == pytest.approx(3.0, rel=0.15)
    assert 1.0 / found["all"] == pytest.approx(1.5 * 7.0 / 6.0 - 1.0, rel=0.15)
    assert "motive" not in found


def test_where_contacts_are_alike_little_or_nothing_is_coded() -> None:
    found = [codings_of(counts_of(5000, 0.0, 0.0, seed), catalog(), "clicked") for seed in range(6)]
    strengths = [one.strength for codings in found for one in codings]
    assert min(strengths, default=np.inf) > 20.0
    assert any(not codings for codings in found)


def test_without_counts_or_hits_nothing_is_coded() -> None:
    assert codings_of([log(100)], catalog(), "clicked") == ()
    assert codings_of([], catalog(), "clicked") == ()
    assert codings_of(counts_of(3, 0.0, 0.0, 1), catalog(), "clicked") == ()


@pytest.fixture(scope="module")
def tasty() -> list[RoundBatch]:
    """Contacts who click on one channel or another, whatever their features say."""
    return TasteWorld(by_channel=1.5, more=1.2).log(300, 14, 1)


@pytest.fixture(scope="module")
def remembers(tasty: list[RoundBatch]) -> PartsLearner:
    return learner_of(tasty, stage_worlds.MONEY)


def test_lasting_tastes_are_remembered(remembers: PartsLearner) -> None:
    chance = remembers.state.fitted["chance"]
    assert "channel" in {one.kind.name for one in chance.terms.memory}
    assert chance.recalled is not None
    assert chance.recalled[0] > 2.0 * chance.recalled[1]
    assert chance.parity < 1e-4
    assert any(said.startswith("The chance of clicked remembers") for said in remembers.state.said)
    said = remembers.state.summary()["parts"]
    assert said["chance"]["memory"]["channel"] < 10.0
    assert said["worth"]["memory"] == {}


def test_hits_by_email_raise_the_chance_of_the_next_email_alone(
    remembers: PartsLearner, tasty: list[RoundBatch]
) -> None:
    context = tasty[0].context.take(slice(0, 4))

    def told(hits: float) -> np.ndarray:
        names = {"memory.clicked.channel.email": (hits, 12.0), "memory.clicked.channel.sms": (0.0, 12.0)}
        columns = dict(context.columns)
        for name, counts in names.items():
            for what, count in zip(("hits", "sends"), counts, strict=True):
                columns[f"{name}.{what}"] = Column(np.full(4, count), np.zeros(4, dtype=np.uint8))
        return remembers.state.fitted["chance"].all(replace(context, columns=columns))

    usual, liked = told(1.0), told(5.0)
    channel = np.repeat(np.arange(3), 6)
    assert (liked[:, 1:][:, channel == 0] > 1.2 * usual[:, 1:][:, channel == 0]).all()
    np.testing.assert_array_equal(liked[:, 1:][:, channel != 0], usual[:, 1:][:, channel != 0])


def test_explanations_name_the_memory(remembers: PartsLearner, tasty: list[RoundBatch]) -> None:
    last = tasty[-1].context
    liveliest = np.array([int(last.columns[f"memory.{CLICKED}.all.all.hits"].values.argmax())])
    found = compare(remembers.policy(), last.take(liveliest), 1, 0)
    assert sum(part.value for part in found.parts) == pytest.approx(found.difference)
    assert found.by(lambda part: part.signal_group)["memory"] != 0.0


def test_the_folder_scores_alike(remembers: PartsLearner, tasty: list[RoundBatch], tmp_path: Path) -> None:
    remembers.export(tmp_path / "policy")
    context = tasty[-1].context
    read = TrainedFolder(tmp_path / "policy").compiled()
    np.testing.assert_array_equal(read.scores(context), remembers.policy().scores(context))


def test_memory_is_off_where_it_is_told_to_be_and_counts_are_then_no_features(tasty: list[RoundBatch]) -> None:
    policy = learner_of(tasty, memory=False).policy()
    last = tasty[-1].context
    blank = {name: column for name, column in tasty[0].context.columns.items() if name.startswith("memory.")}
    other = replace(last, columns={**last.columns, **blank})
    np.testing.assert_array_equal(policy.scores(last), policy.scores(other))


def test_without_tastes_it_is_off_and_costs_nothing() -> None:
    log_ = TasteWorld().log(300, 14, 2)
    chosen, without = learner_of(log_), learner_of(log_, memory=False)
    assert chosen.state.fitted["chance"].terms.memory == ()
    assert any("it is left out" in said for said in chosen.state.said)
    context = log_[-1].context
    np.testing.assert_allclose(chosen.policy().scores(context), without.policy().scores(context), atol=1e-6)


def test_memory_without_counts_is_refused() -> None:
    with pytest.raises(ParameterError, match="`memory` of PartsConfig must be true where the log has counts"):
        learner(memory=True)


def test_a_count_is_no_recency() -> None:
    with pytest.raises(ParameterError, match="recency"):
        learner_of([], recency=f"memory.{CLICKED}.all.all.sends")


@pytest.mark.study
def test_memory_earns_more_where_tastes_last() -> None:
    """Greedy on new contacts over 30 days: memory earns more on tastes of channel; see docs/memory.md."""
    world = memory_worlds.WORLDS["channel"]
    log_ = world.log(2500, 20, 1)
    earned = {memory: world.earned(learnt(log_, memory=memory).policy(), 2000, 30, 1001) for memory in (None, False)}
    assert earned[None] > earned[False] + 0.005
