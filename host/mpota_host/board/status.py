"""Asks a board, over its REPL, what `mpota/console.py` knows and does: status, confirm, rollback, forget."""

from __future__ import annotations

import json
from typing import Any

from mpota_boot.errors import LinkError
from mpota_host.board.repl import WITH_BOARD, Ampy, Mpremote, ask, open_board
from mpota_host.package.format import STAGES
from mpota_host.package.report import Report, Table

STATUS = WITH_BOARD + "import json\nprint(json.dumps(console.status(Board())))"
# The text of the settings, null where there is no such file.
SETTINGS = (
    "import json, mpota_boot.board as b\ntry:\n f = open(b.SETTINGS, 'rb'); t = f.read().decode(); f.close()\n"
    "except (OSError, ValueError):\n t = None\nprint(json.dumps(t))"
)
TELL = WITH_BOARD + "console.{}(Board())"
NONE = "0.0.0"
DONE = {
    "confirm": "confirmed: the image that runs stays",
    "rollback": "the board restarts with the image before this one; if that starts a trial, `confirm` keeps it",
    "forget": "forgotten: a package that was given up may be tried again",
}


def ask_status(port: str, tool: str) -> Report:
    """What the board at `port` says of itself; its application starts again afterwards."""
    with open_board(port, tool) as repl:
        return read(repl)


def read(repl: Mpremote | Ampy) -> Report:
    """The status of a board whose REPL is open."""
    facts = ask(repl, STATUS)
    if isinstance(facts, dict) and "settings_error" in facts:
        facts["settings_note"] = _loose(ask(repl, SETTINGS))
    try:
        return as_report(facts)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        words = "the board's status is none of this version of mpota's"
        raise LinkError("board", f"{words} ({e!r}); `flash` puts this version on the board") from e


def _loose(text: Any) -> str | None:
    """What is wrong with settings that MicroPython's reader takes all the same: a comma too many, or too few."""
    try:
        json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else "{}")
    except ValueError as e:
        return str(e)
    return None


def as_report(facts: dict[str, Any]) -> Report:
    """What the board said, in words."""
    return Report("status", _sentence(facts), facts, [Table("", ("what", "value"), list(_lines(facts).items()))])


def tell(port: str, tool: str, what: str) -> str:
    """Have the board `confirm`, `rollback` or `forget`; returns the sentence that says what came of it."""
    with open_board(port, tool) as repl:
        repl.run(TELL.format(what))
        if what == "rollback":
            # After the answer has arrived.
            repl.reset()
    return DONE[what]


def _named(version: str | None) -> str:
    """`version 1.2.3`; an image that no update brought, or that a rollback went back to, has none that is known."""
    return f"version {version}" if version and version != NONE else "an unknown version"


def _sentence(facts: dict[str, Any]) -> str:
    if facts.get("settings_error"):
        words = f"its settings /mpota.json cannot be read ({facts['settings_error']}), so it takes no update: mend them"
        return f"{facts['running']} runs {_named(facts['version'])}; {words}"
    runs = f"{facts['running']} runs {_named(facts['version'])}"
    if facts["trial"] and facts["trial"]["runs"]:
        return f"{facts['running']} runs {_named(facts['trial']['version'])}, on trial"
    if facts["trial"]:
        return f"{runs}; {_named(facts['trial']['version'])} is armed and waits for a restart"
    if facts["updates"]:
        return f"{runs}; no update now: {facts['updates']}"
    return f"{runs}, ready for an update"


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    """The facts worth a line each, in words."""
    lines = {
        "product": facts.get("product") or _unset(facts),
        **(_settings(facts) | _keys(facts.get("keys"))),
        "running": f"{facts['running']}, {_named(facts['version'])}",
        **_slots(facts),
        "takes versions": f"{facts['floor']} and newer" if facts["floor"] != NONE else "all",
    }
    if "stages" in facts:
        lines["decodes"] = _decodes(facts["stages"])
    lines |= _application(facts)
    if facts["trial"]:
        n = facts["trial"]["trials"]
        lines["on trial"] = f"{_named(facts['trial']['version'])}, {n} more {'boots' if n != 1 else 'boot'} left"
    if facts["failed"]:
        lines["given up"] = f"{_named(facts['failed']['version'])}: {facts['failed']['reason']}"
    if not facts.get("retreats", True):
        lines["goes back"] = "never: an image that is not healthy stays until another one is installed"
    lines |= _rescue(facts)
    if facts["updates"]:
        lines["no update"] = facts["updates"]
    if facts.get("tried"):
        lines["last attempt"] = _tried(facts["tried"])
    if facts.get("boot_error"):
        lines["boot.py"] = f"met {facts['boot_error']}"
    # What a layout has looked at besides, as "what: how it is".
    lines |= {what: how for what, _, how in (line.partition(": ") for line in facts.get("findings", ()))}
    return lines


