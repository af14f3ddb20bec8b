"""One block of contacts to one block of decisions: guardrails, distribution, sampling, record. No files, no clock.

Two groups are set apart. Control is a holdout of contacts, the same ones every time by a keyed hash: they are held,
nothing is drawn, and their rows say so (propensity 1, not available for learning and evaluation). The uniform slice is
drawn anew for every decision of the others, with probability u = uniform_share / (1 - control_share), and takes a
uniform eligible action. The logged propensity is the probability over that draw: u / |eligible| + (1 - u) policy(a).
Nothing of it goes with the contact, so it is the probability given any history of the contact too.

The policy is handed copies that it cannot write to, and its answer is held against what the rules said
(`engine.decide.asking`), which is what the record holds.

With set-level limits the eligible set is what they leave at the contact's turn, and all of the above is over that set
(docs/limits.md). With a state store contacts are read from it, and every send is promised and every decision recorded
there in one transaction; a send that another promise leaves no room for is recorded as suppressed. Decisions that the
store has are read, not taken again (docs/state.md).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.key import marked
from engine.content.deciding import BlockChooser, choose_assemblies
from engine.content.eligibility import BlockEligibility, is_modular
from engine.decide.asking import choice_of, distribution_of
from engine.decide.table import DecisionRows, decision_table
from engine.eligibility import Eligibility, pack
from engine.errors import DataError, ParameterError, StorageError, TactfulError
from engine.features import ContextBlock
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.counts import RemovalCounts
from engine.guardrails.layer import Guardrails
from engine.guardrails.unknowns import Unknowns
from engine.identity import keyed_hash, pseudonyms, uniforms, unit_of
from engine.limits.block import Settlement
from engine.limits.reasons import Shortage, recorded_reasons
from engine.limits.shared import SharedLimits
from engine.protocols import FusedPolicy, Policy
from engine.records import schema as records
from engine.records.schema import LogMeta
from engine.sampling import sample
from engine.state.promises import Promises
from engine.time.localtime import instant_of
from engine.types import HOLD, BoolArray, ByteArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

_PLAIN_BYTES = 32 << 20  # of a (rows, k) distribution that is built at once where a policy has no fused path
_NO_LIMITS = "what limits leave is no product of blocks, so it could not be recorded"
_TRIES = 100  # each time another run has recorded decisions of the same block
_TREATMENT, _CONTROL, _UNIFORM = range(len(records.GROUPS))


@dataclass(frozen=True)
class Plan:
    """Everything that a block of decisions depends on besides the contacts and the instant.

    Attributes:
        guardrails: the layer, with its catalog.
        policy: gives the distribution.
        policy_version: written into each record.
        contact_key: secret key of the contacts' pseudonyms, not empty (`engine.contacts.key`).
        seed: of the sampling.
        use_case: written into each record; part of the decision id.
        control_share: share of contacts that are held out for good, in [0, 1].
        uniform_share: share of decisions that take a uniform eligible action, in [0, 1 - control_share].
        conditions: the sender's side; its use case is the plan's.
        limits: set-level limits; None is none.
        promises: the store of contact state; None reads contacts from what is given and promises nothing.
        prices: under which the policy decides, as plain data, so that a run that is repeated finds them; None is none.
    """

    guardrails: Guardrails
    policy: Policy
    policy_version: str
    _: KW_ONLY
    contact_key: str
    seed: int = 0
    use_case: str = "default"
    control_share: float = 0.0
    uniform_share: float = 0.0
    conditions: Conditions = NOTHING_SAID
    limits: SharedLimits | None = None
    promises: Promises | None = None
    prices: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.contact_key:
            raise ParameterError("contact_key", "Plan", allowed="a non-empty string", got="")
        for name in ("control_share", "uniform_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ParameterError(name, "Plan", allowed="in [0, 1]", got=getattr(self, name))
        if self.control_share + self.uniform_share > 1.0:
            raise ParameterError("uniform_share", "Plan", allowed="at most 1 - control_share", got=self.uniform_share)
        if self.limits and is_modular(self.catalog):
            raise ParameterError("limits", "Plan", allowed="none with a modular catalog", got="some", hint=_NO_LIMITS)
        if self.limits and self.promises and not self.promises.store.shares(self.limits.store):
            allowed = "counted in the database of the state store, so that both change in one transaction"
            raise ParameterError("limits", "Plan", allowed=allowed, got="another database")

    @property
    def catalog(self) -> Catalog:
        return self.guardrails.catalog

    @property
    def slice_probability(self) -> float:
        """Of a uniform eligible action, in a decision for a contact that is not held out."""
        rest = 1.0 - self.control_share
        return min(1.0, self.uniform_share / rest) if rest > 0.0 else 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """All that a decision depends on besides its contact and instant, as plain data."""
        return {
            "policy version": self.policy_version,
            "seed": self.seed,
            "control share": self.control_share,
            "uniform share": self.uniform_share,
            "guardrail pack": self.guardrails.version,
            "catalog": self.catalog.version,
            "conditions": self.sender.to_builtins(),
            "prices": self.prices,
            "limits": None if self.limits is None else self.limits.limits.to_builtins(),
        }

    @property
    def sender(self) -> Conditions:
        """What the rules read of the sender."""
        return msgspec.structs.replace(self.conditions, use_case=self.use_case, dispatching=False)


@dataclass(frozen=True)
class Decided:
    """A block of decisions.

    Attributes:
        table: rows in the log's schema.
        action: (n,) chosen actions.
        removed: what the guardrails removed.
        suppressed: (n,) sends that are recorded as suppressed.
        reasons: cap -> sends that it refused.
        limited: set-level limit -> contacts from whom it took some send.
        unknowns: contacts of whom the rules could not know something.
        read: of the rows, those that were decided by an earlier run and read from the store.
        sequence: number of the store's newest change among the rows; 0 without a store.
    """

    table: pa.Table
    action: CodeArray
    removed: RemovalCounts
    suppressed: BoolArray
    reasons: Mapping[str, int] = field(default_factory=dict)
    limited: Mapping[str, int] = field(default_factory=dict)
    unknowns: Unknowns = field(default_factory=Unknowns)
    read: int = 0
    sequence: int = 0


@dataclass
class Summary:
    """Sums over blocks of decisions.

    Attributes:
        by_action: action index -> times chosen; without what was suppressed at once.
        removed: sums of the blocks' removals.
        suppressed: sends that were suppressed at once.
        reasons / limited / unknowns / read: as of `Decided`.
        sequence: the largest of the blocks'.
    """

    by_action: dict[int, int] = field(default_factory=dict)
    removed: RemovalCounts = field(default_factory=RemovalCounts)
    suppressed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    unknowns: Unknowns = field(default_factory=Unknowns)
    read: int = 0
    sequence: int = 0

    def add(self, decided: Decided) -> None:
        for action, times in zip(*np.unique(decided.action[~decided.suppressed], return_counts=True), strict=True):
            self.by_action[int(action)] = self.by_action.get(int(action), 0) + int(times)
        self.removed = self.removed + decided.removed
        self.suppressed += int(decided.suppressed.sum())
        self.reasons.update(decided.reasons)
        self.limited.update(decided.limited)
        self.unknowns = self.unknowns + decided.unknowns
        self.read += decided.read
        self.sequence = max(self.sequence, decided.sequence)

    def sends(self, catalog: Catalog) -> Mapping[str, int]:
        """Action name -> times sent."""
        return {catalog.action_names[a]: times for a, times in sorted(self.by_action.items()) if a != HOLD}


def decide_block(plan: Plan, contacts: ContactBatch, now: datetime) -> Decided:
    """Decide for n contacts.

    The same contact, instant, use case and seed give the same decision in any block.

    Args:
        plan: see `Plan`.
        contacts: n contacts, aged to `now`.
        now: aware.

    Raises:
        DataError: quota under the block's name that was closed otherwise, a contact twice, or decisions that were taken
            before under other settings (only with a store).
        StorageError: a store refused, and nothing of the block may be sent.
        ParameterError: a naive `now`, or a policy whose answer is no distribution over the eligible set, whose action
            is a removed one, or that writes to what it is given.
        EligibilityError: an empty eligible set.
    """
    now_at = instant_of(now, owner="decide_block")
    ids = decision_ids(contacts.contact_id, plan, now_at)
    if plan.promises is None:
        decided = _decide(plan, contacts, now, now_at, ids)
    else:
        decided = _decide_or_read(plan, plan.promises, contacts, now, now_at, ids)
    if decided is None:
        raise StorageError(
            "other runs decide for the same contacts at the same instant all the time", hint="run one at a time"
        )
    return decided


def _decide_or_read(
    plan: Plan, promises: Promises, contacts: ContactBatch, now: datetime, now_at: int, ids: ObjectArray
) -> Decided | None:
    """Read what was decided, decide the rest, and look again where another run was quicker with a part of it."""
    _require_distinct(ids)
    for _ in range(_TRIES):
        found = promises.store.decided(ids.tolist(), now_at=now_at)
        if found is None:
            decided = _decide(plan, contacts, now, now_at, ids)
            if decided is not None:
                return decided
            continue
        _require_settings(plan, found.settings)
        known = found.position >= 0
        before = _read(plan, found.table.take(pa.array(found.position[known])), found.sequence)
        if known.all():
            return before
        rest = np.flatnonzero(~known)
        decided = _decide(plan, contacts.take(rest), now, now_at, ids[rest])
        if decided is not None:
            return _together(before, np.flatnonzero(known), decided, rest)
    return None


def _decide(plan: Plan, contacts: ContactBatch, now: datetime, now_at: int, ids: ObjectArray) -> Decided | None:
    """Decide for contacts of whom the store knows no decision; None where another run has decided some meanwhile."""
    who = contact_pseudonyms(contacts.contact_id, plan.contact_key)
    if plan.promises is not None:
        contacts = plan.promises.contacts(contacts, who, ids.tolist(), plan.catalog, now_at)
    # Rules see the pseudonyms that the log keeps, so that what they hash can be repeated from the log alone.
    seen = replace(contacts, contact_id=who)
    eligibility, removed = plan.guardrails.judged(seen, now, plan.sender)
    cluster = keyed_hash(who, "cluster")
    group = groups_of(cluster, ids, plan)
    slots = plan.guardrails.scene(contacts, now).slots
    drawn = _draw_block(plan, contacts, eligibility, slots, ids, group, now_at)

    def table(refused: Sequence[tuple[str, ...]] | None) -> pa.Table:
        return decision_table(
            DecisionRows(
                plan.guardrails,
                contacts,
                plan.use_case,
                plan.policy_version,
                plan.seed,
                now_at,
                slots,
                ids,
                who,
                cluster,
                group,
                drawn.action,
                drawn.propensity,
                drawn.packed,
                drawn.shortages,
                refused,
            )
        )

    limited = Counter(name for one in drawn.shortages or () for name in {shortage.limit for shortage in one})
    if plan.promises is None:
        if drawn.settlement is not None and plan.limits is not None:
            drawn.settlement.settle(plan.limits.store)
        nobody = np.zeros(contacts.n, dtype=np.bool_)
        return Decided(table(None), drawn.action, removed, nobody, limited=limited, unknowns=Unknowns.of(seen))
    send_at = slots[contacts.zone_code, np.maximum(plan.catalog.split(drawn.action)[1], 0)]
    settings = msgspec.json.encode(plan.settings)
    with _given_back(plan, drawn.settlement):
        done = plan.promises.commit(
            plan.guardrails, seen, ids, drawn.action, send_at, now_at, settings, table, drawn.settlement
        )
        if done is None and plan.limits is not None and drawn.settlement is not None:
            plan.limits.store.abandon(drawn.settlement.grant_id)
    if done is None:
        return None
    return Decided(
        done.table,
        drawn.action,
        removed,
        np.array([bool(reasons) for reasons in done.refused], dtype=np.bool_),
        Counter(reason for reasons in done.refused for reason in reasons),
        limited,
        Unknowns.of(seen),
        sequence=done.sequence,
    )


@contextlib.contextmanager
def _given_back(plan: Plan, settlement: Settlement | None) -> Iterator[None]:
    """Give the quota of a block back whose decisions could not be recorded."""
    try:
        yield
    except BaseException:
        if settlement is not None and plan.limits is not None:
            # Not a must: the lease gives the quota back as well, only later.
            with contextlib.suppress(TactfulError):
                plan.limits.store.abandon(settlement.grant_id)
        raise


def _require_distinct(ids: ObjectArray) -> None:
    if len(set(ids.tolist())) != len(ids):
        raise DataError(
            "the contacts of a block hold a contact twice", hint="decide for each contact once at the same instant"
        )


def _require_settings(plan: Plan, found: Sequence[bytes]) -> None:
    """Refuse to mix decisions of one instant that were taken under different settings."""
    mine = msgspec.json.decode(msgspec.json.encode(plan.settings))
    for one in found:
        theirs = msgspec.json.decode(one)
        other = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
        if other:
            raise DataError(
                f"this use case and instant was decided before under another {', another '.join(other)}: a day that "
                "has been decided is read, not decided again",
                hint="run it as it was run the first time, or decide for another instant",
            )


def _read(plan: Plan, table: pa.Table, sequence: int) -> Decided:
    """Decisions of an earlier run as they were recorded."""
    action: CodeArray = table.column("action").to_numpy().astype(np.int32)
    eligible = np.array([int.from_bytes(bits, "little") for bits in table.column("eligible").to_pylist()], dtype=object)
    inputs = [recorded_reasons(one) for one in table.column("rule_inputs").to_pylist()]
    suppressed = np.array(table.column("state").cast(pa.string()).to_numpy() == records.SUPPRESSED, dtype=np.bool_)
    held = int((eligible == 1 << HOLD).sum()) if not is_modular(plan.catalog) else 0
    return Decided(
        table,
        action,
        RemovalCounts(contacts=len(action), sends=plan.catalog.k - 1, held=held),
        suppressed,
        Counter(reason for one in inputs for reason in one.refused),
        Counter(name for one in inputs for name in {shortage.limit for shortage in one.limits}),
        read=len(action),
        sequence=sequence,
    )


def _together(one: Decided, one_rows: IntArray, other: Decided, other_rows: IntArray) -> Decided:
    """Two parts of a block, in the order of its rows."""
    order = pa.array(np.argsort(np.concatenate([one_rows, other_rows]), kind="stable"))
    table = pa.concat_tables([one.table, other.table.cast(one.table.schema)]).unify_dictionaries().combine_chunks()
    return Decided(
        table.take(order),
        np.concatenate([one.action, other.action])[order.to_numpy()],
        one.removed + other.removed,
        np.concatenate([one.suppressed, other.suppressed])[order.to_numpy()],
        Counter(one.reasons) + Counter(other.reasons),
        Counter(one.limited) + Counter(other.limited),
        one.unknowns + other.unknowns,
        read=one.read + other.read,
        sequence=max(one.sequence, other.sequence),
    )


def decision_ids(contact_ids: ObjectArray, plan: Plan, now_at: int) -> ObjectArray:
    """(n,) the same contact, use case and instant have the same id."""
    return pseudonyms(contact_ids, f"decision/{plan.contact_key}/{plan.use_case}/{now_at}")


def contact_pseudonyms(contact_ids: ObjectArray, contact_key: str) -> ObjectArray:
    """(n,) what the log keeps as `contact_id`."""
    return pseudonyms(contact_ids, f"contact/{contact_key}")


def held_out(cluster: KeyArray, plan: Plan) -> BoolArray:
    """(n,) contacts in control, fixed by contact, use case and seed; a larger share takes nobody out."""
    return unit_of(cluster, f"group/{plan.use_case}/{plan.seed}") < plan.control_share


def groups_of(cluster: KeyArray, ids: ObjectArray, plan: Plan) -> CodeArray:
    """(n,) positions in `records.GROUPS`: control by contact, the uniform slice by decision."""
    # Another key than that of the action's uniform, so that the two are independent.
    draw = unit_of(keyed_hash(ids, f"slice/{plan.use_case}/{plan.seed}"), "slice")
    group = np.where(draw < plan.slice_probability, _UNIFORM, _TREATMENT).astype(np.int32)
    group[held_out(cluster, plan)] = _CONTROL
    return group


@dataclass(frozen=True)
class _Drawn:
    action: CodeArray
    propensity: FloatArray
    packed: ByteArray
    shortages: list[list[Shortage]] | None = None
    settlement: Settlement | None = None


def _draw_block(
    plan: Plan,
    contacts: ContactBatch,
    eligibility: Eligibility | BlockEligibility,
    slots: IntArray,
    ids: ObjectArray,
    group: CodeArray,
    now_at: int,
) -> _Drawn:
    """Draw from the eligible sets, which limits make smaller as the block goes on."""
    if isinstance(eligibility, BlockEligibility):
        context, packed = contacts.context, eligibility.packed()
        if isinstance(plan.policy, BlockChooser):
            draws, share = uniforms(ids, plan.seed), plan.slice_probability
            return _Drawn(*choose_assemblies(plan.policy, context, eligibility, draws, group, share), packed)
        return _Drawn(*_choose(plan, context, eligibility.plain(), ids, group), packed)
    if plan.limits is None:
        action, propensity = _choose(plan, contacts.context, eligibility, ids, group)
        return _Drawn(action, propensity, eligibility.packed())
    eligible = eligibility.dense()
    admission, shortages, settlement = plan.limits.admit(
        _block_name(plan, ids),
        plan.catalog,
        slots[contacts.zone_code],
        eligible,
        ids,
        lambda rows, left: _choose_dense(plan, contacts.context.take(rows), left, ids[rows], group[rows]),
        seed=plan.seed,
        now_at=now_at,
    )
    return _Drawn(admission.action, admission.propensity, pack(admission.eligible), shortages, settlement)


def _block_name(plan: Plan, ids: ObjectArray) -> str:
    """Names a block by its decisions and the run's settings, never by what is known of the contacts at the moment:

    whoever takes these decisions again finds the quota that was granted for them.
    """
    settings = {name: value for name, value in plan.settings.items() if name != "conditions"}
    digest = hashlib.sha256(msgspec.json.encode(settings))
    digest.update("\n".join(sorted(ids.tolist())).encode())
    return f"decide/{digest.hexdigest()}"


def _choose_dense(
    plan: Plan, context: ContextBlock, eligible: BoolArray, ids: ObjectArray, group: CodeArray
) -> tuple[CodeArray, FloatArray]:
    """`_choose` from eligible sets that are no products of factors."""
    action, propensity = np.full(len(ids), HOLD, dtype=np.int32), np.ones(len(ids))
    for rows in _plain_blocks(np.flatnonzero(group != _CONTROL), eligible.shape[1]):
        policy = distribution_of(plan.policy, context.take(rows), eligible[rows])
        by_policy, _ = sample(policy, ids[rows], plan.seed)
        at_random, _ = sample(_even(eligible[rows]), ids[rows], plan.seed)
        action[rows] = np.where(group[rows] == _UNIFORM, at_random, by_policy)
        propensity[rows] = _mixed(plan, policy, eligible[rows], action[rows])
    return action, propensity


def _choose(
    plan: Plan, context: ContextBlock, eligibility: Eligibility, ids: ObjectArray, group: CodeArray
) -> tuple[CodeArray, FloatArray]:
    """Draw within the row's group; the propensity is over the draw of the slice too, and 1 in control."""
    if plan.control_share == plan.uniform_share == 0.0:
        return _by_policy(plan, context, eligibility, ids)
    action, propensity = np.full(len(ids), HOLD, dtype=np.int32), np.ones(len(ids))
    treated = np.flatnonzero(group == _TREATMENT)
    if len(treated):
        part = eligibility.take(treated)
        action[treated], own = _by_policy(plan, context.take(treated), part, ids[treated])
        share = plan.slice_probability
        propensity[treated] = share / part.counts() + (1.0 - share) * own
    for rows in _plain_blocks(np.flatnonzero(group == _UNIFORM), eligibility.k):
        eligible = eligibility.take(rows).dense()
        action[rows], _ = sample(_even(eligible), ids[rows], plan.seed)
        policy = distribution_of(plan.policy, context.take(rows), eligible)
        propensity[rows] = _mixed(plan, policy, eligible, action[rows])
    return action, propensity


