"""The prices of one logged decision: what each send was charged, and the policy that decided under them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.features import ContextBlock
from engine.log.parquet import LogReader
from engine.protocols import Policy
from engine.types import HOLD, FloatArray
from experiments.outputs_prices import PricesOutput
from experiments.serve.prices import prices_in_force, shown_prices
from policies.prices.priced import priced
from policies.prices.pricing import Prices
from policies.vw.compiled import CompiledPolicy


@dataclass(frozen=True)
class Charged:
    """A decision under prices.

    Attributes:
        policy: that decided; the folder's own where there were no prices.
        price: (k,) of each action in the metric's unit, 0 for hold.
        prices: in force, as they are printed; None where there were none.
        notes: what a reader must know.
    """

    policy: Policy
    price: FloatArray
    prices: PricesOutput | None = None
    notes: tuple[str, ...] = ()


def charged(reader: LogReader, version: str, policy: Policy, context: ContextBlock) -> Charged:
    """The prices that the footer keeps for a policy version, applied to its policy.

    Args:
        reader: the log.
        version: of the decision's policy.
        policy: of the folder.
        context: the decision's.

    Raises:
        DataError: prices of another version of Tactful.
    """
    prices = prices_in_force(reader, version)
    if prices is None:
        return Charged(policy, np.zeros(reader.meta.catalog.k))
    catalog = reader.meta.catalog
    under = priced(policy, prices.table(catalog), catalog, prices.cut)
    price = _of_actions(prices, reader, context)
    notes: tuple[str, ...] = ()
    if price.any():
        notes = (
            "probabilities and the reason of a hold count the price of each message; scores are before prices"
            if isinstance(policy, CompiledPolicy)
            else "each send keeps exp(-price) of its probability: the policy has no scores to charge",
        )
    return Charged(under, price, shown_prices(None, prices), notes)


def policy_under_prices(reader: LogReader, policy: Policy) -> Policy | None:
    """The policy that decided a whole log, under the prices of its footer; None where they changed within the log.

    Raises:
        DataError: prices of another version of Tactful.
    """
    versions = reader.meta.prices if isinstance(reader.meta.prices, dict) else {}
    if not versions:
        return policy
    if len(versions) > 1:
        return None
    prices = prices_in_force(reader, next(iter(versions)))
    if prices is None:
        return policy
    return priced(policy, prices.table(reader.meta.catalog), reader.meta.catalog, prices.cut)


def _of_actions(prices: Prices, reader: LogReader, context: ContextBlock) -> FloatArray:
    catalog = reader.meta.catalog
    group = int(prices.cut.cell_of(context)[0]) if prices.cut else 0
    channel, _, arm = catalog.split(np.arange(catalog.k))
    price = prices.table(catalog)[group][channel, arm]
    price[HOLD] = 0.0
    return np.asarray(price, dtype=np.float64)
