"""The phone's end of an upgrade, sans input and output: what a PC does when it plays the vendor's app.

Messages come out by `take` and go in by `feed`; `connected` and `lost` tell of the link, `tick` of time. Packets go out
in windows: so many, then the chip's response. What goes wrong on the way is asked for, repeated, or begun again with
the next connection; `done` and `error` say how it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.pipe import wire
from mpota_boot.errors import Corrupt

EVERY = 20  # packets a response, the vendor's choice for NOR flash
ASK_MS = 8000  # no answer: ask again
TRIES = 4
PAUSE_MS = 1000  # after a chip has said where it is, as the vendor's app waits
INSTALL_MS = 180000
TOO_OLD, ONGOING, UNEXPECTED = 7, 10, 12
WORDS = {
    **{1: "the chip says no: damaged, or for another root key", 2: "wrong parameter", 3: "not enough space"},
    **{4: "not ready", 5: "wrong hardware version", 6: "needs a newer SDK"},
    7: "its firmware is not newer than the one that the chip has: raise --fw_ver",
    **{8: "the image is not what was signed", 9: "the control packet is invalid", 10: "an upgrade is under way"},
    11: 'refused: no place for that image, or no phone is let in (`"phones": true` in the board\'s /mpota.json)',
    **{12: "not now", 13: "wrong index", 14: "updating", 15: "packets are missing", 16: "flash"},
}


@dataclass
class Wire:
    """An image as it travels: its id and its records, each a packet."""

    id: int
    records: list[bytes]

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return sum(map(len, self.records))


def split(id: int, data: bytes, block: int) -> Wire:
    """The records of a wire file."""
    n = block + wire.HEAD_SIZE
    return Wire(id, [data[at : at + n] for at in range(0, len(data), n)])


@dataclass
class Choice:
    """How the upgrade is to go: by the newer messages or the older ones, and whether one under way is gone on with."""

    newer: bool = True
    resume: bool = True
    every: int = EVERY
    # Responses that may be awaited at once: the vendor's app waits for each.
    ahead: int = 1
    pause_ms: int = PAUSE_MS


class Phone:
    """One upgrade. `now()` is a clock in ms."""

    def __init__(
        self, control: bytes, images: list[Wire], now: Callable[[], int], choice: Choice | None = None
    ) -> None:
        self.control = control
        self.images = sorted(images, key=lambda image: image.id)
        self.now = now
        self.choice = choice or Choice()
        self.out: deque[bytes] = deque()
        self.phase = "link"
        self.done = False
        self.error = ""
        self.code = 0
        # The link is to be dropped, or will be: come back.
        self.hang_up = False
        self.skipped: list[int] = []
        self.resumed = False
        self._reset()

    def _reset(self) -> None:
        self.image = self.sent = self.acked = 0
        self.every = self.choice.every
        self.waits: tuple[int, int] | None = None
        self.pause = 0
        self.tries = 0
        self.begin: Callable[[], None] = self._init

    @property
    def total(self) -> int:
        """Packets of all images."""
        return sum(len(image.records) for image in self.images)

    @property
    def stored(self) -> int:
        """Packets that the chip has, as far as it said."""
        return sum(len(image.records) for image in self.images[: self.image]) + self.acked

    # The link.

    def connected(self) -> None:
        """The chip is there: in its manager, if it said that it would go there."""
        self.hang_up = False
        self.out.clear()
        if self.phase == "reboot":
            self._start()
        else:
            self._reset()
            self._init()

    def lost(self) -> None:
        """The link is gone."""
        self.out.clear()
        self.waits = None
        if self.phase not in ("reboot", "done", "failed"):
            self.phase = "link"

    def take(self) -> bytes | None:
        """The next message to send, or None for now."""
        if self.out:
            return self.out.popleft()
        if self.phase != "packets" or self.now() < self.pause or self._full():
            return None
        image = self.images[self.image]
        record = image.records[self.sent]
        self.sent += 1
        if self._full():
            self._wait(ASK_MS)
        return m.encode(m.PACKET, image.id, self.sent, len(record), tail=record)

    def _full(self) -> bool:
        """Is it the chip's turn?"""
        return self.sent - self.acked >= self.every * self.choice.ahead or self.sent == self._total()

    def _total(self) -> int:
        return len(self.images[self.image].records)

    def tick(self) -> None:
        """Look at the clock: whoever does not answer is asked again, and then given up."""
        if self.waits is None or self.now() - self.waits[0] < self.waits[1]:
            return
        self.waits = None
        self.tries += 1
        if self.tries > TRIES:
            self._again("no answer")
        elif self.phase == "packets":
            self._ask(m.encode(m.RETRY))
        else:
            self.begin()

    def _wait(self, ms: int) -> None:
        self.waits = self.now(), ms

    def _ask(self, message: bytes, ms: int = ASK_MS) -> None:
        self.out.append(message)
        self._wait(ms)

    def _again(self, why: str, code: int = 0) -> None:
        """This connection is over; the next one may go on."""
        self.phase = "link"
        self.error, self.code = why, code
        self.hang_up = True
        self.waits = None

    def _fail(self, code: int) -> None:
        self._again(WORDS.get(code, f"result {code}"), code)
        self.phase = "failed"

    # What the chip says.

    def feed(self, message: bytes) -> None:
        """Take one whole message; Corrupt where it is none, or says what cannot be."""
        try:
            id, fields, _ = m.decode(message)
        except Corrupt as e:
            raise Corrupt(e.code, f"the chip does not speak this protocol: {e}") from None
        call = self.CALLS.get(id)
        if call and self.phase not in ("link", "failed", "done"):
            call(self, *fields)

    def _init(self) -> None:
        self.phase = "init"
        self.begin = self._init
        self._ask(m.encode(m.INIT_EXT if self.choice.newer else m.INIT, tail=self.control))

    def _restart(self) -> None:
        """A restart may bring the version that runs, where the board's owner lets it."""
        self.begin = self._restart
        self._ask(m.encode(m.FORCE_INIT, tail=self.control))

    def _began(self, result: int, boots: int) -> None:
        """The answer to INIT and FORCE_INIT."""
        if self.phase != "init":
            return
        if result == TOO_OLD and not self.choice.resume and self.begin == self._init:
            return self._restart()
        if result == ONGOING:
            return self._ask(m.encode(m.RESUME if self.choice.resume else m.FORCE_INIT, tail=self.control))
        self._agreed(result, boots, m.encode(m.INIT_DONE, 1))

    def _resumes(self, result: int, boots: int, again: int, packets: int, image: int, every: int) -> None:
        if self.phase != "init":
            return
        if result in (1, 2):
            # Another package was under way: this one begins afresh.
            return self._ask(m.encode(m.FORCE_INIT, tail=self.control))
        self._place(packets, image, every)
        self._agreed(result, boots, m.encode(m.RESUME_DONE, 1))

    def _began_ext(self, result: int, status: int, again: int, packets: int, image: int, *rest: int) -> None:
        if self.phase != "init":
            return
        every, boots, _ = rest
        if result == TOO_OLD and not self.choice.resume:
            return self._restart()
        goes_on = bool(status) and self.choice.resume
        if goes_on and not result:
            self._place(packets, image, every)
        self._agreed(result, boots, m.encode(m.INIT_EXT_DONE, 1 if goes_on or not status else 0))

    def _place(self, packets: int, image: int, every: int) -> None:
        """Where the chip is: images before that one are there."""
        ids = [one.id for one in self.images]
        self.image = ids.index(image) if image in ids else len(ids)
        self.sent = self._possible(packets) if image in ids else 0
        self.every = every or self.every
        self.resumed = True

    def _possible(self, packets: int) -> int:
        """How many packets of this image the chip says it has."""
        if packets > self._total():
            raise Corrupt(
                "packets", f"the chip says that it has {packets} packets of {self._total()}; --restart forgets them"
            )
        return packets

    def _agreed(self, result: int, boots: int, answer: bytes) -> None:
        if result == UNEXPECTED:
            return self._again(WORDS[result], result)
        if result:
            return self._fail(result)
        self.out.append(answer)
        self.waits = None
        self.tries = 0
        if boots:
            self.phase = "reboot"
        else:
            self._start()

    def _start(self) -> None:
        self.phase = "start"
        self.begin = self._start
        if self.image >= len(self.images):
            return self._finish()
        image = self.images[self.image]
        self._ask(m.encode(m.START, image.size, len(image.records), self.every, image.id), INSTALL_MS // 9)

    def _started(self, result: int, mode: int, skip: int) -> None:
        if self.phase != "start":
            return
        if result == UNEXPECTED:
            return self._again(WORDS[result], result)
        if result:
            return self._fail(result)
        self.tries = 0
        if skip:
            self.skipped.append(self.images[self.image].id)
            return self._next()
        self.phase = "packets"
        self.waits = None
        self.acked = self.sent

    def _stored(self, result: int) -> None:
        if self.phase != "packets":
            return
        if result:
            return self._again(WORDS.get(result, str(result)), result)
        self.acked = min(self.acked + self.every, self.sent)
        self._go_on()

    def _go_on(self) -> None:
        self.waits = None
        self.tries = 0
        if self.acked == self._total():
            self._end()
        elif self._full():
            self._wait(ASK_MS)

    def _told(self, result: int, every: int, index: int) -> None:
        """The chip says where it is, asked or not."""
        if self.phase != "packets":
            return
        if result:
            return self._again(WORDS.get(result, str(result)), result)
        self.every = every or self.every
        self.sent = self.acked = self._possible(index)
        self._go_on()

    def _checked(self, result: int, every: int, index: int) -> None:
        self.out.append(m.encode(m.LINK_CHECK_RSP, 0))
        if self.phase == "packets":
            tries = self.tries
            self._told(result, every, index)
            self.tries = tries
            self.pause = self.now() + self.choice.pause_ms

    def _end(self) -> None:
        self.phase = "end"
        self.begin = self._end
        self._ask(m.encode(m.END, self.images[self.image].id, self.image + 1 < len(self.images)), INSTALL_MS // 9)

    def _ended(self, result: int) -> None:
        if self.phase != "end":
            return
        if result:
            return self._again(WORDS.get(result, str(result)), result)
        self._next()

    def _next(self) -> None:
        self.image += 1
        self.sent = self.acked = 0
        self.tries = 0
        self._start()

    def _finish(self) -> None:
        self.phase = "finish"
        self.begin = self._finish
        self._ask(m.encode(m.FINISH, 0), INSTALL_MS)

    def _finished(self, result: int) -> None:
        if self.phase != "finish":
            return
        self.waits = None
        if result:
            return self._again(WORDS.get(result, str(result)), result)
        self.phase, self.done, self.error, self.hang_up = "done", True, "", True

    def _aborted(self, reason: int) -> None:
        self._again(WORDS.get(reason, f"reason {reason}"), reason)

    CALLS: ClassVar[dict[int, Callable[..., None]]] = {
        m.INIT_RSP: _began,
        m.RESUME_RSP: _resumes,
        m.INIT_EXT_RSP: _began_ext,
        m.START_RSP: _started,
        m.PACKET_RSP: _stored,
        m.RETRY_RSP: _told,
        m.LINK_CHECK: _checked,
        m.END_RSP: _ended,
        m.FINISH_IND: _finished,
        m.ABORT: _aborted,
    }
