"""Stories in which a phone brings the releases: a program, an image of the small core and a resource, in one package.

The world's side is a phone that never tires: it asks the user program, sends the manager what it misses, and comes
again after every reset. What is real is the session, the policy, the manager and the layout.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

from mpota.layout.sifli import loader
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.link.session import WAIT_MS, Session
from mpota.layout.sifli.pipe import signed, wire
from mpota.layout.sifli.policy import Policy, newer
from mpota.layout.sifli.store import control
from mpota.layout.sifli.store.progress import PREPARE_START
from mpota.pipe import trust
from mpota_boot.errors import OtaError
from mpota_host.chips.sifli.workshop import stored
from mpota_host.cut import drive
from mpota_host.cut import oracle as judges
from mpota_host.cut.oracle import Bad

# A prime does for a modulus: whoever knows that it is one can sign, and every process has the same signatures.
PRIME = 2**2048 - 1557
PRIVATE = pow(65537, -1, PRIME - 1)
BLOCK, EVERY = 512, 4
# The images besides the program: each has a place of its own.
IDS = {"lcpu": control.LCPU, "res": control.RES}
SIZES = {"lcpu": 3000, "res": 2500}
PLACE = 0x1000
# What the manager is where an image's number is wanted.
MANAGER = -1


def public() -> bytes:
    """The key in the flash table."""
    found: bytes = signed.encode(PRIME.to_bytes(signed.SIZE, "big"))
    return found


@cache
def sign(data: bytes) -> bytes:
    """The signature over data."""
    block = int.from_bytes(trust.block(sha256(data).digest(), signed.SIZE), "big")
    return pow(block, PRIVATE, PRIME).to_bytes(signed.SIZE, "big")


@cache
def extra(name: str, n: int) -> bytes:
    """What release `n` brings besides its program."""
    data = b"".join(sha256(b"%s %d %d" % (name.encode(), n, i)).digest() for i in range(SIZES[name] // 32 + 1))
    return data[: SIZES[name] // 16 * 16]


class Package:
    """Release `n`: its control packet, and the records of each image."""

    def __init__(self, n: int, program: bytes, root: bytes, nonce: bytes) -> None:
        parts = [(control.HCPU, control.COMPRESS, stored(program))]
        parts += [(id, 0, extra(name, n)) for name, id in IDS.items()]
        images = [control.Image(sign(data), len(data), flags, id) for id, flags, data in parts]
        head = control.Control([control.MIX, 0, 0, 1000000 + 1000 * n, bytes(32), BLOCK], images)
        self.packet = control.write(head, root, nonce, sign)
        self.records = {
            id: [wire.encode(at, data[at : at + BLOCK], data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
            for id, _, data in parts
        }


class Clock:
    """Time that stands still until somebody moves it."""

    ms = 0

    def ticks_ms(self) -> int:
        return self.ms

    def since(self, then: int) -> int:
        return self.ms - then


class Talk:
    """A phone at one program of a chip."""

    def __init__(self, chip: Any, floor: Any, manager: bool, why: str) -> None:
        policy = Policy(lambda found: True, newer(chip, floor))
        self.clock = Clock()
        self.session = Session(chip, policy, self.clock, manager, why)

    def ask(self, id: int, *fields: int, tail: bytes = b"") -> list[tuple[int, tuple[int, ...]]]:
        """What the chip answers."""
        self.session.feed(m.encode(id, *fields, tail=tail))
        found = []
        while message := self.session.take():
            found.append(m.decode(message)[:2])
        return found

    def want(self, answer: int, id: int, *fields: int, tail: bytes = b"") -> tuple[int, ...]:
        """The one answer, which says yes."""
        found = self.ask(id, *fields, tail=tail)
        if len(found) != 1 or found[0][0] != answer or found[0][1][0]:
            raise Bad("progress", f"the chip answers {found} to message {id}")
        return found[0][1]

    def begin(self, packet: bytes) -> None:
        """Agree."""
        self.want(m.INIT_EXT_RSP, m.INIT_EXT, tail=packet)
        self.ask(m.INIT_EXT_DONE, 1)


class PhoneLife(drive.Life):
    """As drive.Life; where the scenario says so, its releases come by phone."""

    rig: Any

    def _begin(self, cause: str) -> int | None:
        if not self.rig.scenario.phone:
            return super()._begin(cause)
        if self.rig.power_on(cause):
            i = self.oracle.started(self.memory.confirmed)
            self.boots.append(i)
            self._boot()
            return i
        if self.rig.start and self.rig.start.name == loader.MANAGER:
            return MANAGER
        self.oracle.no_boot()
        return None

    def _application(self, board: Any, i: int) -> str | None:
        if not self.rig.scenario.phone:
            return super()._application(board, i)
        layout = board.layout
        trial = layout.on_trial()
        if i == 1 and self.rig.scenario.verdict == "hangs":
            self._bad_runs(layout, trial, i)
            self._enter("leave")
            return "watchdog"
        if trial:
            self._enter("verdict")
            layout.confirm()
            self.memory = replace(self.memory, confirmed=max(i, self.memory.confirmed), tries=0)
            return "power"
        if i == len(self.rig.images) - 1:
            return None
        # The publisher hears that a release did not stay, and offers the next one.
        given_up = self.memory.tries > 0
        self.memory = replace(self.memory, release=max(self.memory.release, i + 1 + given_up))
        self._enter("fetch")
        talk = Talk(board.chip, layout.floor, False, "")
        talk.begin(self.rig.brought(self.memory.release).packet)
        if not talk.session.leave:
            raise Bad("progress", "the user program agrees, and does not make way for the manager")
        return "reset"

    def _main(self, i: int) -> str | None:
        if i != MANAGER:
            return super()._main(i)
        try:
            return self._serve()
        except (OtaError, OSError) as e:
            raise Bad("crash", repr(e)) from e

    def _serve(self) -> str:
        """The manager: from where it is to the reset after its install."""
        rig = self.rig
        chip = rig.chip
        talk = Talk(chip, lambda: chip.journal.last("floor") or bytes(8), True, rig.start.why)
        package = rig.brought(self.memory.release)
        if self.recovering and rig.start.why == "wait":
            # The phone was gone when the power came back, so the manager may go back: is there all that it needs?
            self.recovering = False
            talk.clock.ms = WAIT_MS
            talk.session.tick()
            if not talk.session.leave:
                raise Bad("progress", "a manager that may go back does not")
            return "reset"
        self._enter("fetch")
        if talk.session.state != PREPARE_START:
            talk.begin(package.packet)
        for id, records in package.records.items():
            self._image(talk, id, records)
        self._enter("arm")
        talk.session.feed(m.encode(m.FINISH, 0))
        talk.session.work()
        if talk.session.take() != m.encode(m.FINISH_IND, 0) or not talk.session.leave:
            raise Bad("progress", "all images are there, and they are not installed")
        return "reset"

    def _image(self, talk: Talk, id: int, records: list[bytes]) -> None:
        skip = talk.want(m.START_RSP, m.START, sum(map(len, records)), len(records), EVERY, id)[2]
        if skip:
            self.resumed = True
            return
        at = talk.session.good
        self.resumed = self.resumed or at > 0
        for i in range(at, len(records)):
            for answer in talk.ask(m.PACKET, id, i + 1, len(records[i]), tail=records[i]):
                if answer != (m.PACKET_RSP, (0,)):
                    raise Bad("progress", f"the chip answers {answer} to packet {i + 1} of image {id}")
        talk.want(m.END_RSP, m.END, id, 0)


class PhoneOracle(judges.Oracle):
    """As oracle.Oracle; what a phone brings besides the program is whole whenever a program starts."""

    rig: Any

    def started(self, confirmed: int) -> int:
        i = super().started(confirmed)
        if self.rig.scenario.phone:
            for name in IDS:
                self._one(name, range(len(self.rig.images)))
        return i

    def end(self) -> None:
        super().end()
        if self.rig.scenario.phone:
            for name in IDS:
                self._one(name, [len(self.rig.images) - 1])

    def _one(self, name: str, numbers: Any) -> None:
        """One of these releases' images lies in its place, whole."""
        seen = self.rig.flash.cells.get(self.rig.at[name], len(extra(name, 0)))
        if not any(seen == extra(name, n) for n in numbers):
            raise Bad("whole", f"the place of {name} holds none of the releases {[*numbers]}")
