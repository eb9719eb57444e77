"""The cases of project Wycheproof that concern what mpota checks, on both interpreters."""

from binascii import unhexlify
from json import load

from tests.replay import open_cases

FOLDER = __file__.rsplit("/", 1)[0] + "/vectors/wycheproof/"


def cases(name):
    """(keys, cases) of a file there; its SOURCE.md says what a case holds. A case begins with its number and result."""
    file = open_cases(FOLDER + name)
    found = load(file)
    return found["keys"], [
        case[:2] + [f if isinstance(f, int) else unhexlify(f) for f in case[2:]] for case in found["cases"]
    ]


def results(cases):
    """How many cases have each result."""
    found = {}
    for case in cases:
        found[case[1]] = found.get(case[1], 0) + 1
    return found
