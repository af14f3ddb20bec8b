"""After launch: what a live policy does, day by day, and when somebody must step in."""