def _application(facts: dict[str, Any]) -> dict[str, str]:
    """Where the application is, and mpota where a release brought it."""
    lines = {}
    if "tree" in facts:
        lines["application"] = facts["tree"] or "where its owner put it; no package brought one"
    if facts.get("updater") not in (None, "lib"):
        lines["updater"] = f"{facts['updater']}/mpota, which a release brought"
    return lines


def _tried(facts: dict[str, Any]) -> str:
    """Why the last attempt brought no update."""
    said = f"{facts['code']}: {facts['text']}"
    if facts["asked"] and facts["asked"] not in facts["text"]:
        said += f" (asked {facts['asked']})"
    if facts["count"] is None:
        return f"before the last reset, {said}"
    often = f", {facts['count']} times in a row" if facts["count"] > 1 else ""
    return f"{facts['seconds']:,} s ago{often}, {said}"


def _settings(facts: dict[str, Any]) -> dict[str, str]:
    note = facts.get("settings_note")
    words = f"/mpota.json is no JSON by the rules ({note}); this board reads it, other tools do not: mend it"
    return {"settings": words} if note and not facts["settings_error"] else {}


def _unset(facts: dict[str, Any]) -> str:
    """Why there is no product."""
    broken = facts.get("settings_error")
    return f"not known: /mpota.json cannot be read: {broken}" if broken else "not set: give the board its /mpota.json"


def _rescue(facts: dict[str, Any]) -> dict[str, str]:
    if facts.get("rescue"):
        return {"rescue": f"the next start runs no application: {facts['rescue']}"}
    failed = facts.get("failed_starts")
    return {"failed starts": f"{failed['number']}, the last one of {failed['reason']}"} if failed else {}


def _keys(facts: dict[str, Any] | None) -> dict[str, str]:
    """Of a board with roots."""
    if not facts:
        return {}
    roots = f"{facts['threshold']} of {len(facts['roots'])} roots must sign"
    if not facts["serial"]:
        return {"keys": f"no keys record yet, so no package is trusted; {roots}"}
    return {"keys": f"keys record {facts['serial']}, release {', '.join(facts['release'])}; {roots}"}


def _slots(facts: dict[str, Any]) -> dict[str, str]:
    """Of a board that takes firmware."""
    if "slots" not in facts:
        return {"takes": facts.get("takes") or "application files, no firmware"}
    state = facts["state"] or "no otadata entry"
    return {
        "boots next": f"{facts['boots'] or 'the first image that is whole'} ({state})",
        "slots": ", ".join(f"{s['label']} of {s['size']:,} bytes" for s in facts["slots"]) or "none",
    }


def _decodes(stages: list[str]) -> str:
    """The stages that a package may have, as `pack --decodes` takes them."""
    known = ",".join(stages) or "nothing"
    missing = [name for name in STAGES.values() if name not in stages]
    return known + (f" (not {', '.join(missing)})" if missing else "")
