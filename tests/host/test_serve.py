"""The static server and the manifest that it offers, read by the board's own link."""

import asyncio
import json
import threading
import urllib.error
import urllib.request

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mpota.pipe.package import Package
from mpota.stream import pull
from mpota_boot.errors import Corrupt, LinkError, Refused
from mpota_host.package import format as fmt
from mpota_host.package import pack, serve
from mpota_host.package.bases import Base
from tests.chips.esp32 import image_maker
from tests.host.servers import PACKAGE, SIZE, entry
from tests.host.streams import Http


@pytest.fixture
def url(tmp_path):
    """A running server over tmp_path."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(serve.application(tmp_path))
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def fetch(url, **fields):
    with urllib.request.urlopen(urllib.request.Request(url, headers=fields)) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_board_reads_what_is_served(url, tmp_path):
    (tmp_path / "package").write_bytes(PACKAGE)
    serve.write_manifest(tmp_path, [entry("1.2.0")])
    link = Http(url + "manifest.json", "lamp", "esp32", lambda: None)
    for at in (0, 12_345):
        buf = bytearray(SIZE + 1)
        assert pull(link.open(at), buf) == SIZE - at
        assert buf[: SIZE - at] == PACKAGE[at:]
    link.close()


def test_range_is_answered_with_206(url, tmp_path):
    (tmp_path / "package").write_bytes(PACKAGE)
    serve.write_manifest(tmp_path, [entry("1.2.0")])
    status, fields, body = fetch(url + "package", Range="bytes=100-")
    assert (status, fields["Content-Range"], body) == (206, f"bytes 100-{SIZE - 1}/{SIZE}", PACKAGE[100:])


NAMES = ["my lamp 50%.mpota", "l\u00e4mp#1.mpota", "a?b.mpota", "my%20lamp.mpota", "100%25.mpota", "a:b+c.mpota"]


def test_a_package_of_any_name_is_listed_and_fetched(url, tmp_path):
    image = image_maker.image(body=b"name " * 400)
    for i, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(pack.pack(image, pack.Options("lamp", f"1.{i}.0"), None).data)
        rows, _ = serve.offers(tmp_path)
        serve.write_manifest(tmp_path, rows)
        data = (tmp_path / name).read_bytes()
        link = Http(url + "manifest.json", "lamp", "esp32", lambda: None)
        buf = bytearray(len(data) + 1)
        assert pull(link.open(), buf) == len(data) and buf[:-1] == data, name
        link.close()


def test_nothing_outside_the_folder_is_served(url, tmp_path):
    (tmp_path.parent / "secret").write_bytes(b"secret")
    for path in ("../secret", "%2e%2e/secret", "..%2fsecret"):
        with pytest.raises(urllib.error.HTTPError) as e:
            fetch(url + path)
        assert e.value.code in (403, 404)


def test_only_what_the_manifest_names_is_served(url, tmp_path):
    (tmp_path / "package").write_bytes(PACKAGE)
    (tmp_path / "release.pem").write_bytes(b"the private key")
    serve.write_manifest(tmp_path, [entry("1.2.0")])
    assert fetch(url + "package")[2] == PACKAGE and fetch(url + "manifest.json")[0] == 200
    for path in ("release.pem", "", ".", "manifest.json.new"):
        with pytest.raises(urllib.error.HTTPError) as e:
            fetch(url + path)
        assert e.value.code == 404


def test_requests_and_reports_are_a_line_each(tmp_path):
    (tmp_path / "package").write_bytes(PACKAGE)
    serve.write_manifest(tmp_path, [entry("1.2.0")])
    lines = []

    async def play():
        async with TestClient(TestServer(serve.application(tmp_path, lines.append))) as client:
            await client.get("/package", headers={"Range": "bytes=100-"})
            await client.get("/release.pem")
            await client.post("/report", data=b'{"code": "armed"}\n\x1b[2J')

    asyncio.run(play())
    said = [line.partition(" ")[2] for line in lines]
    assert said == [
        "GET /package bytes=100-: 206",
        "GET /release.pem: 404",
        'reports {"code": "armed"}\\n\\x1b[2J',
    ]


def test_printed_address_is_one_that_a_board_can_use():
    assert serve.urls("192.168.1.2", 80) == ["http://192.168.1.2:80/manifest.json"]
    every = serve.urls("0.0.0.0", 8000)
    assert every[0] == "http://127.0.0.1:8000/manifest.json" and len(every) == 2
    assert not any("0.0.0.0" in url for url in every)


def test_manifest_lists_newest_first(tmp_path):
    path = serve.write_manifest(tmp_path, [entry("1.9.0"), entry("1.10.0"), entry("1.2.0")])
    doc = json.loads(path.read_bytes())
    assert doc["mpota"] == 1
    assert [row["version"] for row in doc["packages"]] == ["1.10.0", "1.9.0", "1.2.0"]


@pytest.mark.parametrize("change", [{"version": "1.2"}, {"size": 0}, {"size": "5"}, {"version": "1.2.99999"}])
def test_entry_that_a_board_would_refuse_is_not_written(tmp_path, change):
    with pytest.raises(ValueError):
        serve.write_manifest(tmp_path, [{**entry(), **change}])
    assert not (tmp_path / "manifest.json").exists()


def test_entry_with_a_missing_field_is_not_written(tmp_path):
    bad = entry()
    del bad["id"]
    with pytest.raises(ValueError, match="id"):
        serve.write_manifest(tmp_path, [bad])


def test_manifest_that_a_board_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="4095"):
        serve.write_manifest(tmp_path, [entry(f"1.{i}.0") for i in range(60)])


OLD = image_maker.image(body=b"an old one, " * 3000)
NEW = image_maker.image(body=b"a new one, b" * 3000)
BASES = [Base(name, name, {(fmt.FIRMWARE, ""): OLD[:-4] + name.encode()}) for name in ("old1", "old2")]


def shelve(folder, version, firmware=NEW, olds=(), keep=("full", "delta"), product="lamp"):
    """Packages of a version, as `pack` names them; says their sizes."""
    made = pack.packages(pack.goods("esp32", firmware), pack.Options(product, version), None, list(olds))
    assert len(made) == 1 + len(olds)
    for one in made:
        if ("delta" if one.base else "full") in keep:
            tag = f"-from-{one.base.tag}" if one.base else ""
            (folder / f"{product}-{version}{tag}.mpota").write_bytes(one.data)
    return [len(one.data) for one in made]


def test_deltas_and_the_full_package_stand_in_the_manifest_and_boards_ask_the_smallest_first(url, tmp_path):
    sizes = shelve(tmp_path, "1.2.0", olds=BASES)
    shelve(tmp_path, "1.1.0", OLD)
    rows, notes = serve.offers(tmp_path)
    assert not notes and len(rows) == 4
    serve.write_manifest(tmp_path, rows)
    link = Http(url + "manifest.json", "lamp", "esp32", lambda: None)
    seen = []
    while True:
        seen.append(Package.read(link.open(), None, bytearray(4096)).size)
        if not link.other():
            break
    link.close()
    assert seen == sorted(sizes) and len(seen) == 3


def test_a_version_with_deltas_alone_is_warned_of(tmp_path):
    shelve(tmp_path, "1.2.0", olds=BASES, keep=("delta",))
    rows, (note,) = serve.offers(tmp_path)
    assert len(rows) == 2 and "lamp 1.2.0 has deltas and no full package" in note


def test_packages_of_one_version_that_install_different_bytes_are_warned_of(tmp_path):
    shelve(tmp_path, "1.2.0", olds=BASES[:1])
    shelve(tmp_path, "1.2.0", OLD, keep=("full",))
    _, (note,) = serve.offers(tmp_path)
    assert "lamp-1.2.0.mpota" in note and "another version" in note


def test_a_manifest_too_large_keeps_the_newest_versions_and_says_so(tmp_path):
    rows = [
        serve._entry(entry(f"1.{n}.0", f"lamp-{n}.mpota", product=name)) for n in range(20) for name in ("lamp", "pump")
    ]
    kept, (note,) = serve.fitting(rows)
    assert [(row["product"], row["version"]) for row in kept] == [("lamp", "1.19.0"), ("pump", "1.19.0")]
    assert "left 38 packages" in note
    assert serve.fitting(kept) == (kept, [])
    serve.write_manifest(tmp_path, kept)
    many = [serve._entry(entry("1.0.0", f"from-{n:040}.mpota")) for n in range(40)]
    with pytest.raises(Refused, match="40 packages make a manifest of"):
        serve.fitting(many)


def test_a_file_that_is_no_package_stops_the_shelf(tmp_path):
    (tmp_path / "x.mpota").write_bytes(b"<html>")
    with pytest.raises(Refused, match=r"x\.mpota is no whole package"):
        serve.offers(tmp_path)
    shelve(tmp_path, "1.2.0")
    whole = (tmp_path / "lamp-1.2.0.mpota").read_bytes()
    (tmp_path / "x.mpota").write_bytes(whole[:100])
    with pytest.raises((LinkError, Corrupt), match=r"x\.mpota is no whole package"):
        serve.offers(tmp_path)
