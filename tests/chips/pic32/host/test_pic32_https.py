"""The vendor's service over the HTTP link: real servers, HTTPS that is verified, a signature, both interpreters."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mpota.layout.pic32.link import manifest
from mpota_host.bench.line.serial import micropython
from mpota_host.board.flash import compile_mpy
from mpota_host.chips.pic32 import hexfile, packer
from mpota_host.sources import CHECKOUT as ROOT
from mpota_host.sources import DEVICE, port_environment
from tests.chips.pic32 import pic32_maker as maker
from tests.host.servers import Certificates, Rogue, head

B = maker.image(2, 8500)
Run = Callable[..., list[Any]]


@pytest.fixture(params=["cpython", "unix port"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs the client on one interpreter; gives events, error, rows and status."""

    def call(url: str, **more: Any) -> list[Any]:
        program = sys.executable if request.param == "cpython" else micropython()
        env = port_environment()
        command = [program, "tests/chips/pic32/host/pic32_client.py", json.dumps({"url": url, **more})]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        found: list[Any] = json.loads(done.stdout)
        return found

    return call


def pem() -> bytes:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*form)


def serve(rules: dict[str, bytes], tls: Any, path: Path, key: bytes | None = None) -> Rogue:
    """A server of the image and of a manifest that the host's packer wrote."""
    server = Rogue(rules, tls)
    options = packer.Options(hexfile.slot_of("3.7"), key=key, number=3, base=server.url(""), product="demo")
    text = packer.manifest(path, packer.entry("app.bin", B, options))[0]
    rules["/manifest.json"] = head("200 OK", "Content-Type: application/json", length=len(text)) + text
    rules["/app.bin"] = head("200 OK", length=len(B)) + B
    return server


DONE = [4, 6, 16, 17, 19, 20, 25]
GOOD = [["a.bin", "f8", "2"], ["image1.bin", "f8", "3"]]


def test_an_update_over_http_and_over_verified_https(run: Run, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    for tls, ca in ((None, None), (certificates.context(), str(certificates.pem))):
        with serve({}, tls, tmp_path / "manifest.json") as server:
            said, error, rows, status = run(server.url("/manifest.json"), ca=ca)
        assert said[:7] == DONE and error is None and rows == GOOD and status == 0xF8


def test_https_with_a_certificate_of_a_stranger_brings_nothing(run: Run, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    for tls, ca in ((certificates.context(own=True), str(certificates.pem)), (certificates.context(), None)):
        with serve({}, tls, tmp_path / "manifest.json") as server:
            said, error, rows, _ = run(server.url("/manifest.json"), ca=ca)
        assert said == [4, 5] and error == "tls" and rows == GOOD[:1]


def test_a_signature_of_the_host_is_taken_and_a_strangers_is_not(run: Run, tmp_path: Path) -> None:
    ours, other = pem(), pem()
    for key, code in ((ours, None), (other, "signature")):
        with serve({}, None, tmp_path / "manifest.json", key) as server:
            said, error, rows, _ = run(server.url("/manifest.json"), key=packer.public(ours).hex())
        assert error == code and said[:7] == (DONE if code is None else [4, 7])
        assert rows == (GOOD if code is None else GOOD[:1])


def test_a_connection_that_ends_early_leaves_the_image_that_runs(run: Run, tmp_path: Path) -> None:
    rules: dict[str, bytes] = {}
    with serve(rules, None, tmp_path / "manifest.json") as server:
        rules["/app.bin"] = head("200 OK", length=len(B)) + B[:5000]
        said, error, rows, status = run(server.url("/manifest.json"))
    assert said == [4, 6, 16, 18] and error == "short" and rows == GOOD[:1] and status == 0xF8


def test_a_manifest_below_the_limit_is_read_under_a_heap_of_64_kb(tmp_path: Path) -> None:
    one = '{"Version": %d, "URL": "http://updates.lan/app%d.bin", "Digest": "' + "ab" * 32 + '", "EraseVer": false}'
    text = '{"ota": [' + ",".join(one % (i, i) for i in range(1, 53)) + "]}"
    assert 7800 < len(text) <= manifest.MOST
    (tmp_path / "good.json").write_text(text)
    (tmp_path / "large.json").write_text(text + " " * (manifest.MOST + 1 - len(text)))
    (tmp_path / "odd.json").write_text('{"ota": [' + "{1:2}," * 300 + "{}]}")
    (tmp_path / "deep.json").write_text('{"ota": [' + "[" * 4000 + "]" * 4000 + "]}")
    # As on a board: compiled, the layout and what it stands on.
    parts = ("mpota_boot/*.py", "mpota/*.py", "mpota/store/*.py", "mpota/layout/*.py", "mpota/layout/pic32/**/*.py")
    for path in [path for part in parts for path in DEVICE.glob(part)]:
        out = tmp_path / path.relative_to(DEVICE).with_suffix(".mpy")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(compile_mpy(path, ""))
    program = """
from mpota.layout.pic32.link import manifest
buf = bytearray(manifest.MOST + 1)
print(manifest.read(buf, open("good.json", "rb").readinto(buf)).offer.number)
for name in ("large.json", "odd.json", "deep.json"):
    try:
        print(len(manifest.read(buf, open(name, "rb").readinto(buf)).wrong))
    except Exception as e:
        print(repr(e)[:60])
"""
    command = [micropython(), "-X", "heapsize=64k", "-c", program]
    env = {**os.environ, "MICROPYPATH": f"{tmp_path}:.frozen"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=60)
    # What is no manifest at all may be more than the heap has, and is no more than an error.
    wanted = r"52\nRefused\('the manifest has more than 8192 bytes',\)\n8\n(MemoryError|Refused)\(.*\n"
    assert re.fullmatch(wanted, done.stdout.decode()), done.stdout + done.stderr
