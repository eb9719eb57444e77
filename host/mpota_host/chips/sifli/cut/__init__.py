"""What the power campaign asks of a SiFli chip."""
