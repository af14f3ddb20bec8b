"""The learner of parts: what a message is worth = chance of a stage x its worth - costs - losses - a discount's charge.

The money of a decision is mostly orders that come by themselves: fitted directly, its noise drowns the effect of a
message. A stage on the way (a click, a visit, a reply) is some twenty times as frequent and far less noisy, so the gain
of a send a over hold is put together:

    gain(x, a) = chance(x, a) worth(x, a) + past(x, a) - cost(a) - sum over losses of lost(x, a) price - charge(a)

This is the surrogate index of Athey, Chetty, Imbens & Kang (NBER 26463, 2019, equation 3.1); it holds where messages
act through the stage alone. What acts past it is looked for in what the parts leave over, and is added only where
held-out rows show it by two standard errors. Without a stage the money itself is regressed, pooled and shrunk, by the
same held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.special import expit

from engine.catalog import Catalog
from engine.encoder import Encoder, SmoothCoding, fit_encoder, smooth_encoder
from engine.errors import ArtefactError, LearnError, ParameterError
from engine.features import FeatureSchema
from engine.identity import unit_of
from engine.log.training_rows import TrainingRows
from engine.names import did_you_mean
from engine.records.rounds import RoundBatch
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, FloatArray
from policies.exploring.config import ExplorationConfig
from policies.parts.config import AUTO, SEEN, PartsConfig
from policies.parts.folder import PartsManifest
from policies.parts.frequency import Subject, frequency
from policies.parts.regression import Choice, Fitted, Kind, Rows, Stream, regress
from policies.parts.tables import Loss, PartTables, zero_tables
from policies.parts.terms import Terms, matches, own_scores
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.responses import ResponseModel, notes_of
from policies.vw.rows import repeatable, trainable
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables

# With fewer stages that were reached their worth cannot be told from that of any other decision.
LEAST_STAGES: Final = 20
PARITY_LIMIT: Final = 1e-4
US_PER_DAY: Final = 86_400_000_000
# Contexts that are held in memory to place the knots of curves, and to price a permission.
_SAMPLE_BATCHES: Final = 16
# Pairs among which held-out rows choose, the plainest first.
_CHANCE_PAIRS: Final = ((), ("xc",), ("xc", "xt"), ("xc", "xh", "xa", "ca"), ("xc", "xh", "xa", "xt", "ch", "ca", "ha"))
_MONEY_PAIRS: Final = ((), ("xc",), ("xc", "xh", "xa", "ca"))
_CLEAR: Final = 2.0


@dataclass(frozen=True)
class Tally:
    """What one pass over the rounds counts.

    Attributes:
        rounds / skipped / eligible: that train, that do not, and their eligible actions.
        sends / stages: sends among them, and those that reached the stage.
        contacts / days: distinct contacts, and the days from the first to the last decision; 0 where not known.
        gap_days: mean days between two decisions of a contact, also those that do not train; infinite without any.
        cost: (k - 1,) mean cost of a send by channel and arm, USD, at least 0.
        opened: (C,) share of sends that were seen; 1 where the log does not say.
    """

    rounds: int
    skipped: int
    eligible: int
    sends: int
    stages: int
    contacts: int
    days: float
    gap_days: float
    cost: FloatArray
    opened: FloatArray


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
        frequency: the rules of waiting that were tried, as plain data.
    """

    encoder: Encoder
    tables: PartTables
    fitted: dict[str, Fitted]
    tally: Tally
    stage: str
    charge: FloatArray
    said: tuple[str, ...] = field(default=())
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
        ParameterError: a configuration without parts, an exploration by votes, or `recency` that is no numeric feature.
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
        numeric = {spec.name for spec in schema.features if spec.type == "numeric"}
        named = self._parts.recency
        if named not in (AUTO, "", *numeric):
            hint = f"{did_you_mean(named, numeric)}the schema has {', '.join(sorted(numeric)) or 'none'}"
            raise ParameterError(
                "recency", "PartsConfig", allowed='a numeric feature, "auto" or ""', got=named, hint=hint
            )
        self._state = state

    @property
    def policy_name(self) -> str:
        return f"vw_parts_{self.exploration.kind}"

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
        """The policy learnt so far, compiled.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        state = self.state
        return CompiledPolicy(
            self.catalog, state.encoder, state.tables, self.exploration, state.rounds, self.policy_name
        )

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
        stored = state.tables.stored()
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
            parts=state.summary(),
            waiting=None if state.tables.waiting is None else state.tables.waiting.to_builtins(),
        )

        def write(part: Path) -> None:
            for name, tables in stored.items():
                tables.save(part / f"{name}.npz")
            for name, fitted in state.fitted.items():
                (part / f"{name}.vw").write_bytes(fitted.model)
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
        log = _Log(repeatable(rounds), self.catalog, self.metric, self.reward_range, self._parts)
        self._state = _learnt(log, self.schema, self.config, self._parts)


class _Log:
    """The rows that may train, and what the log knows of them."""

    def __init__(
        self,
        rounds: Iterable[RoundBatch],
        catalog: Catalog,
        metric: str,
        reward_range: tuple[float, float],
        config: PartsConfig,
    ) -> None:
        self.catalog, self.metric = catalog, metric
        self._rounds, self._range = rounds, reward_range
        known = next((set(batch.rewards) for batch in rounds), set())
        self.stage = self._stage(known, config)
        self.cost = config.cost if config.cost in known and config.cost != metric else ""
        self.lost = tuple(name for name in config.lost if name in known and name != metric)
        self.spend = next((name for name in config.spend if name in known), metric)
        self.opened = SEEN if SEEN in known else ""

    def _stage(self, known: set[str], config: PartsConfig) -> str:
        if config.stage != AUTO:
            if config.stage and config.stage not in known:
                raise LearnError(
                    f"the rounds have no metric {config.stage!r} to take as the stage",
                    hint=f"they know {sorted(known)}",
                )
            return config.stage
        named = [name for name in config.stages if name in known and name != self.metric]
        return named[-1] if named else ""

    def batches(self) -> Iterable[RoundBatch]:
        for batch in self._rounds:
            kept = trainable(batch, self.metric, self._range, self.catalog, propensities=True)
            if kept.n:
                yield kept

    def whole_contacts(self, config: PartsConfig) -> list[RoundBatch]:
        """Every decision, those that do not train included, of as many contacts as `choice_rows` holds."""
        share = config.choice_rows / sum(batch.n for batch in self._rounds)
        salt = f"parts/contacts/{config.seed}"
        return [
            batch if share >= 1.0 else batch.take(np.flatnonzero(unit_of(batch.cluster, salt) < share))
            for batch in self._rounds
        ]

    def tally(self) -> Tally:
        channels, hours, arms = self.catalog.shape
        rounds = skipped = eligible = sends = stages = decisions = 0
        first, last, seen = None, None, set()
        cost, opened, by_cell = (np.zeros((channels, arms)) for _ in range(3))
        for batch in self._rounds:
            kept = trainable(batch, self.metric, self._range, self.catalog, propensities=True)
            rounds, skipped, decisions = rounds + kept.n, skipped + batch.n - kept.n, decisions + batch.n
            eligible += int(kept.eligible_counts().sum())
            sent = kept.action != HOLD
            sends += int(sent.sum())
            if self.stage:
                stages += int((reached(kept, self.stage) & sent).sum())
            seen.update(np.unique(batch.cluster).tolist())
            at = batch.decided_at[batch.decided_at != NOT_AN_INSTANT]
            if len(at):
                first = int(at.min()) if first is None else min(first, int(at.min()))
                last = int(at.max()) if last is None else max(last, int(at.max()))
            channel, _, arm = self.catalog.split(kept.action[sent])
            np.add.at(by_cell, (channel, arm), 1.0)
            if self.cost:
                np.add.at(cost, (channel, arm), -np.nan_to_num(kept.rewards[self.cost][sent]))
            if self.opened:
                np.add.at(opened, (channel, arm), reached(kept, self.opened)[sent].astype(np.float64))
        if not rounds:
            raise LearnError(f"no usable round with a known {self.metric!r}", hint="join the outcomes first")
        mean = np.maximum(cost / np.maximum(by_cell, 1.0), 0.0)
        by_channel = by_cell.sum(axis=1)
        share = np.where(by_channel > 0, opened.sum(axis=1) / np.maximum(by_channel, 1.0), 1.0)
        # A channel whose messages nobody is ever seen to open does not report it.
        share = np.where(share > 0.0, share, 1.0) if self.opened else np.ones(channels)
        days = 0.0 if first is None or last is None else (last - first) / US_PER_DAY
        each = np.repeat(mean[:, None, :], hours, axis=1).ravel()
        gap = days * len(seen) / (decisions - len(seen)) if decisions > len(seen) and days else np.inf
        return Tally(rounds, skipped, eligible, sends, stages, len(seen), days, gap, each, share)

    def organic_spend(self) -> float:
        """Mean spending of the decisions that reached no stage; what is not known is left out."""
        spent = [batch.rewards[self.spend][~reached(batch, self.stage)] for batch in self.batches()]
        return float(np.nanmean(np.concatenate(spent)))

    def rows(self, wanted: Callable[[RoundBatch], BoolArray], target: Callable[[RoundBatch], Any]) -> Stream:
        """Rows of each batch that `wanted(batch)` says, with `target(batch)` as their target."""

        def stream() -> Iterable[Rows]:
            for batch in self.batches():
                rows = np.flatnonzero(wanted(batch))
                if len(rows):
                    kept = batch.take(rows)
                    yield Rows(kept.context, kept.action, np.asarray(target(kept), dtype=np.float64), kept.cluster)

        return stream


def reached(batch: RoundBatch, name: str) -> BoolArray:
    """(n,) whether a stage was reached; what is not known counts as not."""
    hit: BoolArray = np.nan_to_num(batch.rewards[name]) > 0.0
    return hit


def _sent(batch: RoundBatch) -> BoolArray:
    sent: BoolArray = batch.action != HOLD
    return sent


def _learnt(log: _Log, schema: FeatureSchema, config: VwConfig, parts: PartsConfig) -> PartsState:
    tally = log.tally()
    line = fit_encoder(schema, (batch.context for batch in log.batches()), config.max_levels)
    sample = [batch for batch, _ in zip(log.batches(), range(_SAMPLE_BATCHES), strict=False)]
    curve = smooth_encoder(line, (batch.context for batch in sample), parts.pieces)
    encoders = {None: (line, curve), False: (line,), True: (curve,)}[parts.smooth]
    terms = [Terms(log.catalog, one, matches(log.catalog, one, parts.match)) for one in dict.fromkeys(encoders)]
    build = _Build(log, terms, tally, config, parts)
    return build.by_stage(sample) if log.stage and tally.stages >= LEAST_STAGES else build.by_money()


class _Build:
    """Fits the parts, one after the other. The first one chooses between lines and curves for all of them."""

    def __init__(self, log: _Log, terms: list[Terms], tally: Tally, config: VwConfig, parts: PartsConfig) -> None:
        self.log, self.terms, self.tally, self.config, self.parts = log, terms, tally, config, parts
        self.fitted: dict[str, Fitted] = {}
        self.said: list[str] = []

    def by_stage(self, sample: list[RoundBatch]) -> PartsState:
        """Chance x worth, what acts past the stage, costs, losses and the charge of discounts."""
        stage = self.log.stage
        chance = self._fit("chance", self._events(stage), "chance", self.terms, _CHANCE_PAIRS, self.parts.ridges)
        whole = chance.terms
        alone = replace(whole, actions=False)
        organic = self._organic(alone, lambda batch: ~reached(batch, stage))
        worth = self._fit(
            "worth",
            self.log.rows(
                lambda batch: reached(batch, stage) & _sent(batch),
                lambda batch: self._money(batch) - organic.own(batch.context, batch.action),
            ),
            "money",
            [alone, whole],
            ((),),
            self.parts.worth_ridges,
        )
        tables = PartTables(chance.tables, worth.tables, zero_tables(chance.tables))
        tables = replace(tables, money=self._past(whole, organic, tables))
        gain = self._gain(tables, whole.encoder, sample)
        tables = replace(tables, losses=self._losses(whole, gain))
        charge = self._charge()
        tables = tables.less(self._costs() + charge * self.tally.opened[:, None])
        found = frequency(
            Subject(self.log.whole_contacts(self.parts), whole, tables, stage, self.log.metric), self.parts
        )
        said = (*self.said, *found.said)
        tables = replace(tables, waiting=found.waiting)
        return PartsState(whole.encoder, tables, self.fitted, self.tally, stage, charge, said, found.summary)

    def by_money(self) -> PartsState:
        """The money itself: regressed on context and action, by as many terms as held-out rows ask for."""
        every = lambda batch: np.ones(batch.n, dtype=np.bool_)  # noqa: E731 - a mask of all rows
        money = self._fit(
            "money",
            self.log.rows(every, lambda batch: batch.rewards[self.log.metric]),
            "money",
            [replace(self.terms[0], actions=False), *self.terms],
            _MONEY_PAIRS,
            self.parts.worth_ridges,
        )
        self.said.append("The log has no stage between a message and its money, so the money itself was modelled.")
        zero = np.zeros(len(self.log.catalog.arms))
        tables = PartTables(None, None, money.tables)
        return PartsState(money.terms.encoder, tables, self.fitted, self.tally, "", zero, tuple(self.said))

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
        return self.fitted[name]

    def _events(self, name: str) -> Stream:
        return self.log.rows(_sent, lambda batch: reached(batch, name))

    def _money(self, batch: RoundBatch) -> FloatArray:
        """(n,) money without the cost of the send."""
        money = batch.rewards[self.log.metric]
        at = np.maximum(batch.action - 1, 0)
        out: FloatArray = money + np.where(_sent(batch), self.tally.cost[at], 0.0)
        return out

    def _organic(self, alone: Terms, wanted: Callable[[RoundBatch], BoolArray]) -> Fitted:
        """Money that comes by itself, from the context: of the decisions that reached no stage."""
        return self._fit(
            "organic", self.log.rows(wanted, self._money), "money", [alone], ((),), self.parts.worth_ridges
        )

    def _past(self, whole: Terms, organic: Fitted, tables: PartTables) -> ScoreTables:
        """What acts past the stage, over what hold leaves over; zeros where held-out rows do not show it."""
        none = zero_tables(tables.money)
        if not self.parts.past:
            return none

        def left(batch: RoundBatch) -> FloatArray:
            x = whole.encoder.encode(batch.context)
            modelled = organic.own(batch.context, batch.action)
            chance = expit(own_scores(tables.chance, x, batch.action, self.log.catalog)) if tables.chance else 0.0
            worth = (
                np.maximum(own_scores(tables.worth, x, batch.action, self.log.catalog), 0.0) if tables.worth else 0.0
            )
            return self._money(batch) - modelled - np.where(_sent(batch), chance * worth, 0.0)

        every = self.log.rows(lambda batch: np.ones(batch.n, dtype=np.bool_), left)
        found = self._fit("past", every, "money", [whole], _MONEY_PAIRS, self.parts.worth_ridges)
        if found.gain is None or not found.gain[0] > _CLEAR * found.gain[1]:
            self.said.append("Nothing is seen to act past the stage.")
            return none
        self.said.append("Messages also act past the stage; what does was added.")
        return over_hold(found.tables)

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
        price = self._permission(gain)
        losses = []
        for name in self.log.lost:
            events = sum(float(rows.target.sum()) for rows in self._events(name)())
            if events:
                odds = self._fit(name, self._events(name), "chance", [whole], ((), ("xc",)), self.parts.ridges)
                losses.append(Loss(name, odds.tables, price))
        return tuple(losses)

    def _permission(self, gain: FloatArray) -> FloatArray:
        """(C,) what losing a channel costs: the gains with it less those without, for half of the horizon."""
        whole = np.fmax.reduce(gain, axis=1)
        missed = np.zeros(gain.shape[1])
        for channel, own in enumerate(gain.T):
            open_to = np.isfinite(own)
            others = np.fmax.reduce(np.delete(gain, channel, axis=1), axis=1, initial=0.0)
            missed[channel] = float((whole - others)[open_to].mean()) if open_to.any() else 0.0
        tally = self.tally
        per_day = tally.sends / (tally.contacts * max(tally.days, 1.0)) if tally.days else 0.0
        price: FloatArray = missed * per_day * self.parts.horizon_days / 2.0
        return price

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


def over_hold(tables: ScoreTables) -> ScoreTables:
    """Tables of every send's score less hold's; hold's are 0."""
    base = tables.base.astype(np.float64)
    changed = {"base": np.zeros_like(base), "hold": np.zeros_like(base)}
    # Sends share the base, and hold has it too: what is left of it is nothing but what hold adds.
    channel = tables.channel.astype(np.float64) - tables.hold.astype(np.float64)
    return replace(
        tables,
        base=changed["base"].astype(np.float32),
        hold=changed["hold"].astype(np.float32),
        channel=channel.astype(np.float32),
    )
