"""What one scenario of test_link_http.py runs, under CPython and under the unix port: open, read, print one line.

Standard input has a JSON object {url, ca, cert, headers, dns, version, opens: [offset, ...], report_url, timeout_ms}.
Prints a JSON object: for each open the length and SHA-256 of what came, None for no offer, or the error's code and
text. In place of an offset "other" says that the offer was refused, and gives whether there is another.
"""

import json
import sys
from binascii import hexlify
from hashlib import sha256

if sys.implementation.name != "micropython":
    from tests.host.streams import Http
else:
    from mpota.link.http import Http

from mpota_boot.errors import LinkError

want = json.loads(sys.stdin.readline())
fed = 0


def feed():
    global fed
    fed += 1


version = want.get("version")
link = Http(want["url"], "lamp", "esp32", lambda: bytes(version) if version else None)
link.timeout_ms = want.get("timeout_ms", 5000)
link.ca, link.cert, link.headers = [want.get(name) for name in ("ca", "cert", "headers")]
if "dns" in want:
    link.name_server = lambda: tuple(want["dns"])
link.report_url = want.get("report_url")
link.feed = feed
out = []
buf = bytearray(1000)
for at in want["opens"]:
    n = 0
    digest = sha256()
    if at == "other":
        out.append(link.other())
        continue
    try:
        src = link.open(at)
        if src is None:
            out.append(None)
            continue
        while True:
            got = src.readinto(buf)
            if not got:
                break
            digest.update(buf[:got])
            n += got
        assert src.readinto(buf) == 0
        src.close()
        out.append([n, hexlify(digest.digest()).decode()])
    except LinkError as e:
        out.append({"code": e.code, "text": str(e), "got": n})
if want.get("report_url"):
    link.report("confirmed", "version 1.2.3 runs")
link.close()
print(json.dumps({"out": out, "fed": fed}))
