"""A server that has every package of a project, all rightly made, and serves whichever it likes to whom it likes.

A walk is the life of one board: packages of all channels and ages in any order, lines that die, images that are kept or
given up, an NVS that is lost. A model that knows nothing of the journal says what the board may take.

python -m tests.core.test_rogue N    the long form: N walks
"""

import sys

import mpota_host  # noqa: F401  # MicroPython's stand-ins, for whoever runs this file by itself
from mpota import installer, needs
from mpota.installer import install
from mpota.layout.contract import Layout
from mpota_boot import shim, spare
from mpota_boot.errors import LinkError, NotNow, OtaError, Refused
from mpota_host.chips.esp32.sim import soc
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, several, version
from tests.scratch import Scratch
from tests.trees import archive

WALKS = 120
TURNS = 14
SLOT = 0x2000
CHANNELS = ("", "beta", "canary")
NUMBERS = [(1, minor, patch) for minor in range(5) for patch in range(2)]
FIRST = version(1, 0, 0)
# What a board may say besides what the model knows: it gave that release up, or another is half there.
OWN = ("failed", "begun")


class Dice:
    """The same numbers on every interpreter."""

    def __init__(self, seed):
        self.state = seed * 2654435761 + 1 & 0xFFFFFFFF

    def roll(self, n):
        """0 to n - 1."""
        self.state = self.state * 1664525 + 1013904223 & 0xFFFFFFFF
        return (self.state >> 8) % n

    def one(self, items):
        return items[self.roll(len(items))]


class Release:
    """One package of the project; `needs` as the header's fields."""

    def __init__(self, number, channel, dice):
        self.version = version(*number)
        self.channel = channel
        self.firmware = dice.roll(2) == 0
        self.files = not self.firmware or dice.roll(2) == 0
        self.needs = {}
        lower = [one for one in NUMBERS if one < number] or [number]
        for name in ("From", "Firm"):
            if dice.roll(3) == 0:
                self.needs[name] = version(*dice.one(lower))
        if dice.roll(12) == 0:
            self.needs["Boot"] = (shim.NUMBER + dice.roll(2)).to_bytes(2, "little")
        self.image = firmware(CHANNELS.index(channel) * 100 + NUMBERS.index(number))
        self.mark = b"MADE = %r" % (self.version + channel.encode())
        self.data = self.bytes()

    def bytes(self):
        makers = []
        if self.firmware:
            makers.append(Maker(self.image))
        if self.files:
            maker = Maker(archive({"app.py": self.mark}))
            maker.kind, maker.name = 2, b"files"
            makers.append(maker)
        makers[0].version = self.version
        makers[0].fields = {name.encode(): value for name, value in self.needs.items()}
        if self.channel:
            makers[0].fields[b"Chan"] = self.channel.encode()
        return several(*makers)


IMAGES = {}


def firmware(seed):
    """A small image, made once."""
    if seed not in IMAGES:
        IMAGES[seed] = image(1008 + 16 * (seed % 7), seed + 10)
    return IMAGES[seed]


