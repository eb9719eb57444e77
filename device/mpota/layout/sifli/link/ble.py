"""The vendor's BLE serial service, over MicroPython's `bluetooth.BLE`, which is given: this module imports no radio.

A phone writes values to the data characteristic, without a response or with one, and gets values as notifications of
it. What comes in an interrupt is copied and read later; a phone that outruns the chip by more than MOST values loses
them, which the session notices by the number of the next packet.
"""

from micropython import const

from mpota.layout.sifli.link.framing import MTU

# "sifli_sd" backwards, and in it the number of a characteristic.
SERVICE = "00000000-0000-0000-6473-5f696c666973"
CONFIG = "00000000-0000-0100-6473-5f696c666973"
DATA = "00000000-0000-0200-6473-5f696c666973"
NAME = b"SIFLI_APP-"
MAKER = b"\x01\x00\x20\xc4\x00\x91"
# 0x30 units of 625 us.
INTERVAL_US = 30000
MOST = 64
# An attribute has 512 bytes at most, whatever MTU is agreed on (Core specification 5.4, volume 3, part F, 3.2.9).
MOST_MTU = 515

_READ, _NO_RESPONSE, _WRITE, _NOTIFY = const(2), const(4), const(8), const(16)
_CONNECT, _DISCONNECT, _WRITTEN, _MTU = const(1), const(2), const(3), const(21)


def _field(kind, data):
    return bytes((len(data) + 1, kind)) + data


class Ble:
    """A link (server.py) over `ble`, a bluetooth.BLE; `UUID` is bluetooth.UUID."""

    deaf = False

    def __init__(self, ble, UUID):
        self.ble = ble
        self.came = 0
        self.up = False
        self.conn = None
        self.mtu = MTU
        self.values = []
        ble.active(True)
        ble.config(mtu=MOST_MTU)
        ble.irq(self._irq)
        data = (UUID(DATA), _WRITE | _NO_RESPONSE | _NOTIFY)
        service = (UUID(SERVICE), (data, (UUID(CONFIG), _READ | _WRITE)))
        self.handle = ble.gatts_register_services((service,))[0][0]
        ble.gatts_set_buffer(self.handle, MOST_MTU - 3)
        self.advertise()

    def advertise(self):
        """Be found, by the vendor's name and number."""
        mac = self.ble.config("mac")[1]
        name = NAME + b"".join([b"%02x" % c for c in mac])
        found = _field(1, b"\x06") + _field(0xFF, MAKER)
        self.ble.gap_advertise(INTERVAL_US, adv_data=found, resp_data=_field(9, name))

    def _irq(self, event, data):
        if event == _CONNECT:
            self.conn = data[0]
            self.mtu = MTU
            self.values = []
            self.came += 1
            self.up = True
        elif event == _DISCONNECT:
            self.up = False
            self.conn = None
            self.advertise()
        elif event == _MTU:
            self.mtu = min(data[1], MOST_MTU)
        elif event == _WRITTEN and data[1] == self.handle and len(self.values) < MOST:
            self.values.append(bytes(self.ble.gatts_read(self.handle)))

    def read(self):
        """The next value, None where there is none now."""
        return self.values.pop(0) if self.values else None

    def write(self, value):
        """Notify; False while the radio is full."""
        if self.conn is None:
            return True
        try:
            self.ble.gatts_notify(self.conn, self.handle, value)
        except OSError:
            return False
        return True

    def drop(self):
        """The chip ends the link."""
        self.up = False
        if self.conn is not None:
            self.ble.gap_disconnect(self.conn)
