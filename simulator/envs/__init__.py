"""Gymnasium environments of the simulator: importing this package registers `tactful/Subscriber-v0` and
`tactful/Campaign-v0`, and so does asking for them as "simulator.envs:tactful/Subscriber-v0".
"""

from __future__ import annotations

import gymnasium

from simulator.envs.campaign import CampaignEnv
from simulator.envs.subscriber import SubscriberEnv

SUBSCRIBER = "tactful/Subscriber-v0"
CAMPAIGN = "tactful/Campaign-v0"

__all__ = ["CAMPAIGN", "SUBSCRIBER", "CampaignEnv", "SubscriberEnv"]

if SUBSCRIBER not in gymnasium.registry:
    gymnasium.register(SUBSCRIBER, entry_point="simulator.envs.subscriber:SubscriberEnv")
    gymnasium.register(CAMPAIGN, vector_entry_point="simulator.envs.campaign:CampaignEnv")
