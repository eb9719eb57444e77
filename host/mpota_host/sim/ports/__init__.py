"""What MicroPython ports answer, for virtual boards of each."""
