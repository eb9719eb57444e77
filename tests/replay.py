"""Replay a file of recorded cases through the code under test: `python tests/replay.py VENDOR FILE`.

Prints the first differences and `agree N differ M`; the exit status is 1 where they differ or nothing was replayed.
VENDOR names a module tests/replay_VENDOR.py, which has `replay(case) -> None or a sentence`. Runs on both
interpreters, from .json or .json.gz. It reads a case at a time, so that a small heap does for any file. It
translates, and computes nothing of the format under test.

A module may bring `cases(file)` for a file that is more than a list, and `SAFER`, names of rules by which this project
refuses what the vendor takes: `replay` answers one of them where it applied, and they are counted apart.
"""

import json
import sys

SHOWN = 5


def open_cases(path):
    """A file whose `read` gives bytes of JSON text."""
    file = open(path, "rb")
    if not path.endswith(".gz"):
        return file
    if sys.implementation.name == "micropython":
        import deflate

        return deflate.DeflateIO(file, deflate.GZIP)
    import gzip

    return gzip.open(file)


def runs(file):
    """The JSON text in runs (text, is a string): cut at quotes, which are left out."""
    rest = ""
    quoted = False
    block = file.read(4096)
    while block:
        parts = (rest + block.decode()).split('"')
        rest = parts.pop()
        for part in parts:
            if quoted and part.endswith("\\"):
                raise ValueError("an escape in a string of the cases: %s" % part)
            yield part, quoted
            quoted = not quoted
        block = file.read(4096)
    yield rest, quoted


class Cutter:
    """Cuts the objects of the list of cases out of the text: a bare list, or the one under "cases"."""

    def __init__(self):
        self.depth = 0
        self.level = None  # depth within the list of cases
        self.key = ""
        self.parts = None

    def plain(self, text):
        """Text outside strings: yields each case that ends in it."""
        start = 0
        for i, c in enumerate(text):
            if c in "[{":
                if c == "[" and self.level is None and (not self.depth or (self.depth == 1 and self.key == "cases")):
                    self.level = self.depth + 1
                elif c == "{" and self.depth == self.level:
                    self.parts = []
                    start = i
                self.depth += 1
            elif c in "]}":
                self.depth -= 1
                if c == "}" and self.depth == self.level:
                    self.parts.append(text[start : i + 1])
                    yield json.loads("".join(self.parts))
                    self.parts = None
                elif c == "]" and self.level is not None and self.depth < self.level:
                    self.level = -1
        if self.parts is not None:
            self.parts.append(text[start:])

    def string(self, text):
        if self.parts is not None:
            self.parts.append('"%s"' % text)
        elif self.depth == 1:
            self.key = text


def cases(path):
    """The cases in a file, whatever else stands beside them, one at a time."""
    cutter = Cutter()
    with open_cases(path) as file:
        for text, quoted in runs(file):
            if quoted:
                cutter.string(text)
            else:
                for case in cutter.plain(text):
                    yield case


def vendor(name):
    """The module that replays the cases of one vendor."""
    return __import__("tests.chips.%s.replay" % name, None, None, ("replay",))


def run(module, found):
    """(agree, safer, differ, the first differences) over the cases."""
    agree = safer = differ = 0
    shown = []
    for i, case in enumerate(found):
        text = module.replay(case)
        if text is None:
            agree += 1
            continue
        if text in getattr(module, "SAFER", ()):
            safer += 1
            continue
        differ += 1
        if len(shown) < SHOWN:
            shown.append("case %d (%s): %s" % (i, case.get("op") or case.get("id") or case.get("name"), text))
    return agree, safer, differ, shown


def main(args):
    if len(args) != 2:
        print("usage: replay.py VENDOR FILE")
        return 2
    module = vendor(args[0])
    if hasattr(module, "cases"):
        with open_cases(args[1]) as file:
            found = module.cases(file)
    else:
        found = cases(args[1])
    agree, safer, differ, shown = run(module, found)
    for line in shown:
        print(line)
    if hasattr(module, "SAFER"):
        print("agree %d safer %d differ %d" % (agree, safer, differ))
    else:
        print("agree %d differ %d" % (agree, differ))
    return 1 if differ or not agree else 0


if __name__ == "__main__":
    here = __file__.rpartition("/")[0]
    up = here + "/.." if here else ".."
    sys.path[:0] = [up + "/device", up + "/host", up]
    import mpota_host  # puts the stand-ins on the path where the interpreter needs them

    sys.exit(main(sys.argv[1:]) if mpota_host else 2)