def _even(eligible: BoolArray) -> FloatArray:
    even: FloatArray = eligible / eligible.sum(axis=1, keepdims=True)
    return even


def _mixed(plan: Plan, policy: FloatArray, eligible: BoolArray, action: CodeArray) -> FloatArray:
    """(n,) probability of the action over the draw of the uniform slice."""
    share = plan.slice_probability
    own = policy[np.arange(len(action)), action] / policy.sum(axis=1)
    mixed: FloatArray = share / eligible.sum(axis=1) + (1.0 - share) * own
    return mixed


def _by_policy(
    plan: Plan, context: ContextBlock, eligibility: Eligibility, ids: ObjectArray
) -> tuple[CodeArray, FloatArray]:
    policy = plan.policy
    if isinstance(policy, FusedPolicy):
        return choice_of(policy, context, eligibility, uniforms(ids, plan.seed))
    action, propensity = np.zeros(len(ids), dtype=np.int32), np.zeros(len(ids))
    for rows in _plain_blocks(np.arange(len(ids)), eligibility.k):
        eligible = eligibility.take(rows).dense()
        probabilities = distribution_of(policy, context.take(rows), eligible)
        action[rows], propensity[rows] = sample(probabilities, ids[rows], plan.seed)
    return action, propensity


def _plain_blocks(rows: IntArray, k: int) -> list[IntArray]:
    size = max(1, _PLAIN_BYTES // (8 * k))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def decision_meta(plan: Plan, contacts: ContactBatch, *, source: str, policy_folder: str) -> LogMeta:
    """The footer of a file of these decisions."""
    return LogMeta(
        catalog=plan.catalog,
        features=contacts.context.schema,
        propensity="logged",
        clustered=True,
        source=source,
        policy=policy_folder,
        pack=plan.guardrails.pack.to_builtins(),
        conditions=plan.sender.to_builtins(),
        limits=msgspec.UNSET if plan.limits is None else plan.limits.limits.to_builtins(),
        contact_key=marked(plan.contact_key),
    )
