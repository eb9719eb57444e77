"""What the core may ask of a layout: every layout answers to every name, and to no other; what all share works."""

import os

from mpota.layout import contract
from mpota_boot.errors import FlashError, NotNow
from mpota_boot.journal import Record
from tests.expect import raises
from tests.packages import version

# Everything that the core may use on `board.layout`; tests/host/test_contract.py reads the core and finds these.
NAMES = "NAME ready version firmware given_up floor target running admit check arm".split()
NAMES += "settle woke on_trial keep heal awake confirm retreat status rollback forget".split()
# Those that the contract leaves to the chip.
CHIPS = "ready target running admit check arm settle heal confirm retreat status rollback".split()


def layouts():
    """Each layout's name and class."""
    folder = contract.__file__.rpartition("/")[0]
    names = sorted([name for name in os.listdir(folder) if "." not in name and name[0] != "_"])
    return [(name, __import__("mpota.layout.%s.layout" % name, None, None, ("x",)).Layout) for name in names]


class Memory:
    """A journal; one that is `full` keeps nothing."""

    full = False

    def __init__(self):
        self.kept = {}
        self.last = self.kept.get

    def put(self, tag, data):
        if self.full:
            raise FlashError("journal", "full")
        self.kept[tag] = data


class Port:
    """One slot with nothing in it."""

    running = 1
    slots = ()

    def __init__(self):
        self.current = self

    def read(self, off, buf):
        for i in range(len(buf)):
            buf[i] = 0xFF

    def feed(self):
        pass


def record(slot=1, trials=3):
    return Record(b"identity", bytes(32), version(1, 1), 10, 1, slot, 0, 0, trials)


def on_trial(slot=1, trials=3):
    """A Layout with an open trial, and its Record."""
    layout = contract.Layout(Port(), Memory(), 3)
    layout.NAME = "toy"
    layout.journal.put("armed", record(slot, trials).encode())
    return layout, record(slot, trials)


def test_every_layout_answers_to_every_name_of_the_contract():
    found = layouts()
    assert len(found) >= 5
    for name, cls in found:
        assert issubclass(cls, contract.Layout) and cls.NAME == name
        for asked in NAMES:
            assert hasattr(cls, asked), "%s has no %s" % (name, asked)
        for asked in CHIPS:
            assert getattr(cls, asked) is not getattr(contract.Layout, asked), "%s says nothing to %s" % (name, asked)


def test_a_name_that_no_layout_has_is_an_attribute_error():
    for _, cls in layouts():
        layout = cls(Port(), Memory(), 3)
        for wrong in ("NotNow", "image", "settel", "digset", "__wrapped__"):
            assert not hasattr(layout, wrong), "%r answers to %s" % (cls, wrong)


def test_a_layout_that_leaves_a_name_out_is_told_when_it_is_asked():
    layout = contract.Layout(Port(), Memory(), 3)
    for name in CHIPS:
        ask = getattr(layout, name)
        args = {"admit": 2, "ready": 0, "heal": 0, "confirm": 0, "status": 0}.get(name, 1)
        try:
            ask(*[None] * args)
        except NotImplementedError:
            continue
        raise AssertionError("%s did nothing" % name)


def test_a_boot_of_a_trial_is_counted_down_and_the_one_after_the_last_gives_up():
    layout, armed = on_trial(trials=2)
    for left in (1, 0):
        layout.count_boot(armed, "power")
        assert layout.record("armed").trials == left and layout.failure() is None
    layout.count_boot(armed, "watchdog")
    assert layout.failure()[1] == "watchdog" and layout.on_trial() is None


def test_a_boot_that_the_journal_does_not_keep_ends_the_trial():
    layout, armed = on_trial()
    layout.journal.full = True
    assert not layout.spend(armed)
    # So count_boot gives it up, which such a journal cannot keep either: the next boot tries again.
    raises(FlashError, "journal", layout.count_boot, record(), "power")
    layout.journal.full = False
    layout.count_boot(record(trials=0), "power")
    assert layout.on_trial() is None


def test_a_record_looks_like_no_other_one_of_its_board():
    layout = contract.Layout(Port(), Memory(), 5)
    image = b"identity", bytes(32), version(1, 1), 10, 0
    first = layout.new(*image)
    assert (first.count, first.slot, first.back, first.trials) == (1, 0, 1, 5)
    for tag, count in (("running", 6), ("failed", 3)):
        other = record()
        other.count = count
        layout.journal.put(tag, other.encode())
    assert layout.new(*image).count == 7
    layout.journal.kept["failed"] = layout.new(*image).encode()
    assert layout.new(*image).count == 8


def test_the_facts_of_a_layout_with_nothing_to_say():
    layout = contract.Layout(Port(), Memory(), 3)
    facts = layout.facts("slot", lambda: None)
    assert (facts.pop("running"), facts.pop("floor"), facts.pop("retreats")) == ("slot", "0.0.0", True)
    assert facts == {"layout": "", "version": None, "trial": None, "failed": None, "updates": None}


def test_the_facts_tell_an_image_that_is_armed_from_one_that_is_on_trial():
    for slot, runs in ((1, True), (0, False)):
        layout, armed = on_trial(slot, 2)
        facts = layout.facts("slot", layout.idle)
        assert facts["trial"] == {"version": "1.1.0", "trials": 2, "runs": runs}
        assert "`confirm`" in facts["updates"] and raises(NotNow, "trial", layout.idle)
        layout.give_up(armed, "unhealthy")
        facts = layout.facts("slot", lambda: "not now")
        assert (facts["trial"], facts["updates"]) == (None, "not now")
        assert facts["failed"] == {"version": "1.1.0", "reason": "unhealthy"}
