"""One block of contacts to one block of decisions: guardrails, distribution, sampling, record. No files, no clock.

Two groups are set apart. Control is a holdout of contacts, the same ones every time by a keyed hash: they are held,
nothing is drawn, and their rows say so (propensity 1, not available for learning and evaluation). The uniform slice is
drawn anew for every decision of the others, with probability u = uniform_share / (1 - control_share), and takes a
uniform eligible action. The logged propensity is the probability over that draw: u / |eligible| + (1 - u) policy(a).
Nothing of it goes with the contact, so it is the probability given any history of the contact too.

The policy is handed copies that it cannot write to, and its answer is held against what the rules said
(`engine.asking`), which is what the record holds.

With set-level limits the eligible set is what they leave at the contact's turn, and all of the above is over that set
(docs/limits.md). With a state store contacts are read from it and every send is promised there before the record is
made; a send that another promise leaves no room for is recorded as suppressed (docs/state.md).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa

from engine import records
from engine.asking import choice_of, distribution_of
from engine.blocks.deciding import BlockChooser, choose_assemblies
from engine.blocks.eligibility import BlockEligibility, is_modular
from engine.catalog import Catalog
from engine.contact_key import marked
from engine.contacts import ContactBatch
from engine.decision_table import DecisionRows, decision_table
from engine.eligibility import Eligibility, pack
from engine.errors import ParameterError
from engine.features import ContextBlock
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.counts import RemovalCounts
from engine.guardrails.layer import Guardrails
from engine.guardrails.unknowns import Unknowns
from engine.identity import keyed_hash, pseudonyms, uniforms, unit_of
from engine.limits.reasons import Shortage
from engine.limits.shared import SharedLimits
from engine.localtime import instant_of
from engine.log.parquet import context_arrays
from engine.protocols import FusedPolicy, Policy
from engine.records import LogMeta
from engine.sampling import sample
from engine.state.promises import Promises
from engine.types import HOLD, BoolArray, ByteArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

_PLAIN_BYTES = 32 << 20  # of a (rows, k) distribution that is built at once where a policy has no fused path
_NO_LIMITS = "what limits leave is no product of blocks, so it could not be recorded"
_TREATMENT, _CONTROL, _UNIFORM = range(len(records.GROUPS))


@dataclass(frozen=True)
class Plan:
    """Everything that a block of decisions depends on besides the contacts and the instant.

    Attributes:
        guardrails: the layer, with its catalog.
        policy: gives the distribution.
        policy_version: written into each record.
        contact_key: secret key of the contacts' pseudonyms, not empty (`engine.contact_key`).
        seed: of the sampling.
        use_case: written into each record; part of the decision id.
        control_share: share of contacts that are held out for good, in [0, 1].
        uniform_share: share of decisions that take a uniform eligible action, in [0, 1 - control_share].
        conditions: the sender's side; its use case is the plan's.
        limits: set-level limits; None is none.
        promises: the store of contact state; None reads contacts from what is given and promises nothing.
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

    @property
    def catalog(self) -> Catalog:
        return self.guardrails.catalog

    @property
    def slice_probability(self) -> float:
        """Of a uniform eligible action, in a decision for a contact that is not held out."""
        rest = 1.0 - self.control_share
        return min(1.0, self.uniform_share / rest) if rest > 0.0 else 0.0

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
    """

    table: pa.Table
    action: CodeArray
    removed: RemovalCounts
    suppressed: BoolArray
    reasons: Mapping[str, int] = field(default_factory=dict)
    limited: Mapping[str, int] = field(default_factory=dict)
    unknowns: Unknowns = field(default_factory=Unknowns)


@dataclass
class Summary:
    """Sums over blocks of decisions.

    Attributes:
        by_action: action index -> times chosen; without what was suppressed at once.
        removed: sums of the blocks' removals.
        suppressed: sends that were suppressed at once.
        reasons / limited / unknowns: as of `Decided`.
    """

    by_action: dict[int, int] = field(default_factory=dict)
    removed: RemovalCounts = field(default_factory=RemovalCounts)
    suppressed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    unknowns: Unknowns = field(default_factory=Unknowns)

    def add(self, decided: Decided) -> None:
        for action, times in zip(*np.unique(decided.action[~decided.suppressed], return_counts=True), strict=True):
            self.by_action[int(action)] = self.by_action.get(int(action), 0) + int(times)
        self.removed = self.removed + decided.removed
        self.suppressed += int(decided.suppressed.sum())
        self.reasons.update(decided.reasons)
        self.limited.update(decided.limited)
        self.unknowns = self.unknowns + decided.unknowns

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
        DataError: quota under the block's name that was closed otherwise.
        StorageError: a store refused, and nothing of the block may be sent.
        ParameterError: a naive `now`, or a policy whose answer is no distribution over the eligible set, whose action
            is a removed one, or that writes to what it is given.
        EligibilityError: an empty eligible set.
    """
    now_at = instant_of(now, owner="decide_block")
    ids = decision_ids(contacts.contact_id, plan, now_at)
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
    refused = None
    if plan.promises is not None:
        send_at = slots[contacts.zone_code, np.maximum(plan.catalog.split(drawn.action)[1], 0)]
        refused = plan.promises.reserve(plan.guardrails, seen, ids, drawn.action, send_at, now_at)
    table = decision_table(
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
    return Decided(
        table,
        drawn.action,
        removed,
        np.array([bool(reasons) for reasons in refused or [()] * contacts.n], dtype=np.bool_),
        Counter(reason for reasons in refused or () for reason in reasons),
        Counter(name for one in drawn.shortages or () for name in {shortage.limit for shortage in one}),
        Unknowns.of(seen),
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
    admission, shortages = plan.limits.admit(
        _block_name(plan, contacts.context, eligibility, ids),
        plan.catalog,
        slots[contacts.zone_code],
        eligible,
        ids,
        lambda rows, left: _choose_dense(plan, contacts.context.take(rows), left, ids[rows], group[rows]),
        seed=plan.seed,
        now_at=now_at,
    )
    return _Drawn(admission.action, admission.propensity, pack(admission.eligible), shortages)


def _block_name(plan: Plan, context: ContextBlock, eligibility: Eligibility, ids: ObjectArray) -> str:
    """Names a block by all that its decisions depend on: only the very same block may find the quota that it took."""
    settings = [plan.policy_version, plan.guardrails.version, plan.use_case, plan.seed]
    settings += [plan.control_share, plan.uniform_share, plan.limits and plan.limits.limits.to_builtins()]
    digest = hashlib.sha256(msgspec.json.encode(settings))
    digest.update("\n".join(ids.tolist()).encode())
    digest.update(eligibility.packed().tobytes())
    arrays = context_arrays(context)
    if arrays:
        batch = pa.RecordBatch.from_pydict(arrays)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        digest.update(sink.getvalue())
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
