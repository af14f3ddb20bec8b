"""`tactful/Campaign-v0`: a population as one vector environment, stepped as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from engine.eligibility import Eligibility
from engine.errors import ParameterError
from engine.guardrails.layer import Guardrails
from engine.types import HOLD, BoolArray, CodeArray, Float32Array, FloatArray, IntArray
from simulator.envs.batch import BATCH_ROWS, Batch
from simulator.envs.coding import Coding
from simulator.people.people import GONE
from simulator.rollout import Actor, play
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

Step = tuple[Float32Array, FloatArray, BoolArray, BoolArray, dict[str, Any]]


class CampaignEnv(VectorEnv[Float32Array, CodeArray | IntArray, Any]):
    """A sender and its whole list: each day, one decision for every contact, all at once.

    ## Description
    `num_envs` contacts of one world of a scenario (docs/simulator.md), on one calendar. No loop runs over contacts:
    batches of contacts are stepped as arrays. Contact `i` lives the same life as in `tactful/Subscriber-v0` with the
    same seed, number and actions: same observations, masks and rewards, same bytes, whatever `block_rows`.

    ## Action Space
    `MultiDiscrete([k] * num_envs)`; 0 is hold, `1 + (c * H + h) * K + a` sends arm `a` on channel `c` at local hour
    `h`. Three ways to what the guardrail layer leaves of them: `eligibility()` hands it out as factors, batch by batch
    (cheap); `action_masks()` as (num_envs, k) bool; with `masks=True` each `info["action_mask"]` is that array. An
    action outside the mask is not sent: it counts as hold, and `info["refused"]` says where.

    ## Observation Space
    `Box(-1, 1, (num_envs, d), float32)`, row for row what `tactful/Subscriber-v0` shows: the clock, then each feature
    of the scenario's schema in a fixed coding (`simulator.envs.coding`); `observation_names` are the d names.

    ## Rewards
    (num_envs,) float64: `Happened.reward_usd` of the step, US dollars, orders that need no message included.

    ## Starting State
    `reset(seed=s)` opens world `s` with the contacts `first` to `first + num_envs - 1`; each later reset without a seed
    goes on to the next `num_envs` contacts of the same world.

    ## Episode End
    A campaign ends for everybody at once, after `days`. A contact that is gone for good before that stays: its sender
    cannot know, and messages to it go on to cost. In the last step `terminations` are true for contacts that are gone
    (nothing follows), `truncations` for all others.

    Autoreset: `metadata["autoreset_mode"]` is the argument `autoreset_mode`. NEXT_STEP (default): the step after the
    last ignores its actions, opens the next episode and returns its first observations with rewards of 0. SAME_STEP:
    the last step returns the next episode's first observations; the last ones are in `info["final_obs"]`, the last
    info in `info["final_info"]`. DISABLED: call `reset()`; a `reset_mask` must name everybody, for there is one
    calendar.

    ## Information
    `deciding` (num_envs,) bool: for whom the scenario's trigger asks for a decision. `refused` (num_envs,) bool.
    `action_mask` with `masks=True`.

    ## Policies at array speed
    `play(actor)` takes one step with the choices of a `simulator.rollout.Actor` (any policy of ours, for instance) and
    skips the observations, which such an actor does not read. `run(actor)` plays a whole episode batch after batch and
    returns each contact's sum of rewards: only one batch of contacts is in memory at a time.

    ## Arguments
    ```python
    import simulator.envs
    gymnasium.make_vec("tactful/Campaign-v0", num_envs=100_000, scenario="newsletter", days=90)
    ```
    * `num_envs`: contacts.
    * `scenario`: name of a scenario in conf/scenario, or a `Scenario`.
    * `changes`: keys that replace those of the scenario's yaml, mappings merged.
    * `days`: length of an episode, days.
    * `first`: number of the first contact.
    * `block_rows`: contacts per batch; no result depends on it.
    * `masks`: whether `info` carries `action_mask`.
    * `autoreset_mode`: an `AutoresetMode`, or its value.

    ## Version History
    * v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}
    render_modes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_envs: int = 1000,
        *,
        scenario: str | Scenario = "newsletter",
        changes: Mapping[str, Any] | None = None,
        days: float = 90.0,
        first: int = 0,
        block_rows: int = BATCH_ROWS,
        masks: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        if num_envs < 1 or block_rows < 1 or first < 0 or not days > 0:
            raise ParameterError(
                "num_envs, block_rows, first, days",
                "Campaign-v0",
                allowed="at least 1, 1, 0 and above 0",
                got=(num_envs, block_rows, first, days),
            )
        self.num_envs = num_envs
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario, changes)
        self.steps = int(np.ceil(days / self.scenario.step_days))
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self._masks = masks
        self._block_rows = block_rows
        self._guardrails = Guardrails(
            self.scenario.pack, self.scenario.catalog, self.scenario.packages, self.scenario.features
        )
        self._coding = Coding(self.scenario)
        self._start = first
        self._first = first
        self._batches: list[Batch] = []
        self.single_action_space = spaces.Discrete(self.scenario.catalog.k)
        self.single_observation_space = spaces.Box(self._coding.low, self._coding.high, dtype=np.float32)

    # Made when asked for: limits of every observation of every contact take more memory than the contacts.
    @cached_property
    def observation_space(self) -> spaces.Box:  # type: ignore[override]
        """The space of all observations."""
        shape = (self.num_envs, 1)
        return spaces.Box(np.tile(self._coding.low, shape), np.tile(self._coding.high, shape), dtype=np.float32)

    @cached_property
    def action_space(self) -> spaces.MultiDiscrete:  # type: ignore[override]
        """The space of all actions."""
        return spaces.MultiDiscrete(np.full(self.num_envs, self.scenario.catalog.k, dtype=np.int64))

    @property
    def action_names(self) -> tuple[str, ...]:
        """(k,) names of the actions."""
        return self.scenario.catalog.action_names

    @property
    def observation_names(self) -> tuple[str, ...]:
        """(d,) names of the columns of an observation."""
        return self._coding.names

    @property
    def worlds(self) -> tuple[World, ...]:
        """The batches of contacts, in order, with their latents."""
        return tuple(batch.world for batch in self._batches)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Open an episode for everybody; see Starting State.

        Raises:
            ParameterError: an option other than a `reset_mask` that is true for everybody.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        if not np.all(given.pop("reset_mask", True)) or given:
            raise ParameterError(
                "options", "Campaign-v0", allowed="a `reset_mask` that names every contact, or nothing", got=options
            )
        if seed is not None:
            self._first = self._start
        elif self._batches:
            self._first += self.num_envs
        self._open()
        return self._observe(), self._info()

    def step(self, actions: CodeArray | IntArray) -> Step:
        """One decision for every contact.

        Raises:
            ParameterError: no episode is open, or actions of another shape, type or range.
        """
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ParameterError(
                "actions",
                "Campaign-v0",
                allowed=f"({self.num_envs},) whole numbers",
                got=(actions.shape, actions.dtype),
            )
        if not 0 <= actions.min() <= actions.max() < self.scenario.catalog.k:
            raise ParameterError(
                "actions",
                "Campaign-v0",
                allowed=f"in [0, {self.scenario.catalog.k})",
                got=(actions.min(), actions.max()),
            )
        if self._renewed():
            observations, info = self.reset()
            return observations, np.zeros(self.num_envs), *self._ends(over=False), info
        rewards, refused = np.empty(self.num_envs), np.empty(self.num_envs, dtype=np.bool_)
        for batch in self._batches:
            rewards[batch.span], refused[batch.span] = batch.step(actions[batch.span])
        terminations, truncations = self._ends(over=self.over)
        observations, info = self._observe(), self._info() | {"refused": refused}
        if self.over and self.autoreset_mode is AutoresetMode.SAME_STEP:
            everybody = np.ones(self.num_envs, dtype=np.bool_)
            final = {"final_obs": observations, "final_info": info}
            observations, info = self.reset()
            info |= final | {f"_{name}": everybody for name in final}
        return observations, rewards, terminations, truncations, info

    def play(self, actor: Actor) -> tuple[FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """One step with an actor's choices, without observations.

        Args:
            actor: asked batch by batch.

        Returns:
            Rewards, terminations, truncations, and info with `action` (num_envs,) int32. After the end of an episode
            the next call opens another (rewards of 0), or raises where autoreset is disabled.

        Raises:
            ParameterError: no episode is open.
        """
        action = np.full(self.num_envs, HOLD, dtype=np.int32)
        rewards = np.zeros(self.num_envs)
        if self._renewed():
            self._first += self.num_envs
            self._open()
            return rewards, *self._ends(over=False), {"action": action}
        for batch in self._batches:
            happened = batch.play(actor)
            rewards[batch.span], action[batch.span] = happened.reward_usd, happened.action
        return rewards, *self._ends(over=self.over), {"action": action}

    def run(self, actor: Actor, *, seed: int | None = None) -> FloatArray:
        """(num_envs,) sums of rewards of one episode from its start, USD: batch after batch, in the memory of one.

        The episode is the one that is open, played from its first day in worlds of its own. The state of the
        environment does not change.

        Args:
            actor: asked batch by batch, each batch from the first day to the last.
            seed: seed of a world to play in instead, from its first contacts; nothing has to be open then.
        """
        world, first = (int(self.np_random_seed or 0), self._first) if seed is None else (seed, self._start)
        totals = np.zeros(self.num_envs)
        for batch in self._opened(world, first):
            for _ in range(self.steps):
                totals[batch.span] += play(batch.world, actor).reward_usd
        return totals

    def eligibility(self) -> Iterator[tuple[slice, Eligibility]]:
        """What the guardrails leave, batch by batch: the rows of the batch, and the factors for them.

        Rows that are not decided for (`info["deciding"]`) may get hold alone, whatever the factors say. The
        arrays cannot be written to.
        """
        for batch in self._batches:
            yield batch.span, batch.eligibility.sealed()

    def action_masks(self) -> BoolArray:
        """(num_envs, k) bool: the actions that may be sent; hold always."""
        masks = np.empty((self.num_envs, self.scenario.catalog.k), dtype=np.bool_)
        for batch in self._batches:
            masks[batch.span] = batch.masks()
        return masks

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return bool(self._batches) and self._batches[0].world.state.step >= self.steps

    def _open(self) -> None:
        self._batches = list(self._opened(int(self.np_random_seed or 0), self._first))

    def _opened(self, seed: int, first: int) -> Iterator[Batch]:
        for start in range(0, self.num_envs, self._block_rows):
            rows = slice(start, min(start + self._block_rows, self.num_envs))
            world = World(
                self.scenario,
                rows.stop - rows.start,
                seed,
                first=first + start,
                guardrails=self._guardrails,
            )
            yield Batch(world, rows)

    def _renewed(self) -> bool:
        """Whether this step has to open the next episode.

        Raises:
            ParameterError: it would have to, but autoreset is disabled, or nothing was ever opened.
        """
        if not self._batches or (self.over and self.autoreset_mode is AutoresetMode.DISABLED):
            raise ParameterError("actions", "Campaign-v0", allowed="taken within an episode; call reset()", got="none")
        return self.over

    def _ends(self, *, over: bool) -> tuple[BoolArray, BoolArray]:
        if not over:
            return np.zeros(self.num_envs, dtype=np.bool_), np.zeros(self.num_envs, dtype=np.bool_)
        gone = np.concatenate([batch.world.state.stage == GONE for batch in self._batches])
        return gone, ~gone

    def _observe(self) -> Float32Array:
        out = np.empty((self.num_envs, self._coding.d), dtype=np.float32)
        for batch in self._batches:
            batch.observe(self._coding, out[batch.span], self.steps)
        return out

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"deciding": np.concatenate([batch.deciding for batch in self._batches])}
        if self._masks:
            info["action_mask"] = self.action_masks()
        return info
