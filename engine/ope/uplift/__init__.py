"""How well a score says whom a message helps, and what a rule to send or to hold is worth."""
