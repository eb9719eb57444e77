"""The phone's end of an upgrade, and what carries its messages."""
