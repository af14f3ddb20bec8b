"""The groups of a decision: control, the uniform slice, and treatment, which is everybody else.

Control is a holdout of contacts, the same ones every time by a keyed hash: they are held, nothing is drawn, and their
rows say so (propensity 1, not available for learning and evaluation). The uniform slice is drawn anew for every
decision of the others, with probability u = uniform_share / (1 - control_share), and takes a uniform eligible action.
The logged propensity is the probability over that draw: u / |eligible| + (1 - u) policy(a). Nothing of it goes with the
contact, so it is the probability given any history of the contact too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ParameterError
from engine.identity import keyed_hash, unit_of
from engine.records.schema import CONTROL, GROUPS, TREATMENT, UNIFORM_SLICE
from engine.types import BoolArray, CodeArray, KeyArray, ObjectArray

if TYPE_CHECKING:
    from engine.decide.plan import Plan


def require_shares(control_share: float, uniform_share: float, owner: str) -> None:
    """Refuse shares of control and of the uniform slice that no population can have.

    Args:
        control_share: share of contacts that are held out.
        uniform_share: share of decisions, of all contacts, that take a uniform eligible action.
        owner: named in the error.

    Raises:
        ParameterError: a share outside [0, 1], or both together above 1.
    """
    for name, share in (("control_share", control_share), ("uniform_share", uniform_share)):
        if not 0.0 <= share <= 1.0:
            raise ParameterError(name, owner, allowed="in [0, 1]", got=share)
    if control_share + uniform_share > 1.0:
        raise ParameterError("uniform_share", owner, allowed="at most 1 - control_share", got=uniform_share)


def slice_probability(control_share: float, uniform_share: float) -> float:
    """Probability of the uniform slice in a decision for a contact that is not held out."""
    rest = 1.0 - control_share
    return min(1.0, uniform_share / rest) if rest > 0.0 else 0.0


def held_out(cluster: KeyArray, plan: Plan) -> BoolArray:
    """(n,) contacts in control, fixed by contact, use case and seed; a larger share takes nobody out."""
    return unit_of(cluster, f"group/{plan.use_case}/{plan.seed}") < plan.control_share


def groups_of(cluster: KeyArray, ids: ObjectArray, plan: Plan) -> CodeArray:
    """(n,) positions in `records.GROUPS`: control by contact, the uniform slice by decision."""
    # Another key than that of the action's uniform, so that the two are independent.
    draw = unit_of(keyed_hash(ids, f"slice/{plan.use_case}/{plan.seed}"), "slice")
    sliced = draw < plan.slice_probability
    group = np.where(sliced, GROUPS.index(UNIFORM_SLICE), GROUPS.index(TREATMENT)).astype(np.int32)
    group[held_out(cluster, plan)] = GROUPS.index(CONTROL)
    return group
