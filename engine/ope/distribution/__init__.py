"""The distribution of the reward under a policy, beyond its mean."""
