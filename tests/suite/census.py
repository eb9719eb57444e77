"""How many tests there are: the one place of these numbers. A run that finds too few fails, so lost tests are noticed.

Change a number when a run of the whole suite says so; it prints the line to write here. Lower one only in the commit
that removes the tests, with the reason. `.venv/bin/python -m pytest --collect-only -q` counts what pytest finds, and
`.venv/bin/python tests/run_unix.py` what the unix port runs.
"""

from math import ceil, floor

# What pytest collects under tests/, each parameter by itself, and the files tests/**/test_*.py.
TESTS = 4407
FILES = 176
# What the MicroPython unix port runs: the functions of the shared test files, and these files.
SHARED_TESTS = 1200
SHARED_FILES = 75
# Python sources that tests/host/test_rules.py reads.
DEVICE_SOURCES = 101
HOST_SOURCES = 162
TEST_SOURCES = 165
# Error codes that device/ raises; each is named in a test.
ERROR_CODES = 66
# Percent of the lines of device/ that `make test` runs on CPython, less one.
COVERAGE = 92.3


def least(name):
    """The smallest count that passes."""
    known = globals()[name]
    if name.endswith("FILES"):
        return known - 1
    # A few tests more may exist than are known here, and 5 % of those that exist must not go unnoticed.
    return ceil(known * (0.96 if name.endswith("TESTS") else 0.98))


def left(name, found):
    """What a loss leaves that has to be noticed: two files, or 5 % of the tests."""
    return found - 2 if name.endswith("FILES") else floor(found * 0.95)


def complaint(name, found):
    """None when the count is right; else one sentence, with the line to write where more exist than are known."""
    known, wanted = globals()[name], least(name)
    if found < wanted:
        return "%s: found %d, wanted at least %d of %d; files or tests were lost" % (name, found, wanted, known)
    if name.endswith(("FILES", "TESTS")) and left(name, found) >= wanted:
        return "%s: found %d, known %d, so a loss could pass; write %s = %d in tests/suite/census.py" % (
            name,
            found,
            known,
            name,
            found,
        )
    return None
