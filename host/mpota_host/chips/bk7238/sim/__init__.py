"""A BK7238, simulated."""
