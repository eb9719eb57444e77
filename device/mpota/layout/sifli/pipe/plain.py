"""A staged image that is not compressed, as a Source: what it decodes to is what is stored."""


class Plain:
    """As Com: `stored` is a Stored, `total` the bytes of the image."""

    def __init__(self, stored):
        self.stored = stored
        self.total = stored.size
        self.at = 0

    def rewind(self):
        """Begin again."""
        self.at = 0

    def readinto(self, buf):
        """Read on; 0 at the end of the image."""
        n = min(len(buf), self.total - self.at)
        self.stored.read(self.at, memoryview(buf)[:n])
        self.at += n
        return n

    def close(self):
        """Nothing is held."""
