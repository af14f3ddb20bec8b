"""The long-horizon learner on simulated trajectories."""
