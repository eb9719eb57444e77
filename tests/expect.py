"""Assertions that read the same under pytest and under the MicroPython unix port, which has neither."""


def raises(cls, code, call, *args):
    """`call(*args)` must raise `cls` with `code` (None: any). Returns the error, so that its text can be judged."""
    try:
        call(*args)
    except cls as e:
        if code is not None and e.code != code:
            raise AssertionError("code %r, wanted %r: %s" % (e.code, code, e))
        return e
    raise AssertionError("no %s was raised" % cls.__name__)
