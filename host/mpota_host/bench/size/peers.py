"""Other people's tools, each at its best: the bytes that would travel, and whether the new image comes back from them.

What pyproject.toml lists for the bench alone is installed when the bench runs, each requirement into a folder of its
own in build/peers, so that neither tests nor demo have it. What cannot be installed is told as such.
"""

from __future__ import annotations

import importlib
import io
import lzma
import shutil
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hdiffpatch

from mpota_host.sources import root

# Compiled parts are for one Python.
FOLDER = root() / "build" / "peers" / str(sys.implementation.cache_tag)
# Seconds that pip gets for one requirement; detools is compiled.
PATIENCE = 120
# What pip said of a requirement is not asked twice in a run.
failed: dict[str, str] = {}
XZ = 9 | lzma.PRESET_EXTREME


class Missing(Exception):
    """A requirement cannot be installed here."""


@dataclass
class Peer:
    """`make(old, new)` gives what travels; `back(old, made)` the new image again."""

    name: str
    make: Callable[[bytes, bytes], bytes]
    back: Callable[[bytes, bytes], bytes]


def requirements(group: str) -> list[str]:
    """What pyproject.toml lists under a name."""
    lists = tomllib.loads((root() / "pyproject.toml").read_text())["dependency-groups"]
    wanted: list[str] = lists[group]
    return wanted


def installed(requirement: str, folder: Path = FOLDER, alone: bool = False) -> Path:
    """Its folder, made where it is not there yet; `alone` leaves out what it depends on. Missing with pip's reason."""
    place = folder / requirement.replace(">=", "-").replace("==", "-")
    if requirement in failed:
        raise Missing(failed[requirement])
    if not place.is_dir():
        rough = place.with_name(place.name + ".part")
        shutil.rmtree(rough, ignore_errors=True)
        reason = pip("--target", str(rough), *(["--no-deps"] if alone else []), requirement)
        if reason:
            shutil.rmtree(rough, ignore_errors=True)
            failed[requirement] = f"{requirement} cannot be installed: {reason}"
            raise Missing(failed[requirement])
        rough.rename(place)
    return place


def pip(*args: str) -> str:
    """Why pip did not install; "" when it did."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"pip took more than {PATIENCE} s"
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
    return lines[-1].removeprefix("ERROR:").strip()


def module(name: str) -> Any:
    """A module of the bench's requirements."""
    wanted = next(one for one in requirements("bench") if one.startswith(name))
    place = str(installed(wanted))
    if place not in sys.path:
        sys.path.append(place)
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise Missing(f"{wanted} does not load here: {e}") from None


def detools(compression: str) -> Peer:
    """detools' sequential patch."""

    def make(old: bytes, new: bytes) -> bytes:
        made = io.BytesIO()
        tool = module("detools")
        tool.create_patch(io.BytesIO(old), io.BytesIO(new), made, compression=compression, use_mmap=False)
        return made.getvalue()

    def back(old: bytes, made: bytes) -> bytes:
        out = io.BytesIO()
        module("detools").apply_patch(io.BytesIO(old), io.BytesIO(made), out)
        return out.getvalue()

    return Peer(f"detools, {compression}", make, back)


PEERS = [
    Peer("zlib -9", lambda old, new: zlib.compress(new, 9), lambda old, made: zlib.decompress(made)),
    Peer("xz -9e", lambda old, new: lzma.compress(new, preset=XZ), lambda old, made: lzma.decompress(made)),
    detools("heatshrink"),
    detools("lzma"),
    Peer(
        "bsdiff4",
        lambda old, new: module("bsdiff4").diff(old, new),
        lambda old, made: module("bsdiff4").patch(old, made),
    ),
    Peer(
        "HDiffPatch, zlib",
        lambda old, new: hdiffpatch.diff(old, new, hdiffpatch.ZlibConfig(level=9), validate=False),
        hdiffpatch.apply,
    ),
    Peer(
        "HDiffPatch, lzma",
        lambda old, new: hdiffpatch.diff(old, new, hdiffpatch.LzmaConfig(level=9), validate=False),
        hdiffpatch.apply,
    ),
    Peer(
        "HDiffPatch, then xz -9e",
        lambda old, new: lzma.compress(hdiffpatch.diff(old, new, validate=False), preset=XZ),
        lambda old, made: hdiffpatch.apply(old, lzma.decompress(made)),
    ),
]
