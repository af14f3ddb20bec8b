"""Commands that play in the simulator."""
