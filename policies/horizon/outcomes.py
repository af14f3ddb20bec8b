"""What a message brings now, by its parts: the chance of a click, the value of a click, what is lost for good.

The money of a decision is mostly noise: orders that come by themselves. A message acts through events that the log
keeps beside the money, far more frequent and far less noisy. So the gain of a send a over hold is put together:

    gain(x, a) = click(x, a) worth(x, a) + sum over lost events of lost(x, a) price + rest(channel of a)

worth is the money of clicked decisions over what context x brings without a click. This is the surrogate index of
Athey, Chetty, Imbens & Kang (NBER 26463, 2019, equation 3.1): it holds where messages act through these events alone.
What acts past them shows as a mean residual of the channel, and is added where it exceeds two standard errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError
from engine.features import ContextBatch
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from policies.horizon.config import HorizonConfig
from policies.horizon.continuation import echo_slope
from policies.horizon.panel import Panel
from policies.horizon.regression import Regression
from policies.vw.reward_model import VwRewardModel

# With fewer clicked decisions the value of a click cannot be told from that of any other decision.
LEAST_EVENTS: Final = 20
# The price of an event counts as if so many more decisions had shown none.
_PRICE_ROWS: Final = 20.0
# Standard errors; two-sided level of about 5 %.
_CLEAR: Final = 2.0


@dataclass(frozen=True)
class Outcomes:
    """The parts, fitted.

    Attributes:
        chance / worth: the models of a click and of its value; without clicks `chance` is that of the money itself, and
            `worth` None.
        lost: chances of events that end a permission, each with what the event costs at once (at most 0).
        rest: (k - 1,) what the parts leave out.
        echo: (k - 1,) what a click's chance of each send costs in later orders, at most 0.
        residual: (n,) click of each send that it was fitted on, less its chance; where there are no clicks, money less
            what context and action let expect. NaN elsewhere.
    """

    chance: VwRewardModel
    worth: VwRewardModel | None
    lost: tuple[tuple[VwRewardModel, float], ...]
    rest: FloatArray
    echo: FloatArray
    residual: FloatArray

    def gain(self, context: ContextBatch) -> FloatArray:
        """(m, k - 1) expected money of each send over hold, without what it costs later."""
        chance = self.chance.predict(context)
        if self.worth is None:
            bought: FloatArray = chance[:, 1:] - chance[:, :1]
        else:
            bought = np.clip(chance[:, 1:], 0.0, 1.0) * self.worth.predict(context)[:, 1:]
        for model, price in self.lost:
            bought += price * _share(model, context)
        return bought + self.rest

    def echoes(self, context: ContextBatch) -> FloatArray:
        """(m, k - 1) what each send does to later orders by its discount; at most 0."""
        if self.worth is None or not self.echo.any():
            return np.zeros((context.n, len(self.rest)))
        return _share(self.chance, context) * self.echo

    def losing(self, context: ContextBatch) -> FloatArray:
        """(m, k - 1) chance that a send ends a permission."""
        total = np.zeros((context.n, len(self.rest)))
        for model, _ in self.lost:
            total += _share(model, context)
        return np.minimum(total, 1.0)


def _share(model: VwRewardModel, context: ContextBatch) -> FloatArray:
    return np.clip(model.predict(context)[:, 1:], 0.0, 1.0)


def learn_outcomes(
    panel: Panel, on: Regression, metric: str, config: HorizonConfig, interactions: tuple[str, ...]
) -> Outcomes:
    """Fit on the rows that may train.

    Args:
        panel: trajectories.
        on: the panel's decisions.
        metric: money.
        config: see `HorizonConfig`.
        interactions: the pairs of namespaces that the models of chances learn.

    Raises:
        LearnError: no row that may train, or a failure of Vowpal Wabbit.
    """
    money = panel.reward(metric)
    trains = panel.usable & ~np.isnan(money)
    if not trains.any():
        raise LearnError(f"no usable round with a known {metric!r}", hint="join the outcomes first")
    sent = trains & (panel.action != HOLD)
    clicked = _happened(panel, config.clicked)
    rest = np.zeros(on.catalog.k - 1)
    if int((sent & clicked).sum()) < LEAST_EVENTS:
        direct = on.fitted(money, trains, config.ridge, interactions)
        losses = tuple((model, 0.0) for model, _ in _losses(panel, on, money, sent, clicked, config, interactions))
        found = Outcomes(direct, None, losses, rest, rest, money)
        held = np.concatenate([direct.predict(context)[:, HOLD] for context in on.contexts])
        own = _own(on, lambda context: direct.predict(context)[:, 1:])
        return replace(found, residual=money - np.where(panel.action == HOLD, held, own))
    over = money - on.of_context(money, trains & ~clicked, config.ridge)
    chance = on.fitted(clicked.astype(np.float64), sent, config.ridge, interactions)
    # Without products of context and action: clicks are few.
    worth = on.fitted(over, sent & clicked, config.value_ridge)
    losses = _losses(panel, on, over, sent, clicked, config, interactions)
    found = Outcomes(chance, worth, losses, rest, rest, over)
    rest = _rest(on, over - _own(on, found.gain), sent)
    expected = _own(on, lambda context: _share(chance, context))
    slope = echo_slope(panel, on.catalog, config.money, expected, config.echo_decisions)
    _, _, arm = on.catalog.split(np.arange(1, on.catalog.k))
    echo = slope * np.array([one.discount_depth for one in on.catalog.arms])[arm]
    return replace(found, rest=rest, echo=echo, residual=np.where(sent, clicked - expected, np.nan))


def _happened(panel: Panel, name: str) -> BoolArray:
    return panel.reward(name) > 0.0 if panel.knows(name) else np.zeros(panel.n, dtype=np.bool_)


def _losses(
    panel: Panel,
    on: Regression,
    over: FloatArray,
    sent: BoolArray,
    clicked: BoolArray,
    config: HorizonConfig,
    interactions: tuple[str, ...],
) -> tuple[tuple[VwRewardModel, float], ...]:
    found = []
    for name in config.lost:
        happened = _happened(panel, name)
        if not (sent & happened).any():
            continue
        model = on.fitted(happened.astype(np.float64), sent, config.ridge, interactions)
        at_once = sent & happened & ~clicked
        found.append((model, min(float(over[at_once].sum() / (at_once.sum() + _PRICE_ROWS)), 0.0)))
    return tuple(found)


def _own(on: Regression, by_send: Callable[[ContextBatch], FloatArray]) -> FloatArray:
    """(n,) the column of the action that was taken; 0 for hold."""
    own, start = np.zeros(len(on.action)), 0
    for context in on.contexts:
        action = on.action[start : start + context.n]
        values = by_send(context)[np.arange(context.n), np.maximum(action - 1, 0)]
        own[start : start + context.n] = np.where(action == HOLD, 0.0, values)
        start += context.n
    return own


def _rest(on: Regression, residual: FloatArray, sent: BoolArray) -> FloatArray:
    """(k - 1,) mean residual of the send's channel: 0 where it cannot be told from noise."""
    rows = np.flatnonzero(sent)
    channel, _, _ = on.catalog.split(on.action[rows])
    found = np.zeros(len(on.catalog.channels))
    for number in range(len(found)):
        own = rows[channel == number]
        if len(own) >= LEAST_EVENTS:
            found[number] = _clear_mean(residual[own], on.weight[own])
    return found[_channel_of(on.catalog)]


def _clear_mean(values: FloatArray, weight: FloatArray) -> float:
    mean = float(np.average(values, weights=weight))
    error = float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / weight.sum())
    return mean if abs(mean) > _CLEAR * error else 0.0


def _channel_of(catalog: Catalog) -> IntArray:
    channel, _, _ = catalog.split(np.arange(1, catalog.k))
    return channel
