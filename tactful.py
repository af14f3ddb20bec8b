"""Tactful from Python: the names that a program of yours may import, and nothing else is promised to stay.

Each name is imported when it is first asked for, so `import tactful` costs nothing. The examples below run in this
order, in a folder in which these commands have left a log and a trained policy (docs/mapping.md):

    tactful import --mapping letters.yaml --input letters.csv --out log.parquet
    tactful train --log log.parquet --metric gave --out policy

**Decide** under guardrails, without files or clocks: the actions and the features are plain data, contacts come from a
file, and the batch of decisions is a table in the schema of the log (docs/schema.md).

>>> from datetime import UTC, datetime
>>> from pathlib import Path
>>> import numpy as np
>>> import tactful
>>> arms = [{"id": "news", "approved": True}, {"id": "sale", "approved": True, "discount_depth": 0.2}]
>>> catalog = tactful.catalog_from({"name": "shop", "channels": ["email", "sms"], "hours": [9, 18], "arms": arms})
>>> isinstance(catalog, tactful.Catalog), catalog.k
(True, 9)
>>> schema = tactful.schema_from({"features": []})
>>> isinstance(schema, tactful.FeatureSchema), schema.names
(True, ())
>>> _ = Path("contacts.csv").write_text('''\\
... contact_id,time_zone,consent_email_promotional,consent_email_promotional_at,consent_email_promotional_source,\\
... suppressed_email,sends
... ada,Europe/Berlin,true,2026-01-05T10:00:00Z,sign-up form,false,[]
... bob,,,,,,
... ''')
>>> now = datetime(2026, 11, 23, 6, tzinfo=UTC)
>>> (contacts,) = tactful.contact_batches(Path("contacts.csv"), schema, catalog, now)
>>> guardrails = tactful.Guardrails(tactful.load_pack("default"), catalog)

**A policy of your own** is any object with a name and a `distribution`; the check says what it breaks.

>>> class HoldHalf:
...     name = "hold half of the time"
...     def distribution(self, context, eligible):
...         if not eligible.any(axis=1).all():
...             raise tactful.EligibilityError("a contact has no eligible action")
...         weight = eligible * np.r_[float(eligible.shape[1] - 1), np.ones(eligible.shape[1] - 1)]
...         return weight / weight.sum(axis=1, keepdims=True)
>>> policy = HoldHalf()
>>> isinstance(policy, tactful.Policy)
True
>>> tactful.check_policy(policy, catalog, schema)
>>> plan = tactful.Plan(guardrails, policy, "1", contact_key="a secret of yours", seed=7)
>>> decided = tactful.decide_batch(plan, contacts, now)
>>> decided.table.select(["action_name", "propensity"]).to_pylist()[1]  # nobody knows whether bob agreed
{'action_name': 'hold', 'propensity': 1.0}
>>> round(decided.table["propensity"][0].as_py(), 3) in (round(8 / 12, 3), round(1 / 12, 3))  # ada: hold, or 4 e-mails
True

**Evaluate** policies on a log before anybody receives a message, one of them a trained folder.

>>> log = tactful.LogReader("log.parquet")
>>> rounds = list(log.rounds(rewards=["gave"]))
>>> targets = [tactful.PolicyTarget(tactful.TrainedFolder(Path("policy")).policy()), tactful.PolicyTarget(HoldHalf())]
>>> question = tactful.Question(metric="gave", reward_range=(0.0, 1.0), estimators=("ips", "snips"))
>>> found = tactful.evaluate(rounds, targets, question, tactful.EvaluationSettings(alpha=0.1))
>>> [(one.policy == "hold half of the time", one.estimator) for one in found.results]
[(False, 'ips'), (False, 'snips'), (True, 'ips'), (True, 'snips')]
>>> all(one.low < one.value < one.high for one in found.results)
True

**A rule of your own** removes actions and can explain each removal; what is unknown must block.

>>> class NoSms:
...     reads, applies_to = (), ("promotional", "transactional")
...     def verdict(self, scene):
...         sms = np.array([channel == "sms" for channel in scene.catalog.channels])
...         removed = np.broadcast_to(sms[None, :, None], (scene.contacts.n, len(sms), 1))
...         return tactful.Verdict(channel_arm=removed)
...     def explain(self, scene, row, cell):
...         return tactful.Finding("sms", "any other channel", "nobody writes by SMS here")
>>> isinstance(NoSms(), tactful.Rule)
True
>>> tactful.check_rule(NoSms(), catalog)

**An estimator of your own** is a ratio of two sums over the rows; its error comes with it.

>>> class Capped:
...     name, numerator, denominator, offset = "capped", "capped_reward", "one", None
...     weight, needs_model, own_model, has_interval = "weight", False, False, True
...     caution = "weights above 10 count as 10"
...     def terms(self, rows):
...         return np.minimum(rows.weight, 10.0) * rows.reward
>>> estimator: tactful.Estimator = Capped()
>>> rows = tactful.Rows(reward=np.array([1.0, 0.0, 1.0]), weight=np.array([2.0, 1.0, 40.0]))
>>> estimator.terms(rows).tolist()
[2.0, 0.0, 10.0]
>>> question = tactful.Question(metric="gave", reward_range=(0.0, 1.0), estimators=("ips", estimator))
>>> [one.estimator for one in tactful.evaluate(rounds, targets[1:], question).results]
['ips', 'capped']

**Errors** are all of one kind: a message, and a hint that says what to do next.

>>> try:
...     tactful.load_pack("lenient")
... except tactful.TactfulError as error:
...     print(error.hint)
shipped: default, full, journeys, permission; or give the path of a .yaml file
"""
# ruff: noqa: PLC0414 - "import X as X" is how type checkers are told that a name is handed on

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine.catalog import Catalog as Catalog
    from engine.catalog import catalog_from as catalog_from
    from engine.contacts.file import contact_batches as contact_batches
    from engine.decide.batch import decide_batch as decide_batch
    from engine.decide.plan import Plan as Plan
    from engine.errors import EligibilityError as EligibilityError
    from engine.errors import TactfulError as TactfulError
    from engine.features import FeatureSchema as FeatureSchema
    from engine.features import schema_from as schema_from
    from engine.guardrails.check import check_rule as check_rule
    from engine.guardrails.layer import Guardrails as Guardrails
    from engine.guardrails.pack import load_pack as load_pack
    from engine.guardrails.rule import Finding as Finding
    from engine.guardrails.rule import Rule as Rule
    from engine.guardrails.rule import Verdict as Verdict
    from engine.log.parquet import LogReader as LogReader
    from engine.ope.estimators.terms import Estimator as Estimator
    from engine.ope.estimators.terms import Rows as Rows
    from engine.ope.evaluate import evaluate as evaluate
    from engine.ope.settings import EvaluationSettings as EvaluationSettings
    from engine.ope.setup import Question as Question
    from engine.ope.target import PolicyTarget as PolicyTarget
    from engine.protocols import Policy as Policy
    from policies.check import check_policy as check_policy
    from policies.trained import TrainedFolder as TrainedFolder

