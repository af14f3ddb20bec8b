"""The learner of parts: what a message is worth = chance of a stage x its worth - costs - losses - a discount's charge.

The money of a decision is mostly orders that come by themselves: fitted directly, its noise drowns the effect of a
message. A stage on the way (a click, a visit, a reply) is some twenty times as frequent and far less noisy, so the gain
of a send a over hold is put together:

    gain(x, a) = chance(x, a) worth(x, a) + past(x, a) - cost(a) - sum over losses of lost(x, a) price - charge(a)

This is the surrogate index of Athey, Chetty, Imbens & Kang (NBER 26463, 2019, equation 3.1); it holds where messages
act through the stage alone. What acts past it is looked for in what the parts leave over: by context where held-out
rows show it by four standard errors, else by channel and arm, shrunk. Without a stage the money itself is regressed,
pooled and shrunk, by the same held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder, MemoryCoding, SmoothCoding, fit_encoder, smooth_encoder
from engine.errors import ArtefactError, LearnError, ParameterError
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.names import did_you_mean
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, FloatArray
from policies.exploring.config import ExplorationConfig
from policies.parts.bags import assembled_bags, bagged
from policies.parts.config import AUTO, PartsConfig
from policies.parts.folder import PRACTICE, PartsManifest, stored_bags
from policies.parts.frequency.choice import Subject, frequency
from policies.parts.leftover import leftover_by_arm
from policies.parts.log import PartsLog, Tally, is_send, missed, reached
from policies.parts.memory.columns import GROUP, require_counts
from policies.parts.memory.prior import codings_of, recalls, remembered_words, without_memory
from policies.parts.permission import OpenUntil, prices
from policies.parts.practice import left_words, safe_policy, shown, tuned_practice
from policies.parts.regression import Choice, Fitted, Kind, Stream, regress
from policies.parts.tables import Loss, PartTables, over_hold, zero_tables
from policies.parts.terms import Terms, matches
from policies.peers.segments import StaticSegments
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.responses import ResponseModel, notes_of
from policies.vw.rows import repeatable
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables
from policies.wrappers.safe import SafePolicy

# With fewer stages that were reached their worth cannot be told from that of any other decision.
LEAST_STAGES: Final = 20
PARITY_LIMIT: Final = 1e-4
SENDING: Final = "sending"
# Contexts that are held in memory to place the knots of curves, and to price a permission.
_SAMPLE_ROWS: Final = 131_072
# Pairs among which held-out rows choose. A chance begins with those of context and action, which the penalty shrinks to
# nothing where there is nothing: few events cannot tell, and without pairs everybody would get the same message.
_CHANCE_PAIRS: Final = (
    *(("xc", "xh", "xa", "ca"), (), ("xc", "ca"), ("xc", "xt")),
    ("xc", "xh", "xa", "xt", "ch", "ca", "ha"),
)
_MONEY_PAIRS: Final = ((), ("xc",), ("xc", "xh", "xa", "ca"))
_CLEAR: Final = 2.0
# By how many standard errors held-out rows have to show that messages act past the stage, by context: such a regression
# of money is noisy, and costs more than it brings where the terms and penalties tried were merely lucky.
_PAST_ERRORS: Final = 4.0

# (C, K) USD that every send is lowered by, and what it is.
Fees = tuple[tuple[FloatArray, str], ...]


@dataclass(frozen=True)
class PartsState:
    """Everything that was learnt.

    Attributes:
        encoder: of the context.
        tables: the parts.
        fitted: every regression, by the name of its part.
        tally: of the rounds.
        stage: the metric that was taken as the stage; "" for none.
        charge: (K,) USD that a stage's chance of each arm's discount costs in later orders.
        said: sentences on what was chosen, and why.
        bags: the parts in every bag, without losses, which are the same in all of them.
        practice: what is left only where the bags agree; None without safety.
        shown: whether contacts that were not learnt from show that leaving the practice pays.
        frequency: the rules of waiting that were tried, as plain data.
    """

    encoder: Encoder
    tables: PartTables
    fitted: dict[str, Fitted]
    tally: Tally
    stage: str
    charge: FloatArray
    said: tuple[str, ...] = field(default=())
    bags: tuple[PartTables, ...] = ()
    practice: StaticSegments | None = None
    shown: bool = True
    frequency: dict[str, Any] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        return self.tally.rounds

    def summary(self) -> dict[str, Any]:
        """What was chosen, as plain data, for a manifest and a report."""
        return {
            "stage": self.stage,
            "sends": self.tally.sends,
            "stages": self.tally.stages,
            "said": list(self.said),
            "frequency": self.frequency,
            "discount_charge_usd": self.charge.tolist(),
            "prices_usd": {loss.name: loss.price.tolist() for loss in self.tables.losses},
            "parts": {
                name: {
                    "rows": part.rows,
                    "mean": part.mean,
                    "interactions": list(part.interactions),
                    "ridge": part.ridge if np.isfinite(part.ridge) else None,
                    "smooth": any(isinstance(one, SmoothCoding) for one in part.terms.encoder.codings),
                    "held_out_gain": None if part.gain is None else list(part.gain),
                    "memory": {one.kind.name: one.strength for one in part.terms.memory},
                    "memory_gain": None if part.recalled is None else list(part.recalled),
                }
                for name, part in self.fitted.items()
            },
        }


class PartsLearner:
    """Learns parts (`engine.protocols.Learner`) and hands out a compiled policy.

    Args:
        catalog: the actions.
        schema: the features of every context.
        metric: the money to maximise.
        reward_range: declared (low, high) of the metric; rewards outside are refused.
        config: with `parts`.
        exploration: of the policies handed out, one that explores by scores.

    Raises:
        ParameterError: a configuration without parts, an exploration by votes, `recency` that is no numeric feature, or
            `memory` where the schema has no counts.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        config: VwConfig,
        exploration: ExplorationConfig | None = None,
        state: PartsState | None = None,
    ) -> None:
        self.catalog, self.schema, self.metric = catalog, schema, metric
        self.reward_range, self.config = reward_range, config
        self.exploration = exploration or ExplorationConfig()
        if config.parts is None or self.exploration.votes:
            raise ParameterError(
                "config",
                "PartsLearner",
                allowed="with `parts`, and an exploration by scores",
                got=self.exploration.kind,
            )
        self._parts = config.parts
        numeric = {spec.name for spec in schema.features if spec.type == "numeric" and spec.signal_group != GROUP}
        named = self._parts.recency
        if named not in (AUTO, "", *numeric):
            hint = f"{did_you_mean(named, numeric)}the schema has {', '.join(sorted(numeric)) or 'none'}"
            raise ParameterError(
                "recency", "PartsConfig", allowed='a numeric feature, "auto" or ""', got=named, hint=hint
            )
        if self._parts.memory:
            require_counts(schema)
        self._state = state

    @property
    def policy_name(self) -> str:
        safe = "safe_" if self._parts.safety else ""
        return f"vw_parts_{safe}{self.exploration.kind}"

    @property
    def state(self) -> PartsState:
        """What was learnt.

        Raises:
            LearnError: nothing yet.
        """
        if self._state is None:
            raise LearnError("nothing has been learnt yet", hint="call learn first")
        return self._state

    def policy(self) -> CompiledPolicy:
        """The policy learnt so far, compiled; with `safety` it leaves the practice only where the bags agree.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        state = self.state
        plain = (self.catalog, state.encoder, state.tables, self.exploration, state.rounds, self.policy_name)
        if state.practice is None:
            return CompiledPolicy(*plain)
        confidence = self._parts.confidence
        return SafePolicy(*plain, bags=state.bags, practice=state.practice, confidence=confidence, shown=state.shown)

    def export(
        self,
        folder: Path,
        *,
        source: dict[str, Any] | None = None,
        responses: Sequence[ResponseModel] = (),
        rows: TrainingRows | None = None,
    ) -> PartsManifest:
        """Write the parts as a trained folder (`policies.manifest.Exporting`).

        Args:
            folder / source / rows: as there.
            responses: models of p_respond and p_unsub to keep beside the policy.

        Raises:
            LearnError: nothing has been learnt.
            ArtefactError: a table differs from Vowpal Wabbit's own predictions by more than 1e-4 x max(1, width of the
                reward range); then nothing is written.
            StorageError: the disk refused a write.
        """
        state = self.state
        low, high = self.reward_range
        measured = max((part.parity for part in state.fitted.values()), default=0.0)
        limit = PARITY_LIMIT * max(1.0, high - low)
        if not measured <= limit:
            raise ArtefactError(
                f"a part's scores differ from Vowpal Wabbit's by {measured:.3g}, allowed is {limit:.3g}",
                hint="raise learner.parts.ridges: weights this large point to a model that follows noise",
            )
        stored = state.tables.stored() | stored_bags(state.bags, state.tables)
        manifest = PartsManifest(
            catalog=self.catalog,
            features=self.schema,
            encoder=state.encoder,
            metric=self.metric,
            reward_range=self.reward_range,
            rounds=state.tally.rounds,
            centre=0.0,
            unit=1.0,
            source=source or {},
            config=self.config,
            eligible_sum=state.tally.eligible,
            skipped=state.tally.skipped,
            exploration=self.exploration,
            parity=measured,
            name=self.policy_name,
            made_with={"vowpalwabbit": wall.VERSION, "numpy": np.__version__},
            responses=notes_of(responses),
            tables=tuple(stored),
            losses={loss.name: tuple(loss.price.tolist()) for loss in state.tables.losses},
            stage=state.stage,
            fees={name: tuple(map(tuple, fee.tolist())) for name, fee in state.tables.fees.items()},
            parts=state.summary(),
            bags=len(state.bags),
            practice=None if state.practice is None else state.practice.segmentation.cuts,
            shown=state.shown,
            waiting=None if state.tables.waiting is None else state.tables.waiting.to_builtins(),
        )

        def write(part: Path) -> None:
            for name, tables in stored.items():
                tables.save(part / f"{name}.npz")
            for name, fitted in state.fitted.items():
                (part / f"{name}.vw").write_bytes(fitted.model)
            if state.practice is not None:
                state.practice.save(part / PRACTICE)
            for response in responses:
                response.tables.save(part / response.note.file)

        return manifest.publish(folder, write, rows)

    def learn(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn from rounds, anew: every part is a fit to all of them.

        Args:
            rounds: with the metrics that `PartsConfig` names beside the money; they are read many times, so give a list
                or an object whose `__iter__` starts anew.

        Raises:
            LearnError: a reward outside the declared range, no usable round, or a failure of Vowpal Wabbit. The learner
                is then as it was.
        """
        log = PartsLog(repeatable(rounds), self.catalog, self.metric, self.reward_range, self._parts)
        self._state = _learnt(log, self.schema, self.config, self._parts)