class Life:
    """One board, the server's packages, and what is known of the board from outside."""

    def __init__(self, root, seed):
        self.dice = Dice(seed)
        self.root = root
        self.channel = self.dice.one(CHANNELS)
        self.packages = [Release(number, channel, self.dice) for channel in CHANNELS for number in NUMBERS]
        settings = {"product": "demo", "version": "1.0.0", "channel": self.channel}
        self.chip = soc.Soc(soc.rows(SLOT), settings, None)
        self.chip.write(self.chip.row("ota_0").offset, firmware(99))
        # What is kept: version, firmware's version, and the image in the flash.
        self.kept = FIRST, FIRST, firmware(99), None
        # What a cable brought is known to the settings alone, and may come again as a package.
        self.brought = False
        self.seen = {}
        self.boot(soc.PWRON)

    def boot(self, why=soc.HARD):
        """A reset through the loader and what boot.py does."""
        for _ in range(9):
            self.board = self.chip.power_on(why)
            self.board.root = self.root + "/ota"
            try:
                shim.boot(lambda: self.board)
            except soc.Reset:
                why = soc.HARD
                continue
            assert shim.error is None, repr(shim.error)
            if shim.folder:
                del shim.sys.path[0]
            return
        raise AssertionError("the board resets for ever")

    def runs(self, state):
        """Are these the firmware and the application that run?"""
        if self.chip.image(self.chip.started.name, len(state[2])) != state[2]:
            return False
        mark = None
        if shim.folder:
            with open(shim.folder + "/app.py", "rb") as f:
                mark = f.read()
        return mark == state[3]

    def after(self, package):
        """What runs once the package is kept."""
        _, old, code, mark = self.kept
        new = (package.version, package.image) if package.firmware else (old, code)
        return package.version, new[0], new[1], package.mark if package.files else mark

    def wrong(self, package):
        """The codes that a board may refuse it with; none where it may take it."""
        runs, code, _, _ = self.kept
        found = []
        if package.channel != self.channel:
            found.append("channel")
        if package.version == runs and self.brought:
            found.append("current")
        if package.version < runs:
            found.append("floor")
        short = package.needs.get("From", runs) > runs or (
            not package.firmware and package.needs.get("Firm", code) > code
        )
        if short or int.from_bytes(package.needs.get("Boot", b""), "little") > shim.NUMBER:
            found.append("needs")
        return found

    def choose(self):
        """Half of the packages are of the board's channel."""
        mine = [one for one in self.packages if one.channel == self.channel]
        return self.dice.one(mine if self.dice.roll(3) == 0 else self.packages)

    def serve(self):
        """The server gives a package, over a line that may die; what is armed was the model's to take."""
        package = self.choose()
        dies = self.dice.roll(2 * len(package.data)) if self.dice.roll(3) == 0 else None
        wrong = self.wrong(package)
        try:
            for _ in install(self.board, Ram(package.data, dies), None):
                pass
        except LinkError:
            assert dies is not None
            return self.note("line")
        except OtaError as e:
            assert e.code in wrong or (not wrong and e.code in OWN) or e.code == "failed", (e.code, wrong, str(e))
            return self.note(e.code)
        assert not wrong, (package.version, package.channel, package.needs, wrong, self.kept)
        self.note("armed")
        self.judge(package)

    def judge(self, package):
        """A trial, which ends with either; meanwhile no other package is taken, and the NVS may go."""
        new = self.after(package)
        self.boot()
        assert self.runs(new)
        if self.dice.roll(6) == 0:
            self.lose()
        if self.dice.roll(4) == 0:
            try:
                for _ in install(self.board, Ram(self.dice.one(self.packages).data), None):
                    pass
                raise AssertionError("a package was armed in a trial")
            except (NotNow, Refused, LinkError) as e:
                self.note("in a trial: " + e.code)
        how = self.dice.roll(4)
        if how == 0:
            for _ in range(5):
                self.boot(soc.WDT)
        elif how == 1:
            self.board.layout.retreat("the application is not well")
            self.boot()
        elif self.runs(new):
            self.board.layout.confirm()
            self.kept = new
            self.brought = True
            self.boot()
        assert self.runs(self.kept), "neither the one nor the other"

    def lose(self):
        """The NVS is blank, and the board starts."""
        self.note("lost")
        self.chip.flash.erase(soc.NVS_AT, 0x4000)
        self.boot(soc.PWRON)

    def forget(self):
        """What a person says who wants a release to be tried again."""
        self.board.layout.forget()

    def turn(self):
        what = self.dice.roll(12)
        if what == 0:
            self.lose()
        elif what == 1:
            self.boot(soc.PWRON)
        elif what == 2:
            self.forget()
        else:
            self.serve()
        assert self.runs(self.kept)

    def note(self, word):
        self.seen[word] = self.seen.get(word, 0) + 1


def walk(seed):
    """What happened in one life, how often."""
    with Scratch() as root:
        life = Life(root, seed)
        for _ in range(TURNS):
            life.turn()
        return life.seen


def walks(n):
    """What happened in so many lives, how often."""
    seen = {}
    for seed in range(n):
        try:
            found = walk(seed)
        except Exception:
            print("walk", seed)
            raise
        for word in found:
            seen[word] = seen.get(word, 0) + found[word]
    return seen


def test_no_server_brings_a_board_what_is_not_for_it_or_too_old_or_too_early():
    seen = walks(WALKS)
    for word in ("armed", "channel", "floor", "needs", "current", "lost", "line", "failed", "in a trial: trial"):
        assert seen.get(word, 0) > WALKS // 40, seen


def lives():
    for seed in range(200):
        walk(seed)


def test_a_board_without_one_of_its_rules_is_found_out():
    def nothing(*_):
        return None

    rules = (
        (installer, "_same", nothing),
        (needs, "judge", nothing),
        (Layout, "floor", lambda _: bytes(8)),
        (Layout, "firmware", lambda _: version(9)),
        (spare, "last", nothing),
    )
    for owner, name, broken in rules:
        good = getattr(owner, name)
        setattr(owner, name, broken)
        try:
            raises((AssertionError, NotNow), None, lives)
        finally:
            setattr(owner, name, good)


if __name__ == "__main__":
    for word, n in sorted(walks(int(sys.argv[1])).items()):
        print("%7d  %s" % (n, word))
    print("%s walks, 0 surprises" % sys.argv[1])
