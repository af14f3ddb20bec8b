"""Off-policy evaluation of policies that decide several times about the same contact."""
