"""The places in a toy chip's flash, for its layout and its loader; `Board.port()` returns a Port."""

from mpota.store.flash import Region


def journal(flash):
    """The two sectors of the journal."""
    return Region(flash, 0, 2 * flash.erase_size)


def slots(flash):
    """Both slots: each has half of the sectors behind the journal."""
    first = 2 * flash.erase_size
    n = (flash.size - first) // first * flash.erase_size
    return [Region(flash, first + i * n, n) for i in (0, 1)]


class Port:
    """`flash` is the whole chip. `running` is the number of the slot that the loader started."""

    def __init__(self, board, flash, running):
        self.feed = board.feed
        self.running = running
        self.slots = slots(flash)

    @property
    def current(self):
        """The image that runs."""
        return self.slots[self.running]
