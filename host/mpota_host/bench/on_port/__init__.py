"""What the bench runs on the unix port."""