def _learnt(log: PartsLog, schema: FeatureSchema, config: VwConfig, parts: PartsConfig) -> PartsState:
    tally = log.tally
    line = without_memory(fit_encoder(schema, (batch.context for batch in log.batches()), config.max_levels))
    sample = log.first(_SAMPLE_ROWS)
    curve = smooth_encoder(line, (batch.context for batch in sample), parts.pieces)
    encoders = {None: (line, curve), False: (line,), True: (curve,)}[parts.smooth]
    terms = _terms(log, schema, dict.fromkeys(encoders), parts, enough=tally.stages >= LEAST_STAGES)
    build = _Build(log, terms, tally, config, parts)
    if not log.stage or tally.stages < LEAST_STAGES:
        state = build.by_money()
    else:
        state = build.by_event() if log.stage == log.metric else build.by_stage(sample)
    if not parts.safety:
        return state
    practice = tuned_practice(log, state, log.catalog, schema, parts)
    policy = safe_policy(log.catalog, state.encoder, state.tables, state.rounds, state.bags, practice, parts)
    found = shown(policy, state.tables, log, parts)
    said = left_words(replace(policy, shown=bool(found)), practice, sample, found)
    return replace(state, practice=practice, shown=bool(found), said=(*state.said, said))


def _terms(
    log: PartsLog, schema: FeatureSchema, encoders: Iterable[Encoder], parts: PartsConfig, *, enough: bool
) -> list[Terms]:
    """Terms of every encoder; where the context holds counts of the contact's own past, with and without memory."""
    past: tuple[MemoryCoding, ...] = ()
    if (
        parts.memory is not False
        and log.stage
        and enough
        and any(spec.signal_group == GROUP for spec in schema.features)
    ):
        past = codings_of(log.whole_contacts(parts), log.catalog, log.stage)
    wide = [msgspec.structs.replace(one, codings=(*one.codings, *past)) for one in encoders]
    plain = [
        Terms(log.catalog, one, matches(log.catalog, one, parts.match), straight=straight)
        for one in wide
        # A curve of the context's own is tried before curves for every channel and arm.
        for straight in ((True, False) if one.hats else (False,))
    ]
    if not past:
        return plain
    remembering = [replace(one, memory=recalls(one.encoder, log.catalog, log.stage)) for one in plain]
    return remembering if parts.memory else plain + remembering


