"""Runs on the unix port: imports mpota as main.py does, with an application's folder first on sys.path.

Reads {"root", "name"}: the folder gets a file NAME.py. Prints {"said": "ok"}, or the exception.
"""

import json
import sys

GIVEN = json.loads(sys.stdin.readline())
# boot.py imports these before the application's folder is on the path.
import mpota_boot.board  # noqa: E402
import mpota_boot.shim  # noqa: E402
import mpota_host  # noqa: E402

assert mpota_host and mpota_boot.board and mpota_boot.shim


def main():
    with open("%(root)s/%(name)s.py" % GIVEN, "w") as f:
        f.write("VALUE = 1\n")
    sys.path.insert(0, GIVEN["root"])
    from io import BytesIO

    from mpota.agent import Agent
    from mpota.console import push
    from mpota.link.http import Http
    from mpota.link.web import Web
    from mpota.pipe.package import Chunks, Package
    from tests.packages import Maker

    assert Agent and Http and Web and push
    data = Maker(bytes(9000), deflate=True).bytes()
    package = Package.read(BytesIO(data), None, bytearray(4096))
    chunks = Chunks(package, 0, BytesIO(data[package.end :]), bytearray(4096))
    chunks.load()
    assert chunks.readinto(bytearray(4096)) == 4096
    link = Http("http://127.0.0.1:1/m.json", "demo", "files", lambda: None)
    link.timeout_ms = 100
    from mpota_boot.errors import LinkError

    try:
        link.open()
    except LinkError:
        pass
    from mpota.link.find import _offers
    from mpota.pipe import decrypt

    assert decrypt and _offers(link, b'{"mpota": 1, "packages": []}') == []


try:
    main()
    answer = "ok"
except Exception as e:
    answer = "%s: %s" % (type(e).__name__, e)
print('{"said": "%s"}' % answer.replace("\\", "").replace('"', "'"))
