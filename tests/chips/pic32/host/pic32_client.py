"""A PIC32MZW1 that updates itself through the HTTP link: prints its events, its error and what ran, as JSON."""

import json
import sys

import mpota_host  # puts the stand-ins on the path where the interpreter needs them
from mpota.layout.pic32 import events
from mpota.layout.pic32.service import Service
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import A

if sys.implementation.name != "micropython":
    from tests.host.streams import Web
else:
    from mpota.link.web import Web

assert mpota_host
given = json.loads(sys.argv[1])
chip = maker.chip((("a.bin", 2, "f8", A),))
said = []


def turn(why):
    board = chip.power_on(why)
    link = Web()
    link.ca = given.get("ca")
    link.timeout_ms = 3000
    service = Service(board, link.asking, given["url"])
    service.key = bytes.fromhex(given["key"]) if "key" in given else None
    service.bare = "key" not in given
    service.control(events.REGISTER, said.append)
    word = "busy"
    while word in ("busy", "trial"):
        word = service.step()
    return word, service


word, service = turn("power")
error = service.error
if word == "reset":
    turn("reset")
print(json.dumps([said, error and error.code, maker.rows(chip), maker.page(chip).status]))
