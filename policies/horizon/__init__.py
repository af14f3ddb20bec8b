"""The long horizon: what a message brings now, and what it costs later, learnt from trajectories."""
