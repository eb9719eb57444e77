"""A PIC32MZW1, simulated."""