class _Build:
    """Fits the parts, one after the other. The first one chooses between lines and curves for all of them."""

    def __init__(self, log: PartsLog, terms: list[Terms], tally: Tally, config: VwConfig, parts: PartsConfig) -> None:
        self.log, self.terms, self.tally, self.config, self.parts = log, terms, tally, config, parts
        self.fitted: dict[str, Fitted] = {}
        self.streams: dict[str, Stream] = {}
        self.said: list[str] = []

    def by_stage(self, sample: list[RoundBatch]) -> PartsState:
        """Chance x worth, what acts past the stage, costs, losses and the charge of discounts."""
        stage = self.log.stage
        chance = self._chance()
        whole = replace(chance.terms, memory=())
        alone = replace(whole, actions=False)
        held = self._held(alone)
        organic = self._organic(alone, lambda batch: missed(batch, stage))
        worth = self._fit(
            "worth",
            self.log.rows(
                lambda batch: reached(batch, stage) & (is_send(batch) | (held is not None)),
                lambda batch: self._money(batch) - organic.own(batch.context, batch.action),
            ),
            "money",
            [alone, whole],
            ((),),
            self.parts.worth_ridges,
        )
        valued, worths = self._valued(worth, organic)
        tables = PartTables(chance.tables, worths, zero_tables(chance.tables), (), held, stage)
        tables = replace(tables, money=self._past(whole, alone, organic, tables, valued=valued))
        acts_past = bool(tables.money.arm.any() or tables.money.channel.any())
        gain = self._gain(tables, whole.encoder, sample)
        tables = replace(tables, losses=self._losses(whole, gain))
        charge = self._charge()
        fees = ((self._costs(), SENDING), (charge * self.tally.opened[:, None], "discount"))
        bags = self._bags(tables, "past" if acts_past else "", fees)
        tables = _less(tables, fees)
        found = frequency(
            Subject(self.log.whole_contacts(self.parts), whole, tables, stage, self.log.metric), self.parts
        )
        said = (*self.said, *found.said)
        tables = replace(tables, waiting=found.waiting)
        bags = tuple(replace(one, waiting=found.waiting) for one in bags)
        return PartsState(
            whole.encoder, tables, self.fitted, self.tally, stage, charge, said, bags, frequency=found.summary
        )

    def _valued(self, worth: Fitted, organic: Fitted) -> tuple[bool, ScoreTables]:
        """Whether the stage is worth anything, and its worth: with what channels and arms have over each other, shrunk.

        A stage whose mean worth is not two of its errors above 0 says nothing of the money; then none counts.
        """
        money = np.concatenate([rows.target for rows in self.streams["worth"]()])
        if not money.mean() > _CLEAR * money.std() / np.sqrt(len(money)):
            self.said.append(f"The stage {self.log.stage} is not seen to be worth anything, so it counts for nothing.")
            return False, zero_tables(worth.tables)
        if worth.terms.actions:
            return True, worth.tables
        left = self.log.rows(
            lambda batch: reached(batch, self.log.stage) & is_send(batch),
            lambda batch: (
                self._money(batch) - organic.own(batch.context, batch.action) - worth.own(batch.context, batch.action)
            ),
        )
        by_arm = leftover_by_arm(left, self.log.catalog, over_hold=False)
        return True, replace(worth.tables, channel_arm=(worth.tables.channel_arm + by_arm).astype(np.float32))

    def by_event(self) -> PartsState:
        """The chance of the event that is maximised itself: it is worth one, whatever else it costs."""
        chance = self._chance()
        one = zero_tables(chance.tables)
        one = replace(one, base=np.append(one.base[:-1], np.float32(1.0)))
        held = self._held(replace(chance.terms, actions=False, memory=()))
        tables = PartTables(chance.tables, one, zero_tables(chance.tables), (), held, self.log.stage)
        self.said.append("What is maximised happens or does not, so its chance is modelled.")
        no_charge = np.zeros(len(self.log.catalog.arms))
        bags = self._bags(tables, "", ())
        return PartsState(
            chance.terms.encoder, tables, self.fitted, self.tally, self.log.stage, no_charge, tuple(self.said), bags
        )

    def _chance(self) -> Fitted:
        """The chance of the stage: it alone may remember the contact."""
        stage = self.log.stage
        chance = self._fit("chance", self._events(stage), "chance", self.terms, _CHANCE_PAIRS, self.parts.ridges)
        if self.parts.memory or any(one.memory for one in self.terms):
            self.said.append(remembered_words(chance.terms.memory, chance.recalled, stage))
        return chance

    def _held(self, alone: Terms) -> ScoreTables | None:
        """Log odds that the stage is reached without a message; None where that is too rare to tell."""
        if self.tally.held_stages < LEAST_STAGES:
            return None
        return self._fit(
            "held", self._events(self.log.stage, sent=False), "chance", [alone], ((),), self.parts.ridges
        ).tables

    def by_money(self) -> PartsState:
        """The money itself: regressed on context and action, by as many terms as held-out rows ask for."""
        every = lambda batch: np.ones(batch.n, dtype=np.bool_)  # noqa: E731 - a mask of all rows
        money = self._fit(
            "money", self.log.rows(every, self._money), "money", self.terms, _MONEY_PAIRS, self.parts.worth_ridges
        )
        stage, sends = self.log.stage, self.tally.stages
        why = (
            f"Only {sends} sends reached the stage {stage}, fewer than {LEAST_STAGES}"
            if stage
            else "The log has no stage between a message and its money"
        )
        self.said.append(f"{why}, so the money itself was modelled.")
        zero = np.zeros(len(self.log.catalog.arms))
        fees = ((self._costs(), SENDING),)
        tables = PartTables(None, None, money.tables)
        bags = self._bags(tables, "money", fees)
        return PartsState(
            money.terms.encoder, _less(tables, fees), self.fitted, self.tally, "", zero, tuple(self.said), bags
        )

    def _fit(
        self,
        name: str,
        stream: Stream,
        kind: Kind,
        terms: list[Terms],
        pairs: tuple[tuple[str, ...], ...],
        ridges: tuple[float, ...],
    ) -> Fitted:
        choice = Choice(terms, pairs, ridges, self.parts.choice_rows, self.parts.passes, self.parts.seed)
        self.fitted[name] = regress(stream, kind, choice, self.config)
        self.streams[name] = stream
        return self.fitted[name]

    def _bags(self, tables: PartTables, money: str, fees: Fees) -> tuple[PartTables, ...]:
        """The parts in every bag, with what `money` was fitted as, less what every send costs."""
        drawn = {
            name: bagged(
                self.fitted[name], self.streams[name], self.parts.drawn, self.parts.passes, self.config, self.parts.seed
            )
            for name in ("chance", "held", "worth", money)
            if name in self.fitted
        }
        if money == "past":
            drawn["money"] = tuple(map(over_hold, drawn.pop("past")))
        return tuple(_less(one, fees) for one in assembled_bags(tables, drawn, self.parts.drawn))

    def _events(self, name: str, *, sent: bool = True) -> Stream:
        """Sends, or holds, of which it is known whether the event followed."""
        return self.log.rows(
            lambda batch: ~np.isnan(batch.rewards[name]) & (is_send(batch) == sent), lambda batch: reached(batch, name)
        )

    def _money(self, batch: RoundBatch) -> FloatArray:
        """(n,) money without the cost of the send."""
        money = batch.rewards[self.log.metric]
        at = np.maximum(batch.action - 1, 0)
        out: FloatArray = money + np.where(is_send(batch), self.tally.cost[at], 0.0)
        return out

    def _organic(self, alone: Terms, wanted: Callable[[RoundBatch], BoolArray]) -> Fitted:
        """Money that comes by itself, from the context: of the decisions that reached no stage."""
        return self._fit(
            "organic", self.log.rows(wanted, self._money), "money", [alone], ((),), self.parts.worth_ridges
        )

    def _past(self, whole: Terms, alone: Terms, organic: Fitted, tables: PartTables, *, valued: bool) -> ScoreTables:
        """What acts past the stage, over what hold leaves over; zeros where a stage of value explains it."""
        none = zero_tables(tables.money)
        if not self.parts.past:
            return none

        def left(batch: RoundBatch) -> FloatArray:
            x = whole.encoder.encode(batch.context)
            modelled = organic.own(batch.context, batch.action)
            return self._money(batch) - modelled - tables.own_stage(x, batch.action, self.log.catalog)

        every = self.log.rows(lambda batch: np.ones(batch.n, dtype=np.bool_), left)
        found = self._fit("past", every, "money", [alone, whole], _MONEY_PAIRS, self.parts.worth_ridges)
        # What the context alone says better than `organic` did is nothing that a message does.
        if found.beyond is not None and found.beyond[0] > _PAST_ERRORS * found.beyond[1]:
            self.said.append("Messages also act past the stage; what does was added.")
            return over_hold(found.tables)
        # Where nothing is known of a send's value, the sends of today are taken to bring what they cost.
        practice = None if valued else self.tally.mean_cost
        by_arm = leftover_by_arm(every, self.log.catalog, over_hold=True, practice=practice)
        least, most = (f"{one:+.4f}" for one in (by_arm.min(), by_arm.max()))
        self.said.append(f"Past the stage a message is taken to bring {least} to {most} USD, by channel and arm.")
        return replace(none, channel_arm=by_arm.astype(np.float32))

    def _gain(self, tables: PartTables, encoder: Encoder, sample: list[RoundBatch]) -> FloatArray:
        """(n, C) the best gain of each sampled decision on each channel, at least 0, before losses; NaN where none of
        the channel's actions was eligible.
        """
        channels, _, _ = self.log.catalog.shape
        found = []
        for batch in sample:
            gain = np.maximum(tables.scores(encoder.encode(batch.context))[:, 1:] - self.tally.cost, 0.0)
            gain = np.where(batch.eligible_dense()[:, 1:], gain, np.nan).reshape(batch.n, channels, -1)
            found.append(np.fmax.reduce(gain, axis=2))
        return np.concatenate(found)

    def _losses(self, whole: Terms, gain: FloatArray) -> tuple[Loss, ...]:
        """Chances of what ends a permission, priced by the gains that are then missed."""
        until = OpenUntil.of(self.log) if self.log.lost and self.parts.closes == AUTO else None
        losses = []
        for name in self.log.lost:
            events = sum(float(rows.target.sum()) for rows in self._events(name)())
            if events:
                odds = self._fit(name, self._events(name), "chance", [whole], ((), ("xc",)), self.parts.ridges)
                price = prices(gain, self._closed(name, until), self.tally, self.parts.horizon_days)
                losses.append(Loss(name, odds.tables, price))
        return tuple(losses)

    def _closed(self, loss: str, until: OpenUntil | None) -> float:
        """Share of the other channels' time that a loss ends."""
        if self.parts.closes != AUTO:
            return float(self.parts.closes == "all")
        if until is None:
            return 0.0
        closed = until.share_closed(self.log, loss)
        if closed is None:
            self.said.append(f"The log does not show what else {loss} closes, so it is priced as its own channel.")
        elif closed:
            self.said.append(f"{loss} ends {100.0 * closed:.0f} % of the other channels' time too, and is priced so.")
        return closed or 0.0

    def _costs(self) -> FloatArray:
        """(C, K) cost of a send."""
        channels, hours, arms = self.log.catalog.shape
        cost: FloatArray = self.tally.cost.reshape(channels, hours, arms)[:, 0]
        return cost

    def _charge(self) -> FloatArray:
        """(K,) what an arm's discount takes from orders that come anyway, per send that is seen."""
        depth = np.array([arm.discount_depth for arm in self.log.catalog.arms])
        a_day = max(self.log.organic_spend(), 0.0) / min(self.parts.money_days, self.tally.gap_days)
        charge: FloatArray = depth * a_day * self.parts.discount_days * self.parts.discount_factor
        if charge.any():
            self.said.append(
                f"Discounts are charged with {charge.max():.3f} USD a seen message at most: a stated figure, "
                "not one that this log shows."
            )
        return charge


def _less(tables: PartTables, fees: Fees) -> PartTables:
    for fee, name in fees:
        tables = tables.less(fee, name)
    return tables
