"""Does a board have what a package needs first? pipe/FORMAT.md has its fields. Loaded for a package that has any."""

from mpota.stream import FIRMWARE
from mpota.version import parse, text
from mpota_boot import shim
from mpota_boot.errors import Refused


def judge(board, package):
    """Refused, with the sentence that says what to install first. Reads the journal and what runs, writes nothing."""
    fields = package.fields
    least = int.from_bytes(fields.get(b"Boot", b""), "little")
    if least > shim.NUMBER:
        raise Refused("needs", "mpota_boot %d, here is %d: `flash` brings it over a cable" % (least, shim.NUMBER))
    if b"From" in fields:
        _want("version", board.layout.version() or _given(board), fields[b"From"])
    if b"Firm" in fields and package.components[0].kind != FIRMWARE:
        _want("firmware", board.layout.firmware() or _given(board), fields[b"Firm"])


def _given(board):
    """The setting `version`: what its owner put on the board over a cable, where the journal knows of nothing."""
    try:
        return parse(str(board.settings.get("version")))
    except ValueError:
        return None


def _want(what, runs, least):
    if not runs or runs < least:
        here = text(runs) if runs else "an unknown one"
        raise Refused("needs", "%s %s or newer first, %s runs: install %s" % (what, text(least), here, text(least)))
