"""Lines of the vendor's console, typed as its page has them: `sta SSID PASSWORD`, `http_ota URL`.

A line is words with blanks between; one with blanks of its own stands in double or single quotes. The wiring says which
words are commands. Nothing here is Python that a person has to quote.
"""

from mpota_boot.errors import LinkError, OtaError, Refused

PROMPT = "# "
LEAVE = ("exit", "quit")
# Joining a Wi-Fi has 15 s: so many pauses of 10 ms (mpota_boot/board.py).
_PAUSES = 1500


def words(line):
    """The words of a line; Refused where a quote does not end."""
    found = []
    word = quote = None
    for c in line.strip():
        if quote:
            quote, word = (None, word) if c == quote else (quote, word + c)
        elif word is None and c in "\"'":
            quote, word = c, ""
        elif c in " \t":
            found += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + c
    if quote:
        raise Refused("line", "the line ends inside a word in quotes, wanted another %s" % quote)
    return found + ([] if word is None else [word])


def do(line, commands):
    """Do a line. `commands` has (call, what it takes, least words, most words) by name. Raises an OtaError."""
    found = words(line)
    if not found:
        return
    name, args = found[0], found[1:]
    if name not in commands:
        raise Refused("line", "there is no command %s, but %s" % (name, ", ".join(sorted(commands))))
    call, takes, least, most = commands[name]
    if not least <= len(args) <= most:
        raise Refused("line", "%s has %d words behind it, wanted %s %s" % (name, len(args), name, takes))
    call(*args)


def loop(command, say, read=input):
    """Give lines to `command` until `exit`, Ctrl-C or Ctrl-D. An error is said, and the next line follows."""
    while True:
        try:
            line = read(PROMPT)
            if line.strip() in LEAVE:
                return
            command(line)
        except (EOFError, KeyboardInterrupt):
            return
        except (OtaError, OSError, ValueError) as e:
            say("%s: %s" % (type(e).__name__, e))


def join(board, network, ssid, password=""):
    """Join a Wi-Fi and keep it as the first that this board looks for. `network` is mpota.network.port.

    LinkError, and nothing kept, if it does not answer.
    """
    nic = network.station()
    if not nic.active():
        nic.active(True)
    if nic.isconnected():
        nic.disconnect()
    nic.connect(*([ssid, password] if password else [ssid]))
    left = _PAUSES
    while not nic.isconnected():
        if not left:
            raise LinkError("network", "the Wi-Fi %s was not joined in 15 s and is not kept: name, password?" % ssid)
        left -= 1
        board.feed()
        board.pause()
    _keep(board.memory("wifi"), network.PLACES, ssid.encode(), password.encode())


def _keep(memory, places, ssid, password):
    """Put a network in front of those that are stored; the last goes where there are too many."""
    pairs = [(memory.last("ssid" + place) or b"", memory.last("psk" + place) or b"") for place in places]
    pairs = [(ssid, password)] + [pair for pair in pairs if pair[0] and pair[0] != ssid]
    pairs += [(b"", b"")] * (len(places) - len(pairs))
    for place, pair in zip(places, pairs):
        for tag, data in zip(("ssid" + place, "psk" + place), pair):
            if memory.last(tag) != (data or None):
                memory.put(tag, data)
