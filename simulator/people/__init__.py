"""The simulated contacts: who they are, when they come, and what is on record of them."""
