"""The one error of the pushing ends: a stable code and a sentence that says what to do."""


class PushError(Exception):
    """The push did not come to its end; what the board has is kept, so pushing again resumes."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
