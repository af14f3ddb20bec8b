"""What a simulation is fitted to: published figures, and effects estimated from randomised and transaction data."""
