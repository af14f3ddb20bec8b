"""What a launch report needs besides estimates, summed in the pass that evaluates: no block is read twice for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.guardrails.replay.log import COLUMNS
from engine.log.parquet import LogReader
from engine.ope.metrics.definition import MetricStack
from engine.ope.metrics.state import StackState
from engine.ope.target import LoggedTarget, Remembered, Target
from engine.records.rounds import RoundBatch
from experiments.judge.launch.exploring import ExploringSums
from experiments.judge.launch.metrics import bound_stack
from experiments.judge.launch.rule_costs import RuleCosts, Scores, rule_costs
from experiments.judge.launch.support import WeightHistogram
from experiments.judge.launch.taken_apart import ApartSums
from experiments.judge.launch.treatment import TreatmentSums
from experiments.judge.volume_curve import CurvePass
from policies.peers.segmentation import Segmentation


def remembered(targets: Mapping[str, Target]) -> dict[str, Target]:
    """The targets, each asked once a block however many look at it."""
    # What the log did costs nothing to ask, and estimators know it by its kind.
    return {
        name: target if isinstance(target, LoggedTarget) else Remembered(target) for name, target in targets.items()
    }


@dataclass
class LaunchPass:
    """Sums of one pass.

    Attributes:
        stack: the metrics, the baseline first; None where none are asked for.
        treatment: None where the two policies are not known in full.
        rules: None where the log does not keep what rules read.
        baseline / policy: whose treatment is compared.
        weights: histograms of the weights of these two.
        rewards / extra: what the pass must read.
        curve: the volume curve of the policy; None where it was not asked for.
        exploring: what exploring costs; None where the policy has no scores.
        apart: the difference of the two taken apart; None where no stage stands between a message and its money.
    """

    stack: StackState | None
    treatment: TreatmentSums | None
    rules: RuleCosts | None
    baseline: Target
    policy: Target
    weights: tuple[WeightHistogram, ...]
    rewards: tuple[str, ...]
    extra: tuple[str, ...]
    curve: CurvePass | None = None
    exploring: ExploringSums | None = None
    apart: ApartSums | None = None

    def add(self, batch: RoundBatch) -> None:
        """Sum a batch."""
        if not batch.n:
            return
        if self.stack is not None:
            self.stack.add(batch)
        for histogram in self.weights:
            histogram.add(batch)
        if self.treatment is not None:
            today, new = (target.probabilities(batch).full for target in (self.baseline, self.policy))
            if today is not None and new is not None:
                self.treatment.add(batch.context, today, new)
        if self.rules is not None:
            self.rules.add(batch)
        if self.curve is not None:
            self.curve.add(batch)
        if self.exploring is not None:
            self.exploring.add(batch)
        if self.apart is not None:
            self.apart.add(batch)


def launch_pass(
    reader: LogReader,
    targets: Sequence[Target],
    policy: Target,
    stack: MetricStack | None,
    groups: Segmentation,
    scores: Scores | None,
    curve: CurvePass | None = None,
    exploring: ExploringSums | None = None,
    apart: ApartSums | None = None,
) -> LaunchPass:
    """Prepare the sums.

    Args:
        reader: the log.
        targets: whose metrics are wanted, the baseline first.
        policy: the policy that is to be launched.
        stack: the metrics, or None.
        groups: cuts by single features for the treatment, fitted on the training side.
        scores: predicted reward of every action under the policy's own model, or None.
        curve: the volume curve, where it was asked for.
        exploring: sums of what exploring costs, or None.
        apart: sums by which the difference is taken apart, or None.
    """
    bound = None if stack is None else bound_stack(stack, reader)
    both = targets[0].knows_all and policy.knows_all and targets[0].name != policy.name
    rules = rule_costs(reader, policy, scores)
    return LaunchPass(
        stack=None if bound is None else StackState(bound, targets),
        treatment=TreatmentSums(reader.meta.catalog, groups) if both else None,
        rules=rules,
        baseline=targets[0],
        policy=policy,
        weights=tuple(WeightHistogram(target) for target in dict.fromkeys((targets[0], policy))),
        rewards=tuple(
            dict.fromkeys(
                (
                    *(() if bound is None else bound.needed),
                    *(() if curve is None else curve.metrics),
                    *(() if apart is None else (apart.stage,)),
                )
            )
        ),
        extra=COLUMNS if rules is not None else (),
        curve=curve,
        exploring=exploring,
        apart=apart,
    )
