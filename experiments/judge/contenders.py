"""Who is judged in a backtest: the learned policy, what it is held against, and the peers that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.errors import ConfigError, LearnError, TactfulError
from engine.log.selection import Selection
from engine.ope.estimate import Skipped
from engine.ope.target import LoggedTarget, PolicyTarget, Target
from engine.protocols import Policy
from policies.exploring.config import ExplorationConfig
from policies.peers.constant import AlwaysPolicy, AnySendPolicy, MergeTagBlast, UniformPolicy
from policies.peers.segments import StaticSegments
from policies.registry import Setting, action_values, make
from policies.vw.scoring.compiled import CompiledPolicy

LEARNED: Final = "vw"
GREEDY: Final = "vw_greedy"
SEGMENTS: Final = "static_segments"
BLAST: Final = "merge_tag_blast"
LOGGED: Final = "logged"
ANY_SEND: Final = AnySendPolicy.name
NAMED: Final = (SEGMENTS, BLAST, LOGGED, "uniform", ANY_SEND, LEARNED, GREEDY)
# More constant actions than this are not judged one by one: nobody would launch the winner of such a contest.
MAX_CONSTANTS: Final = 120


@dataclass(frozen=True)
class Contenders:
    """Everything to be judged.

    Attributes:
        targets: name -> target.
        missing: peers that this log cannot make, with the reason.
    """

    targets: dict[str, Target]
    missing: tuple[Skipped, ...]


def contenders(
    rounds: Selection, learned: Policy, segments: StaticSegments, peers: Sequence[str], setting: Setting
) -> Contenders:
    """Everything to be judged, learnt and tuned on the training rounds.

    Args:
        rounds: the training side.
        learned: the policy that was learnt.
        segments: the tuned segments.
        peers: names of `policies.registry.PEERS`.
        setting: what they are made for.

    Raises:
        MissingPropensityError, LearnError: rounds that cannot train.
    """
    catalog = setting.catalog
    values = action_values(rounds, setting)
    targets: dict[str, Target] = {LEARNED: PolicyTarget(learned, LEARNED)}
    if isinstance(learned, CompiledPolicy):
        targets[GREEDY] = without_exploring(learned)
    targets |= {
        SEGMENTS: PolicyTarget(segments, SEGMENTS),
        BLAST: PolicyTarget(MergeTagBlast(values)),
        "uniform": PolicyTarget(UniformPolicy()),
        ANY_SEND: PolicyTarget(AnySendPolicy()),
        LOGGED: LoggedTarget(),
    }
    missing = []
    for name in peers:
        try:
            targets[name] = PolicyTarget(make(name, rounds, setting), name)
        except (ConfigError, LearnError) as error:
            missing.append(Skipped(policy=name, estimator="every", reason=_reason(error)))
    logged = [catalog.action_names[action] for action in range(catalog.k) if values.rows[0, action]]
    constants = logged if len(logged) <= MAX_CONSTANTS else []
    targets |= {f"always:{name}": PolicyTarget(AlwaysPolicy(catalog, name), f"always:{name}") for name in constants}
    return Contenders(targets, tuple(missing))


def without_exploring(policy: CompiledPolicy) -> PolicyTarget:
    """The same policy, always with the action that it thinks best."""
    return PolicyTarget(replace(policy, exploration=ExplorationConfig(kind="greedy")), GREEDY)


def _reason(error: TactfulError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
