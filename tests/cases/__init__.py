"""What was seen to fail in the world outside, each as a test; CASES.md is the table."""
