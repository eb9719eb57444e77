"""A SiFli chip, simulated."""
