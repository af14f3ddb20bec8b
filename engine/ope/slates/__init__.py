"""Off-policy evaluation of policies that fill several slots at once."""
