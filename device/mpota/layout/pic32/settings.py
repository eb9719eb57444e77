"""What /mpota.json says about the vendor's service and its MQTT trigger.

A value that is wrong is named in `service.error`, and counts as the one that lets less in.
"""

from mpota.layout.pic32.accept import JUMP
from mpota.layout.pic32.link.manifest import NUMBERS
from mpota.layout.pic32.port import key_of
from mpota_boot.errors import Refused

PERIOD_MS, MOST_MS = 60000, 7200000


def configure(service):
    """Give the service the settings of its board."""
    board = service.board
    given = board.settings
    asks = isinstance(service.url, str) and given.get("period_ms") != 0
    service.period_ms = board.setting("period_ms", PERIOD_MS, MOST_MS) if asks else 0
    service.jump = max(board.setting("jump", JUMP, NUMBERS), 1)
    for name in ("auto_update", "auto_reset", "last_entry", "enforce_tls", "bare", "vendor_manifest"):
        value = given.get(name)
        if isinstance(value, bool):
            setattr(service, name, value)
        elif value is not None:
            _wrong(service, name, value, "true or false")
            service.enforce_tls = service.enforce_tls or name == "enforce_tls"
    if "service_key" in given:
        service.key = key_of(given["service_key"])
        if not service.key:
            _wrong(service, "service_key", given["service_key"], "the 128 hex digits that `pic32 pack --key` prints")


def _wrong(service, name, value, wanted):
    # Any other type may be nested without end or hold a password, so only its name is shown.
    seen = repr(value)[:40] if isinstance(value, (str, int)) else "a " + type(value).__name__
    service.error = Refused("setting", "the setting `%s` is %s, wanted %s" % (name, seen, wanted))


def trigger(service):
    """The Mqtt that the settings ask for, or None."""
    given = service.board.settings.get("mqtt")
    if given is None:
        return None
    try:
        host, topic, port, login = given["host"], given["topic"], given.get("port", 1883), given.get("login")
        texts = [host, topic] + (login or [])
        good = host and topic and len(texts) in (2, 4) and 0 < port < 65536
        good = good and not [t for t in texts if len(t.encode()) > 255]
    except Exception:
        good = False
    if not good:
        _wrong(service, "mqtt", given, '{"host": "", "topic": "", "port": 1883, "login": ["user", "password"]}')
        return None
    from mpota.layout.pic32.link.mqtt import Mqtt

    found = Mqtt(service.board, service, host, topic)
    found.port = port
    found.login = login
    return found
