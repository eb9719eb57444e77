"""A board that has nothing but a file system, simulated."""