# Name -> the module that holds it, and after a colon its name there where that is another one.
HOMES: Final = {
    "Catalog": "engine.catalog",
    "catalog_from": "engine.catalog",
    "FeatureSchema": "engine.features",
    "schema_from": "engine.features",
    "contact_batches": "engine.contacts.file",
    "Guardrails": "engine.guardrails.layer",
    "load_pack": "engine.guardrails.pack",
    "Plan": "engine.decide.plan",
    "decide_batch": "engine.decide.batch",
    "TrainedFolder": "policies.trained",
    "LogReader": "engine.log.parquet",
    "PolicyTarget": "engine.ope.target",
    "Question": "engine.ope.setup",
    "EvaluationSettings": "engine.ope.settings",
    "evaluate": "engine.ope.evaluate",
    "Policy": "engine.protocols",
    "check_policy": "policies.check",
    "Rule": "engine.guardrails.rule",
    "Verdict": "engine.guardrails.rule",
    "Finding": "engine.guardrails.rule",
    "check_rule": "engine.guardrails.check",
    "Estimator": "engine.ope.estimators.terms",
    "Rows": "engine.ope.estimators.terms",
    "EligibilityError": "engine.errors",
    "TactfulError": "engine.errors",
}
__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"tactful has no public name {name!r}; it has: {', '.join(HOMES)}")
    module, _, own_name = HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), own_name or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
