"""The world that contacts live in: how they respond, what the sender sees, and what it is worth."""
