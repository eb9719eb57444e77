"""What the power campaign asks of a BK7238."""
