"""Figures of the serial line: over a pty, beside a peer."""
