"""What the power campaign asks of a PIC32MZW1."""
