"""A PIC32MZW1 that waits for a message of a real broker, and then updates itself over HTTP. Prints events as JSON."""

import json
import sys
import time

import mpota_host  # puts the stand-ins on the path where the interpreter needs them
from mpota.layout.pic32 import events
from mpota.layout.pic32.link.mqtt import Mqtt
from mpota.layout.pic32.service import Service
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import A

if sys.implementation.name != "micropython":
    from tests.host.streams import Streams, Web
else:
    from mpota.link.web import Web

    class Streams:
        """MicroPython's sockets are streams."""


class Trigger(Streams, Mqtt):
    """The trigger."""


assert mpota_host
given = json.loads(sys.argv[1])
chip = maker.chip((("a.bin", 2, "f8", A),))
board = chip.power_on()
link = Web()
link.timeout_ms = 3000
service = Service(board, link.asking, given["url"])
service.period_ms = 0
service.key = bytes.fromhex(given["key"])
said = []
service.control(events.REGISTER, said.append)
trigger = Trigger(board, service, "127.0.0.1", "lamps/ota")
trigger.port = given["port"]
told = False
for _ in range(1500):
    trigger.step()
    if trigger.ready and not told:
        told = True
        print("subscribed")
        if sys.implementation.name != "micropython":
            sys.stdout.flush()
    if service.step() == "reset":
        break
    time.sleep(0.01)
error = service.error or trigger.error
print(json.dumps([said, error and repr(error), maker.rows(chip), maker.page(chip).status]))
