"""What could be reached: actors that know the latents, actors that know nothing, and a bound that nobody can pass."""
