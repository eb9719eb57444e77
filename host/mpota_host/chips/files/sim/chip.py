"""What a program on a board of layout files can import beside what every chip has: nothing."""


def modules(wire, flash, config):
    """No chip of its own."""
    return {}
