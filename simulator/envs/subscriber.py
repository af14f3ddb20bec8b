"""`tactful/Subscriber-v0`: one contact, one decision a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from engine.errors import ParameterError
from engine.guardrails.layer import Guardrails
from engine.types import HOLD, BoolArray, Float32Array
from simulator.envs.batch import masks
from simulator.envs.coding import Coding
from simulator.envs.timeline import Timeline, contact_events
from simulator.people.people import GONE
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World


class SubscriberEnv(gymnasium.Env[Float32Array, np.int64]):
    """One subscriber of a sender: each day, send one message or stay silent.

    ## Description
    A contact with habits, moods and a memory that nobody sees. Messages bring orders, but also fatigue, irritation,
    a habit of waiting for discounts, complaints and unsubscribes; and many orders come without any message, so that
    only what is added by sending counts. The world is a scenario (docs/simulator.md): its catalog gives the actions,
    its guardrail pack the mask, its money the reward. A contact of a world is the same here, in `tactful/Campaign-v0`
    and in `simulator.world.world.World`: same seed and number, same bytes.

    ## Action Space
    `Discrete(k)`: 0 is hold (no message); action `1 + (c * H + h) * K + a` sends content arm `a` on channel `c` at
    local hour `h` (`env.unwrapped.action_names` spells them out). What the guardrail layer leaves of them stands in
    `info["action_mask"]`, (k,) int8 as `Discrete.sample` takes it, and in `action_masks()`, (k,) bool as sb3-contrib's
    MaskablePPO takes it. An action outside the mask is not sent: it counts as hold, and `info["refused"]` says so.

    ## Observation Space
    `Box(-1, 1, (d,), float32)`: what the sender knows - noisy, dated, partly missing - in a fixed coding without any
    fitting: four columns of the clock, then each feature of the scenario's schema (`simulator.envs.coding` has the
    formulas, `env.unwrapped.observation_names` the d names). Latents (motive, fatigue, intent ...) are never in it.

    ## Rewards
    `Happened.reward_usd` of the step, US dollars: margin of orders with or without a message, less discounts, refunds,
    send costs, and what a lost permission or a complaint costs later. Never sending earns the organic margin alone;
    compare with that, not with zero.

    ## Starting State
    `reset(seed=s)` opens world `s` at contact number `first`; each `reset()` without a seed goes on to the next
    contact of the same world. `options={"contact": i}` chooses the contact, `options={"luck": j}` another future of
    the same contact (0 is the world itself). Without any seed the world's is drawn from the operating system.

    ## Episode End
    1. Termination: the contact is gone for good (it reads nothing and buys nothing any more). The sender cannot see
       this coming; in a campaign messages to such contacts would go on to cost.
    2. Truncation: `days` are over.

    ## Information
    `action_mask`; `deciding` (whether the scenario's trigger asks for a decision; if not, hold is all there is);
    `contact`, `step`, `day`; and after a step `happened`: sent, refused, delivered, seen, clicked, replied,
    unsubscribed, complained, ordered, organic, and usd amounts. `happened` is the truth at once; the observation
    learns of it by the scenario's delays.

    ## Arguments
    ```python
    gymnasium.make("simulator.envs:tactful/Subscriber-v0", scenario="newsletter", days=90, render_mode="rgb_array")
    ```
    * `scenario`: name of a scenario in conf/scenario, or a `Scenario`.
    * `changes`: keys that replace those of the scenario's yaml, mappings merged.
    * `days`: length of an episode, days.
    * `first`: number of the first contact.
    * `render_mode`: None, or "rgb_array": the contact's timeline so far as a picture, with the latents.

    ## Version History
    * v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        scenario: str | Scenario = "newsletter",
        *,
        changes: Mapping[str, Any] | None = None,
        days: float = 90.0,
        first: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in {None, *self.metadata["render_modes"]}:
            raise ParameterError("render_mode", "Subscriber-v0", allowed='None or "rgb_array"', got=render_mode)
        if not days > 0 or first < 0:
            raise ParameterError("days, first", "Subscriber-v0", allowed="positive, and at least 0", got=(days, first))
        self.render_mode = render_mode
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario, changes)
        self.steps = int(np.ceil(days / self.scenario.step_days))
        self._first = first
        self._next = first
        self._seed: int | None = None
        self._guardrails = Guardrails(
            self.scenario.pack, self.scenario.catalog, self.scenario.packages, self.scenario.features
        )
        self._coding = Coding(self.scenario)
        self._world: World | None = None
        self._mask: BoolArray = np.zeros(self.scenario.catalog.k, dtype=np.bool_)
        self._over = True
        self._timeline: Timeline | None = None
        self.action_space = spaces.Discrete(self.scenario.catalog.k)
        self.observation_space = spaces.Box(self._coding.low, self._coding.high, dtype=np.float32)

    @property
    def action_names(self) -> tuple[str, ...]:
        """(k,) names of the actions."""
        return self.scenario.catalog.action_names

    @property
    def observation_names(self) -> tuple[str, ...]:
        """(d,) names of the columns of an observation."""
        return self._coding.names

    @property
    def world(self) -> World:
        """The world of this contact alone, with its latents.

        Raises:
            ParameterError: before the first reset.
        """
        if self._world is None:
            raise ParameterError("world", "Subscriber-v0", allowed="asked for after reset()", got=None)
        return self._world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Begin with a contact; see Starting State.

        Raises:
            ParameterError: an option that does not exist, or is out of range.
        """
        super().reset(seed=seed)
        contact, luck = self._chosen(seed, options or {})
        self._next = contact + 1
        self._world = World(
            self.scenario, 1, int(self.np_random_seed or 0), first=contact, guardrails=self._guardrails, luck=luck
        )
        self._over = False
        self._timeline = Timeline(self._world) if self.render_mode else None
        return self._observe()

    def _chosen(self, seed: int | None, options: dict[str, Any]) -> tuple[int, int]:
        unknown = set(options) - {"contact", "luck"}
        contact = options.get("contact", self._first if seed is not None else self._next)
        luck = options.get("luck", 0)
        if unknown or contact < 0 or luck < 0:
            raise ParameterError("options", "Subscriber-v0", allowed="contact and luck, whole and >= 0", got=options)
        return int(contact), int(luck)

    def step(self, action: np.int64) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Take one decision and let one step pass.

        Raises:
            ParameterError: an unknown action, or a step after the end of the episode.
        """
        world = self.world
        if self._over:
            raise ParameterError("action", "Subscriber-v0", allowed="taken within an episode; call reset()", got=action)
        if not 0 <= int(action) < len(self._mask):
            raise ParameterError("action", "Subscriber-v0", allowed=f"in [0, {len(self._mask)})", got=action)
        refused = not self._mask[action]
        sent = HOLD if refused else int(action)
        if self._timeline is not None:
            self._timeline.before(sent)
        happened = world.advance(np.array([sent], dtype=np.int32))
        if self._timeline is not None:
            self._timeline.after(happened)
        terminated = bool(world.state.stage[0] == GONE)
        truncated = not terminated and world.state.step >= self.steps
        self._over = terminated or truncated
        observation, info = self._observe()
        info["refused"] = refused
        info["happened"] = contact_events(happened, 0)
        return observation, float(happened.reward_usd[0]), terminated, truncated, info

    def action_masks(self) -> BoolArray:
        """(k,) bool: the actions that the guardrails leave; hold always."""
        return self._mask.copy()

    def render(self) -> Any:
        """The contact's timeline so far, (height, width, 3) uint8; None without a render mode."""
        if self._timeline is None:
            return None
        from simulator.envs.picture import picture  # noqa: PLC0415 - matplotlib is slow to import

        return picture(self._timeline, self.steps)

    def _observe(self) -> tuple[Float32Array, dict[str, Any]]:
        world = self.world
        deciding = world.deciding()
        contacts = world.contacts(np.zeros(1, dtype=np.int64))
        self._mask = masks(world.eligibility(contacts), deciding)[0]
        observation = np.empty((1, self._coding.d), dtype=np.float32)
        progress = min(world.state.step / self.steps, 1.0)
        self._coding.into(observation, contacts.context, deciding, progress, world.now)
        info = {
            "action_mask": self._mask.astype(np.int8),
            "deciding": bool(deciding[0]),
            "contact": world.first,
            "step": world.state.step,
            "day": float(world.moment.day),
        }
        return observation[0], info
