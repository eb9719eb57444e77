"""Releases that no board may start: each is a forged image, whole and fit for the loader, with one thing wrong.

The forged image is none that the oracle approves. What the header shows must be refused before anything is erased; the
rest at the chunk or at the read-back; and the next honest release is still taken.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mpota.agent import Agent
from mpota_host.cut.drive import POLL_MS, Life, Memory, Offer
from mpota_host.cut.explore import Failure
from mpota_host.cut.oracle import Bad, Oracle
from mpota_host.cut.releases import PRODUCT
from mpota_host.cut.rig import Rig, life_of, scenario_of
from mpota_host.package import format as fmt
from mpota_host.package import keys
from mpota_host.package.assemble import Part, assemble, sign
from mpota_host.package.encode.piece import pieces
from mpota_host.package.pack import Options, head, pack

# Where the fields lie: FORMAT.md of device/pipe, "byte picture".
PREAMBLE, BODY = struct.calcsize(fmt.PREAMBLE), struct.calcsize(fmt.BODY)
IMAGE_SHA, FIRST_SHA, FIRST_LENGTH = PREAMBLE + BODY + 15, PREAMBLE + BODY + 47, PREAMBLE + BODY + 79
HEADER = PREAMBLE + BODY + fmt.COMPONENT_SIZE
POLLS = 4


@dataclass
class Keys:
    """The key that boards trust, and a stranger's."""

    trusted: rsa.RSAPrivateKey
    stranger: rsa.RSAPrivateKey


def make_keys() -> Keys:
    return Keys(*(rsa.generate_private_key(keys.EXPONENT, fmt.SIGNATURE * 8) for _ in range(2)))


