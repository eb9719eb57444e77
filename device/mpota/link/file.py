"""The file link: a package that lies on the board already, on an SD card or put there by another program.

It reports to nobody: who put the file there reads the journal.
"""


class File:
    """A Link over one file; no file, no offer."""

    def __init__(self, path):
        self.path = path

    def open(self, at=0):
        try:
            src = open(self.path, "rb")
        except OSError:
            return None
        src.seek(at)
        return src

    def other(self, code=""):
        """Is there another package to try, after one that was refused? There is one file."""
        return False

    def report(self, code, text):
        """Nobody listens."""

    def close(self):
        """Nothing is held."""
