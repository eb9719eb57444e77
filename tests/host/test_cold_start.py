"""https after a power-on: a virtual board in its port's year sets its clock and takes an update, or it says why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mpota_host.cut.hostile import make_keys
from mpota_host.package import keys
from mpota_host.package.assemble import Head, Part, assemble
from mpota_host.package.encode.piece import pieces
from mpota_host.package.format import FILES
from mpota_host.package.pack import version_bytes
from mpota_host.package.read import package_facts
from mpota_host.package.serve import write_manifest
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sim.ports.table import ROWS, SUPPORTED
from tests.host.servers import Certificates, Rogue, TimeServer, head
from tests.trees import archive

PATIENCE_S = 30.0
APP = {"app.py": b"def step():\n    pass\ndef health():\n    return True\n"}
OK = head("200 OK", length=2) + b"ok"
pytestmark = pytest.mark.board


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def package(key: keys.Key) -> bytes:
    data = archive(dict(APP))
    parts = [Part(FILES, "files", data, pieces(data, 4096))]
    return assemble(Head("lamp", "files", version_bytes("2.0.0"), 4096), parts, key)


def shop(folder: Path, certificates: Certificates, key: keys.Key) -> Rogue:
    """A web server with TLS, a manifest and a package."""
    made = package(key)
    (folder / "p.mpota").write_bytes(made)
    write_manifest(folder, [{**package_facts(made), "file": "p.mpota"}])
    told = (folder / "manifest.json").read_bytes()
    rules = {
        "/m.json": head("200 OK", length=len(told)) + told,
        "/p.mpota": head("200 OK", length=len(made)) + made,
        "/report": OK,
    }
    return Rogue(rules, certificates.context())


def board(folder: Path, like: str, web: Rogue, certificates: Certificates, key: keys.Key, ntp: str) -> Path:
    """A new board of this port, with an application of its owner's."""
    settings = {
        "product": "lamp", "layout": "files", "manifest": web.url("/m.json"), "report": web.url("/report"),
        "ca": ROWS[like].place[0] + "/ca.pem", "ntp": ntp, "poll_ms": 500,
    }  # fmt: skip
    files = mpota_files(settings, {"release": keys.public_bytes(key)}, "files", ROWS[like].platform)
    files = {**files, "/ca.pem": certificates.pem.read_bytes(), "/app.py": APP["app.py"]}
    return create_for("files", folder / "flash.bin", b"", files, like=like)


def until(what: Callable[[], bool], words: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, words()
        time.sleep(0.05)


@pytest.mark.slow  # two starts for each port
@pytest.mark.parametrize("like", [like for like in SUPPORTED if like != "samd"])
def test_an_update_over_https_is_confirmed_after_a_cold_start(
    tmp_path: Path, like: str, certificates: Certificates
) -> None:
    key = make_keys().trusted
    with TimeServer() as server, shop(tmp_path, certificates, key) as web:
        path = board(tmp_path, like, web, certificates, key, server.name)
        with VirtualBoard(path) as made:
            until(lambda: any(b"confirmed" in post for post in web.posts), lambda: (web.asked, web.posts))
            assert server.asked and ROWS[like].year < 2026
            assert made.run("import time; print(time.localtime()[0])") == f"{time.gmtime().tm_year}\n"


def test_without_the_time_the_certificate_is_not_in_date_and_the_sentence_says_so(
    tmp_path: Path, certificates: Certificates
) -> None:
    key = make_keys().trusted
    with TimeServer(says=False) as server, shop(tmp_path, certificates, key) as web:
        path = board(tmp_path, "esp32", web, certificates, key, server.name)
        with VirtualBoard(path) as made:
            until(lambda: server.asked > 3, lambda: server.asked)
            said = ""
            end = time.monotonic() + PATIENCE_S
            while "clock" not in said:
                assert time.monotonic() < end, said
                said = made.run("print(getattr(runner.agent.error, 'code', None), runner.agent.error)")
                made.run("for _ in range(50): runner.turn(); board.pause()")
            assert "2000-01-01" in said and "nobody told the time" in said and server.name in said, said
            assert web.asked == []