def make_pems() -> list[str]:
    """Two private keys as text, for other processes."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair = make_keys()
    return [key.private_bytes(*form).decode() for key in (pair.trusted, pair.stranger)]


def key_of(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@dataclass
class Hostile:
    """How many hostile releases were offered, and the boards that fell for one."""

    offered: Counter[str] = field(default_factory=Counter)
    bad: list[Failure] = field(default_factory=list)


class Forger:
    """Makes the releases. `life` makes images for the same loader; the honest options are those of the campaign."""

    def __init__(self, rig: Rig, life: Any, pair: Keys, product: str) -> None:
        self.image: Callable[[int, int], bytes] = life.image
        self.foreign: Callable[[bytes], bytes] = life.foreign
        self.pair = pair
        self.options = Options(product, "1.5.0", layout=rig.layout, room=4096, compress="none")
        self.size = 3 * 4096 - 320
        self.room = next(a.size for a in rig.areas if a.kind == "slot")

    def packed(self, seed: int = 99, key: rsa.RSAPrivateKey | None = None, size: int = 0, **options: object) -> bytes:
        made = Options(**{**self.options.__dict__, **options})
        return pack(self.image(size or self.size, seed), made, key or self.pair.trusted).data

    def resigned(self, change: Callable[[bytearray], None]) -> bytes:
        """A header that was changed and then signed by the trusted key: the publisher himself is wrong."""
        data = self.packed()
        head = bytearray(data[:HEADER])
        change(head)
        return sign(bytes(head), self.pair.trusted) + data[HEADER + fmt.SIGNATURE :]

    def flipped(self, at: int) -> bytes:
        data = bytearray(self.packed())
        data[at] ^= 1
        return bytes(data)

    def chunk(self, data: bytes, i: int) -> tuple[int, int]:
        """(offset, length) of a chunk, found as a reader finds it."""
        at, n = HEADER + fmt.SIGNATURE, struct.unpack_from("<H", data, FIRST_LENGTH)[0]
        for _ in range(i):
            at, n = at + n, struct.unpack_from("<H", data, at + 32)[0]
        return at, n

    def early(self) -> Iterator[tuple[str, bytes]]:
        """What the header shows."""
        o = self.options
        yield "unsigned", pack(self.image(self.size, 99), o, None).data
        yield "stranger's key", self.packed(key=self.pair.stranger)
        yield "flipped bit of the signature", self.flipped(HEADER + fmt.SIGNATURE - 1)
        yield "flipped bit of the version", self.flipped(PREAMBLE + 47)
        yield "stranger's signature, trusted key's name", self._stolen_name()
        yield "another product", self.packed(product="another")
        yield "another channel", self.packed(channel="canary")
        yield "a release left out", self.packed(needs="1.4.0")
        yield (
            "another layout",
            self.resigned(lambda h: h.__setitem__(slice(PREAMBLE + 32, PREAMBLE + 40), b"unheard\0")),
        )
        yield "chunks too large", self.packed(room=16384)
        yield "too large", self.packed(size=self.room + 4096)
        yield "another chip", self._another_chip()

    def late(self) -> Iterator[tuple[str, bytes]]:
        """What only the chunks, or the image in the flash, show."""
        for i in range(3):
            at, n = self.chunk(self.packed(), i)
            yield f"flipped bit in chunk {i}", self.flipped(at + n - 1)
            yield f"ends in chunk {i}", self.packed()[: at + n // 2]
        yield "chunk repeated", self._repeated()
        yield "image digest with a wrong last byte", self.resigned(lambda h: _bump(h, IMAGE_SHA + 31))
        yield "image digest with a wrong first byte", self.resigned(lambda h: _bump(h, IMAGE_SHA))
        yield "first chunk's digest with a wrong last byte", self.resigned(lambda h: _bump(h, FIRST_SHA + 31))

    def _stolen_name(self) -> bytes:
        data = self.packed()
        return data[:HEADER] + keys.sign(self.pair.stranger, data[:HEADER]) + data[HEADER + fmt.SIGNATURE :]

    def _another_chip(self) -> bytes:
        return repacked(self.options, self.foreign(self.image(self.size, 99)), self.pair.trusted)

    def _repeated(self) -> bytes:
        data = self.packed()
        (a, n), (b, m) = self.chunk(data, 0), self.chunk(data, 1)
        return data[:b] + data[a : a + n] + data[b + m :]


def _bump(head: bytearray, at: int) -> None:
    head[at] ^= 1


def repacked(options: Options, image: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """A signed package of bytes that the packer would refuse."""
    return assemble(head(options), [Part(fmt.FIRMWARE, "firmware", image, pieces(image, options.room))], key)


def attack(layout: str, pair: Keys, only: str = "") -> Hostile:
    """Offer every hostile release to a board of its own, or the one with the name `only`; no layout without ROOMY."""
    life = life_of(layout)
    result = Hostile()
    if not life.ROOMY:
        return result
    rig = life.Rig(scenario_of(layout, life.ROOMY))
    rig.trust([keys.public_bytes(pair.trusted)], pair.trusted)
    start = rig.flash.shot()
    forger = Forger(rig, life, pair, PRODUCT)
    for early, releases in ((True, forger.early()), (False, forger.late())):
        for name, data in releases:
            if only not in ("", name):
                continue
            rig.flash.load(start)
            result.offered["early" if early else "late"] += 1
            try:
                _offer(rig, data, early)
            except Bad as e:
                result.bad.append(Failure(rig.scenario.name, f"hostile={name}", e.rule, str(e)))
    return result


def _offer(rig: Rig, data: bytes, early: bool) -> None:
    """Several polls with nothing but this release; then the honest one."""
    oracle = Oracle(rig)
    rig.power_on("power")
    board = rig.board()
    agent = Agent(board, [Offer(data)], board.keys())
    slots = [a for a in rig.areas if a.kind == "slot" and not a.first]
    for _ in range(POLLS):
        state = agent.step()
        while state == "busy":
            state = agent.step()
        if state == "reset":
            raise Bad("forged", f"a forged image was armed; last error {agent.error!r}")
        if agent.error is None:
            raise Bad("forged", "a forged release was passed over without a word")
        board.ms += POLL_MS + 1
    if early and any(rig.flash.wear[i] for a in slots for i in range(a.off // 4096, (a.off + a.size) // 4096)):
        raise Bad("erased", "the slot was erased for a release whose header shows that it is not for this board")
    oracle.after()
    life = Life(rig, oracle)
    life.begin(Memory(), 0)
    life.run()
