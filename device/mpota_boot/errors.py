"""What can go wrong, one class for each decision that a caller makes.

The class says what to do next; `code` is a stable word for reports, the journal and the host's exit status;
the text is one sentence that gives the value seen and the value wanted.
"""


class OtaError(Exception):
    """Root of every error that mpota raises on purpose."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class LinkError(OtaError):
    """The bytes did not come. Ask again later: the update resumes where it stopped."""


class Refused(OtaError):
    """This package is not for this board. Nothing was erased; asking again gives the same answer."""


class Corrupt(OtaError):
    """Bytes are not the ones that were signed. What was proven before them is kept; fetch again."""


class FlashError(OtaError):
    """The flash does not hold what was written to it. The update starts over."""


class NotNow(OtaError):
    """The board is busy with a trial or waits for a reset. Ask again after it."""


class UpToDate(OtaError):
    """What is offered is what runs already. Nothing to do."""
