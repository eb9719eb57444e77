"""The HTTP link against real servers, good and bad, on CPython and on the unix port: one list of scenarios for both."""

import base64
import gzip
import hashlib
import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
from functools import partial
from itertools import product

import pytest

from mpota_host.bench.line.serial import micropython
from mpota_host.sources import CHECKOUT as ROOT
from mpota_host.sources import port_environment
from tests.host.servers import PACKAGE, SIZE, Certificates, NameServer, Rogue, chunked, entry, head, manifest, ranged

CLIENT = "tests/host/http_client.py"
WHOLE = [SIZE, hashlib.sha256(PACKAGE).hexdigest()]
OFFER = manifest(entry())
GOOD = head("200 OK", "Content-Type: application/json", length=len(OFFER)) + OFFER


def rest(at, end=SIZE):
    return [end - at, hashlib.sha256(PACKAGE[at:end]).hexdigest()]


@pytest.fixture(params=["cpython", "unix port"])
def run(request):
    """Runs the client program on one interpreter; gives what its opens came to."""

    def call(url, opens=(0,), **more):
        program = [sys.executable] if request.param == "cpython" else [micropython()]
        env = port_environment()
        text = json.dumps({"url": url, "opens": list(opens), **more})
        # Not as an argument: the unix port makes a name of each, and ends with an uncaught NLR at 256 bytes.
        done = subprocess.run(
            [*program, CLIENT], input=text.encode() + b"\n", cwd=ROOT, env=env, capture_output=True, timeout=30
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        answer = json.loads(done.stdout)
        call.fed = answer["fed"]
        return answer["out"]

    call.name = request.param
    return call


def offer(run, package, opens=(0,), **more):
    """Offer `package`, a rule of Rogue, through a good manifest."""
    with Rogue({"/m.json": GOOD, "/package": package}) as server:
        return run(server.url("/m.json"), opens, **more), server


def listed(run, body, fields=(), **more):
    """Offer a good package through a manifest of these bytes."""
    answer = head("200 OK", *fields, length=len(body)) + body
    with Rogue({"/m.json": answer, "/package": ranged, "/other/p": ranged, "/sub/package": ranged}) as server:
        return run(server.url("/m.json"), **more)[0]


def failed(out, code, *words):
    assert isinstance(out, dict), out
    assert out["code"] == code, out
    for word in words:
        assert word in out["text"], out


def plain(at):
    return head("200 OK", length=SIZE) + PACKAGE


# --- the package's body ---------------------------------------------------------------------------------------------


def test_package_arrives_whole_and_from_an_offset(run):
    (whole, some, last), server = offer(run, ranged, (0, 12_345, SIZE - 1))
    assert (whole, some, last) == (WHOLE, rest(12_345), rest(SIZE - 1))
    assert server.asked == [("/m.json", 0), ("/package", 0), ("/package", 12_345), ("/package", SIZE - 1)]


def test_server_without_range_is_read_past_the_offset(run):
    assert offer(run, plain, (12_345,))[0] == [rest(12_345)]


def test_range_that_starts_earlier_is_read_past_the_offset(run):
    assert offer(run, lambda at: ranged(at - at % 4096), (12_345,))[0] == [rest(12_345)]


def test_range_that_starts_later_is_refused(run):
    failed(offer(run, lambda at: ranged(at + 1), (12_345,))[0][0], "http", "12345", "12346")


def test_range_without_content_range_is_refused(run):
    failed(offer(run, head("206 Partial Content", length=5) + b"12345", (5,))[0][0], "http")


def test_status_416_is_told(run):
    failed(offer(run, head("416 Range Not Satisfiable", length=0), (5,))[0][0], "http", "416")


def test_offset_beyond_the_package_is_refused(run):
    # The first open has read the manifest; the second is that of an installer that goes on too far.
    out = offer(run, lambda at: plain(at) if at else ranged(at), (0, SIZE + 1))[0]
    assert out[0] == WHOLE
    failed(out[1], "short", str(SIZE))


@pytest.mark.parametrize("step", [1, 7, 4096, SIZE])
def test_chunked_body(run, step):
    assert offer(run, chunked(PACKAGE, step))[0] == [WHOLE]


def test_chunked_body_with_extensions_past_an_offset(run):
    assert offer(run, chunked(PACKAGE, 999, b";name=value;more=" + b"x" * 100), (5000,))[0] == [rest(5000)]


@pytest.mark.parametrize("cut", [10, 2000, SIZE + 50])
def test_chunked_body_that_ends_early_is_short(run, cut):
    body = chunked(PACKAGE, 1000)
    failed(offer(run, body[: body.index(b"\r\n\r\n") + cut])[0][0], "short")


@pytest.mark.parametrize("size", [b"-5", b"zz", b"", b"\r\n"])
def test_chunk_of_no_length_is_refused(run, size):
    body = head("200 OK", "Transfer-Encoding: chunked") + size + b"\r\n" + PACKAGE
    failed(offer(run, body)[0][0], "http")


def test_chunks_beyond_the_size_are_not_read(run):
    assert offer(run, chunked(PACKAGE + b"more", 1000))[0] == [WHOLE]


def test_body_without_length_ends_with_the_connection(run):
    assert offer(run, head() + PACKAGE)[0] == [WHOLE]


def test_connection_that_ends_early_is_short_and_keeps_what_came(run):
    out = offer(run, head("200 OK", length=SIZE) + PACKAGE[:7000])[0][0]
    failed(out, "short", "7000")
    assert out["got"] == 7000


def test_connection_without_length_that_ends_early_is_short(run):
    failed(offer(run, head() + PACKAGE[:7000])[0][0], "short", "7000")


def test_length_below_the_manifests_is_short(run):
    failed(offer(run, head("200 OK", length=7000) + PACKAGE)[0][0], "short", "7000")


def test_length_above_the_manifests_is_not_read(run):
    assert offer(run, head("200 OK", length=SIZE + 9) + PACKAGE + b"more data")[0] == [WHOLE]


@pytest.mark.parametrize("length", ["-1", "many", ""])
def test_length_that_is_none_is_refused(run, length):
    failed(offer(run, head("200 OK", length=length) + PACKAGE)[0][0], "http")


def test_body_that_stalls_is_a_link_error_and_feeds_the_watchdog(run):
    out = offer(run, [head("200 OK", length=SIZE) + PACKAGE[:7000], 3.0], timeout_ms=600)[0][0]
    failed(out, "link", "600 ms")
    assert out["got"] == 7000
    assert run.fed >= 5


def test_slow_body_is_waited_for(run):
    parts = [head("200 OK", length=SIZE)]
    for i in range(0, SIZE, 4000):
        parts += [PACKAGE[i : i + 4000], 0.2]
    assert offer(run, parts, timeout_ms=900)[0] == [WHOLE]


def test_update_goes_on_after_a_short_body(run):
    answers = [head("200 OK", length=SIZE) + PACKAGE[:7000]]
    out = offer(run, lambda at: answers.pop() if answers else ranged(at), (0, 7000))[0]
    failed(out[0], "short")
    assert out[1] == rest(7000)


# --- statuses, redirects and heads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 500, 503, 511])
def test_status_is_told(run, status):
    failed(offer(run, head(f"{status} Oh No", "Content-Type: text/html", length=0))[0][0], "http", str(status))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed(run, status):
    rules = {"/m.json": GOOD, "/package": head(f"{status} Go", "Location: /there?x=1", length=0), "/there?x=1": ranged}
    with Rogue(rules) as server:
        assert run(server.url("/m.json"), (0, 500)) == [WHOLE, rest(500)]


def test_redirects_are_relative_to_where_they_stand_and_names_to_the_url_of_the_settings(run):
    body = manifest(entry(file="package"))
    with Rogue({"/there/p": ranged, "/a/package": head("302 Go", "Location: ../there/p", length=0)}) as far:
        rules = {
            "/x/m.json": head("302 Go", f"Location: //localhost:{far.port}/a/m2.json?q=/x", length=0),
            "/x/package": head("302 Go", f"Location: //localhost:{far.port}/a/package", length=0),
        }
        far.rules["/a/m2.json?q=/x"] = head("200 OK", length=len(body)) + body
        with Rogue(rules) as near:
            assert run(near.url("/x/m.json")) == [WHOLE]
            assert [path for path, _ in near.asked] == ["/x/m.json", "/x/package"]
        assert [path for path, _ in far.asked] == ["/a/m2.json?q=/x", "/a/package", "/there/p"]


def test_five_redirects_are_followed_and_the_sixth_is_not(run):
    rules = {f"/{i}": head("302 Go", f"Location: /{i + 1}", length=0) for i in range(9)}
    rules["/5"] = GOOD
    rules["/package"] = ranged
    with Rogue(rules) as server:
        assert run(server.url("/0")) == [WHOLE]
    rules["/5"] = head("302 Go", "Location: /6", length=0)
    with Rogue(rules) as server:
        failed(run(server.url("/0"))[0], "http", "5 redirects")


@pytest.mark.parametrize("goto", [b"ftp://localhost/x", b"\xff\xfe", b"http://localhost:port/"])
def test_redirect_to_no_url_is_refused(run, goto):
    rule = b"HTTP/1.1 302 Go\r\nLocation: " + goto + b"\r\n\r\n"
    out = offer(run, rule)[0][0]
    failed(out, "url")


def test_redirect_without_location_is_refused(run):
    failed(offer(run, head("302 Go", length=0))[0][0], "http", "302")


def test_signed_url_of_a_thousand_bytes_is_followed(run):
    path = "/there?" + "x" * 1000
    rules = {"/m.json": GOOD, "/package": head("302 Go", "Location: " + path, length=0), path: ranged}
    with Rogue(rules) as server:
        assert run(server.url("/m.json")) == [WHOLE]


def test_long_header_line_is_dropped_and_endless_lines_and_headers_are_refused(run):
    long = head("200 OK", "X-Long: " + "y" * 8000, "X-Short: 1", length=SIZE) + PACKAGE
    assert offer(run, long)[0] == [WHOLE]
    long = head("200 OK", "X-Long: " + "y" * 100_000, length=SIZE) + PACKAGE
    failed(offer(run, long)[0][0], "http", "8192 bytes")
    failed(offer(run, head("200 OK", *["X-L: " + "y" * 900] * 10, length=SIZE) + PACKAGE)[0][0], "http", "8192 bytes")
    failed(offer(run, head("200 OK", *["X: 1"] * 2000, length=SIZE) + PACKAGE)[0][0], "http", "8192 bytes")


def test_endless_line_between_two_chunks_is_refused(run):
    body = head("200 OK", "Transfer-Encoding: chunked") + b"5;" + b"x" * 100_000 + b"\r\n" + PACKAGE
    failed(offer(run, body)[0][0], "http", "8192 bytes")


INJECTED = " HTTP/1.1\r\nHost: lock.lan\r\n\r\nPOST /unlock HTTP/1.1\r\nHost: lock.lan\r\n\r\ndoor=all"


def test_a_name_with_a_line_end_sends_no_second_request(run):
    with Rogue({}) as lock:
        out = listed(run, manifest(entry(file=lock.url("/x" + INJECTED))))
        failed(out, "url", "0x0d")
        assert lock.asked == [] and lock.posts == []


CONTROLS = ["\r\nX: 1", "\n", "\t", "\x00", "\x1b[2J", "\x7f"]
PLACES = ["/pack{}age", "?q={}", "/x{}", "//local{}host/x", "http://local{}host/x", "{}"]
HOSTS = [place for place in PLACES if "host" in place]


@pytest.mark.parametrize("bad, where", [*product(CONTROLS, PLACES), *product([" ", "\u00fc", "\u010d\u010a"], HOSTS)])
def test_a_byte_that_is_none_of_a_url_is_refused_before_a_connection(run, bad, where):
    name = where.format(bad)
    with Rogue({"/m.json": head() + manifest(entry(file=name))}) as server:
        out = run(server.url("/m.json"))[0]
        failed(out, "url", "0x%02x at" % ord(bad[0]) if bad in CONTROLS else "no URL")
        assert [path for path, _ in server.asked] == ["/m.json"]
        assert "\r" not in out["text"] and "\n" not in out["text"] and "\x1b" not in out["text"]


@pytest.mark.parametrize("bad", [b"\r", b" ", b"\x0b", b"\x01", b"\x1b"])
def test_a_location_with_such_a_byte_is_refused(run, bad):
    rule = b"HTTP/1.1 302 Go\r\nLocation: /a" + bad + b"b\r\nContent-Length: 0\r\n\r\n"
    out, server = offer(run, rule)
    failed(out[0], "url", "0x%02x at" % bad[0])
    assert [path for path, _ in server.asked] == ["/m.json", "/package"]


def test_a_url_of_the_settings_with_such_a_byte_is_refused(run):
    with Rogue({"/m.json": GOOD, "/package": ranged}) as server:
        failed(run(server.url("/m.json\r\nX: 1"))[0], "url", "0x0d")
        assert run(server.url("/m.json"), report_url=server.url("/report" + INJECTED)) == [WHOLE]
        assert [path for path, _ in server.asked] == ["/m.json", "/package"] and server.posts == []


@pytest.mark.parametrize("rule", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_head_that_ends_early_is_short(run, rule):
    failed(offer(run, rule)[0][0], "short")


@pytest.mark.parametrize("rule", [b"SSH-2.0-OpenSSH\r\n", b"\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 abc OK\r\n\r\n"])
def test_what_is_no_http_is_refused(run, rule):
    failed(offer(run, rule)[0][0], "http")


def test_header_names_have_no_case_and_values_no_edges(run):
    rule = b"HTTP/1.0 200 OK\ncONTENT-lENGTH:   20000  \n\n" + PACKAGE + b"more"
    assert offer(run, rule)[0] == [WHOLE]


def test_no_server_is_a_link_error(run):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    failed(run(f"http://localhost:{port}/m.json")[0], "link")


def test_host_that_is_unknown_is_a_link_error(run):
    failed(run("http://host.invalid/m.json")[0], "link", "host.invalid")


def test_silent_server_is_a_link_error(run):
    with Rogue({"/m.json": [3.0]}) as server:
        failed(run(server.url("/m.json"), timeout_ms=500)[0], "link", "500 ms")


# --- names, logins, proxies -----------------------------------------------------------------------------------------


def test_a_name_is_looked_up_at_the_name_server(run):
    with Rogue({"/m.json": GOOD, "/package": ranged}) as server, NameServer() as names:
        out = run(server.url("/m.json", "updates.example"), dns=names.address)
    # The second question, for the package, was lost and asked again.
    assert out == [WHOLE] and names.asked == [b"\x07updates\x07example\0"] * 3


def test_a_server_that_is_a_number_or_localhost_is_looked_up_nowhere(run):
    with Rogue({"/m.json": GOOD, "/package": ranged}) as server, NameServer() as names:
        for host in ("127.0.0.1", "localhost"):
            assert run(server.url("/m.json", host), dns=names.address) == [WHOLE]
        assert names.asked == []


def test_user_and_password_are_sent_to_their_server_alone(run):
    with Rogue({"/package": ranged}) as far, Rogue({"/m.json": GOOD}) as near:
        near.rules["/package"] = head("302 Go", "Location: " + far.url("/package"), length=0)
        assert run(near.url("/m.json", "u%3Aser:p%40ss@localhost")) == [WHOLE]
        wanted = "Basic " + base64.b64encode(b"u:ser:p@ss").decode()
        assert [fields.get("authorization") for fields in near.heads] == [wanted] * 2
        assert far.heads and "authorization" not in far.heads[0]


def test_a_redirect_on_the_same_server_takes_the_login_along(run):
    with Rogue({"/m.json": GOOD, "/there": ranged}) as server:
        server.rules["/package"] = head("302 Go", "Location: " + server.url("/there"), length=0)
        assert run(server.url("/m.json", "u:p@localhost")) == [WHOLE]
        assert [fields.get("authorization") for fields in server.heads] == ["Basic dTpw"] * 3


def test_headers_of_the_settings_are_sent_to_the_server_of_the_manifest_alone(run):
    headers = {"Authorization": "Bearer secret", "Accept": "application/octet-stream"}
    with Rogue({"/package": ranged}) as far, Rogue({"/m.json": GOOD}) as near:
        near.rules["/package"] = head("302 Go", "Location: " + far.url("/package"), length=0)
        reports = {"report_url": far.url("/report")}
        assert run(near.url("/m.json"), headers=headers, **reports) == [WHOLE]
        for fields in near.heads:
            assert (fields["authorization"], fields["accept"]) == ("Bearer secret", "application/octet-stream")
            assert fields["user-agent"] == "mpota" and fields["accept-encoding"] == "identity"
        assert len(near.heads) == 2 and len(far.heads) == 2 and "Bearer secret" not in str(far.heads)


def test_headers_that_would_be_two_are_refused(run):
    with Rogue({"/m.json": GOOD, "/package": ranged}) as server:
        out = run(server.url("/m.json"), headers={"X": "a\r\nY: b"})[0]
        failed(out, "headers", "X")
        assert server.asked == []


def test_errors_show_no_password_and_no_query(run):
    out = run("http://user:secret@localhost:1/m.json?token=secret")[0]
    failed(out, "link", "localhost:1/m.json?...")
    assert "secret" not in str(out)


def test_a_manifest_that_has_nothing_new_is_not_sent_again(run):
    def give(at):
        return head("304 Not Modified") if "if-none-match" in server.heads[-1] else told

    body = manifest()
    told = head("200 OK", 'ETag: "v1"', length=len(body)) + body
    with Rogue({"/m.json": give}) as server:
        assert run(server.url("/m.json"), (0, 0, 0)) == [None, None, None]
        assert [fields.get("if-none-match") for fields in server.heads] == [None, '"v1"', '"v1"']


def test_a_manifest_with_an_offer_is_asked_for_anew(run):
    answer = head("200 OK", 'ETag: "v1"', length=len(OFFER)) + OFFER
    with Rogue({"/m.json": answer, "/package": ranged}) as server:
        assert run(server.url("/m.json"), (0, 0)) == [WHOLE, WHOLE]
        assert not [fields for fields in server.heads if "if-none-match" in fields]


def test_not_modified_that_was_not_asked_for_is_an_error(run):
    failed(offer(run, head("304 Not Modified"))[0][0], "http", "304")


@pytest.mark.parametrize("fields", [["Content-Encoding: gzip"], ["Content-Encoding: br"], ["Transfer-Encoding: gzip"]])
def test_a_package_that_is_compressed_on_its_way_is_named(run, fields):
    failed(offer(run, head("200 OK", *fields, length=SIZE) + PACKAGE)[0][0], "http", "compression")


def test_a_manifest_in_another_encoding_is_named_and_a_broken_one_refused(run):
    failed(listed(run, OFFER, ["Content-Encoding: br"]), "http", "br", "compression")
    for body in (OFFER, gzip.compress(OFFER)[:-30], gzip.compress(OFFER + b" " * 4096), b""):
        failed(listed(run, body, ["Content-Encoding: gzip"]), "manifest")


def test_a_web_page_that_begins_with_empty_lines_is_a_portal(run):
    failed(listed(run, b"\xef\xbb\xbf \r\n\n" + PAGE), "portal")
    failed(listed(run, b"log in", ["Content-Type: text/html"]), "portal")


@pytest.mark.parametrize("n", [2048, 2049, 3000])
def test_a_location_has_2048_bytes_at_most_and_is_never_cut(run, n):
    path = "/" + "x" * (n - 1)
    out, server = offer(run, head("302 Go", "Location:    " + path + "   ", length=0))
    if n > 2048:
        failed(out[0], "http", "location of more than 2048 bytes")
    assert [len(path) for path, _ in server.asked] == [7, 8, 2048][: 2 + (n == 2048)]


# --- captive portals ------------------------------------------------------------------------------------------------


PAGE = b"<!DOCTYPE html><html>log in</html>"


def test_portal_instead_of_the_manifest(run):
    failed(listed(run, PAGE, ["Content-Type: text/html; charset=utf-8"]), "portal", "login")


def test_portal_without_a_type_instead_of_the_manifest(run):
    failed(listed(run, PAGE), "portal", "login")


def test_portal_behind_a_redirect(run):
    rules = {"/m.json": head("302 Found", "Location: /login", length=0)}
    rules["/login"] = head("200 OK", "Content-Type: Text/HTML", length=len(PAGE)) + PAGE
    with Rogue(rules) as server:
        failed(run(server.url("/m.json"))[0], "portal")


@pytest.mark.parametrize("at", [0, 20])
def test_portal_instead_of_the_package(run, at):
    page = PAGE + b" " * SIZE
    failed(offer(run, head("200 OK", length=len(page)) + page, (at,))[0][0], "portal")


# --- the manifest ---------------------------------------------------------------------------------------------------


def test_newest_package_for_this_board_is_taken(run):
    entries = [
        entry("1.2.0", "old"),
        entry("1.10.0", "package"),
        entry("1.9.9.9", "older"),
        entry("9.0.0", "another", product="pump"),
        entry("9.0.0", "another", layout="bk7238"),
    ]
    assert listed(run, manifest(*entries)) == WHOLE


def test_of_one_version_the_smallest_comes_first_and_after_each_refusal_the_next(run):
    smaller, small = PACKAGE[: SIZE - 200], PACKAGE[: SIZE - 100]
    entries = [entry("1.2.0"), entry("1.2.0", "b"), entry("1.2.0", "a"), entry("1.1.0", "gone")]
    entries[1]["size"], entries[2]["size"] = SIZE - 100, SIZE - 200
    rules = {"/m.json": head() + manifest(*entries), "/package": ranged}
    with Rogue(rules) as server:
        server.rules["/a"] = head("200 OK", length=len(smaller)) + smaller
        server.rules["/b"] = head("200 OK", length=len(small)) + small
        out = run(server.url("/m.json"), opens=(0, "other", 0, "other", 0, "other", 0))
    lengths = [o if isinstance(o, bool) else o[0] for o in out]
    assert lengths == [SIZE - 200, True, SIZE - 100, True, SIZE, False, SIZE]


def test_a_refusal_does_not_outlive_its_version(run):
    later = head() + manifest(entry("1.3.0", "package", size=SIZE - 1), entry("1.3.0", "package"))
    said = iter([head() + manifest(entry("1.2.0")), later])
    with Rogue({"/m.json": lambda at: next(said), "/package": plain}) as server:
        out = run(server.url("/m.json"), opens=(0, "other", 0))
    assert out[:2] == [WHOLE, False] and out[2][0] == SIZE - 1


@pytest.mark.parametrize(
    "running, found", [((1, 1, 9, 0), WHOLE), ((1, 2, 0, 0), None), ((1, 2, 0, 1), None), ((2, 0, 0, 0), None)]
)
def test_only_what_is_newer_than_what_runs_is_on_offer(run, running, found):
    version = [b for part in running for b in (part >> 8, part & 255)]
    assert listed(run, OFFER, version=version) == found


def test_manifest_without_this_board_has_nothing_on_offer(run):
    assert listed(run, manifest(entry(product="pump"))) is None
    assert listed(run, manifest()) is None


@pytest.mark.parametrize("file", ["sub/package", "/other/p", "./package?", "a?b#c", "a:b", "../y/p?q=1"])
def test_file_is_relative_to_the_manifest(run, file):
    with Rogue({"/x/m.json": head() + manifest(entry(file=file))}) as server:
        names = ("/x/sub/package", "/other/p", "/x/package?", "/x/a%3Fb%23c", "/x/a:b", "/y/p?q=1")
        server.rules.update(dict.fromkeys(names, ranged))
        assert run(server.url("/x/m.json")) == [WHOLE]


def test_file_may_be_on_another_host(run):
    with Rogue({"/p": ranged}) as far, Rogue({}) as near:
        near.rules["/m.json"] = head() + manifest(entry(file=far.url("/p", "127.0.0.1")))
        assert run(near.url("/m.json")) == [WHOLE]


def test_manifest_in_chunks(run):
    with Rogue({"/m.json": chunked(OFFER, 10), "/package": ranged}) as server:
        assert run(server.url("/m.json")) == [WHOLE]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\xfd",
        b'{"mpota": 2, "packages": []}',
        b'{"packages": []}',
        b'{"mpota": 1}',
        b'{"mpota": 1, "packages": 5}',
        b'{"mpota": 1, "packages": [5]}',
        manifest({"product": "lamp", "layout": "esp32"}),
        manifest(entry(version="1.2")),
        manifest(entry(version="1.2.x")),
        manifest(entry(version="1.2.70000")),
        manifest(entry(version="1.-2.3")),
        manifest(entry(version="1.2.3.4.5")),
        manifest(entry(version=5)),
        manifest(entry(file=5)),
        manifest(entry(size="many")),
        manifest(entry(size=None)),
        manifest(entry(size=-1)),
    ],
)
def test_what_is_no_manifest_is_refused(run, body):
    failed(listed(run, body), "manifest")


def test_bad_entry_for_another_board_is_passed_over(run):
    assert listed(run, manifest({**entry(product="pump"), "version": None}, entry())) == WHOLE


def test_manifest_of_more_than_4096_bytes_is_refused(run):
    body = OFFER + b" " * 4096
    failed(listed(run, body), "manifest", "4096")
    assert listed(run, OFFER + b" " * (4095 - len(OFFER))) == WHOLE


# --- https ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("others"), "another CA")


def test_of_a_bundle_of_cas_each_is_trusted(run, certificates, others, tmp_path):
    for order in ((certificates, others), (others, certificates)):
        bundle = tmp_path / "bundle.pem"
        bundle.write_bytes(b"# two\n" + b"\n".join(one.pem.read_bytes() for one in order))
        for one in order:
            assert secured(run, one.context(), bundle) == [WHOLE]
    failed(secured(run, certificates.context(), others.pem)[0], "tls")


def test_a_server_that_wants_a_certificate_of_the_board_gets_it(run, certificates):
    if run.name == "cpython":
        pytest.skip("MicroPython's ssl takes a certificate as bytes, CPython's as a file")
    context = certificates.context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.pem)
    assert secured(run, context, certificates.pem, cert=certificates.pair()) == [WHOLE]
    assert secured(run, context, certificates.pem)[0]["code"] in ("tls", "link", "short")
    failed(secured(run, context, certificates.pem, cert=["none.crt", "none.key"])[0], "tls")


def secured(run, context, ca, **more):
    with Rogue({"/m.json": GOOD, "/package": ranged}, context) as server:
        return run(server.url("/m.json"), ca=ca and str(ca), **more)


@pytest.mark.parametrize("form", ["pem", "der"])
def test_https_with_a_certificate_of_the_ca(run, certificates, form):
    out = secured(run, certificates.context(), getattr(certificates, form), opens=(0, 12_345))
    assert out == [WHOLE, rest(12_345)]


@pytest.mark.parametrize("made", [{"host": "elsewhere.example"}, {"days": (-9, -1)}, {"days": (20, 30)}, {"own": True}])
def test_https_with_a_wrong_certificate_is_refused(run, certificates, made):
    days = made.get("days", (-1, 30))
    context = certificates.context(**{**made, "days": days})
    failed(secured(run, context, certificates.pem)[0], "tls", "localhost", "not in date on 20")


def test_https_without_a_ca_is_refused(run, certificates):
    failed(secured(run, certificates.context(), None)[0], "tls", "no CA")


def test_https_with_a_ca_that_cannot_be_read_is_refused(run, certificates, tmp_path):
    failed(secured(run, certificates.context(), tmp_path / "none.pem")[0], "tls")
    bad = tmp_path / "bad.pem"
    bad.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    failed(secured(run, certificates.context(), bad)[0], "tls")


def test_https_to_a_server_that_stalls_in_the_handshake_is_a_link_error(run, certificates):
    with Rogue({}) as server:
        # It waits for a head that TLS never sends.
        url = server.url("/m.json").replace("http:", "https:")
        out = run(url, ca=str(certificates.pem), timeout_ms=500)[0]
    failed(out, "link", "500 ms")


def test_https_to_a_server_without_tls_is_refused(run, certificates):
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def answer():
            peer = sock.accept()[0]
            peer.recv(10)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer.close()

        threading.Thread(target=answer, daemon=True).start()
        out = run(f"https://localhost:{sock.getsockname()[1]}/", ca=str(certificates.pem))[0]
    failed(out, "tls")


def test_http_may_lead_to_https_but_not_back(run, certificates):
    with Rogue({"/m.json": GOOD, "/package": ranged}, certificates.context()) as safe:
        with Rogue({"/m.json": head("302 Go", "Location: " + safe.url("/m.json"), length=0)}) as near:
            near.rules["/package"] = head("302 Go", "Location: " + safe.url("/package"), length=0)
            assert run(near.url("/m.json"), ca=str(certificates.pem)) == [WHOLE]
            near.asked.clear()
            near.rules["/package"] = ranged
            safe.rules["/package"] = head("302 Go", "Location: " + near.url("/package"), length=0)
            failed(run(safe.url("/m.json"), ca=str(certificates.pem))[0], "tls", near.url("/package"))
            safe.rules["/m.json"] = head() + manifest(entry(file=near.url("/package")))
            failed(run(safe.url("/m.json"), ca=str(certificates.pem))[0], "tls", near.url("/package"))
            assert ("/package", 0) not in near.asked


def test_tls_body_that_ends_early_is_short(run, certificates):
    with Rogue({"/m.json": GOOD, "/package": head() + PACKAGE[:7000]}, certificates.context()) as server:
        failed(run(server.url("/m.json"), ca=str(certificates.pem))[0], "short", "7000")


# --- reports and plain static servers -------------------------------------------------------------------------------


def test_report_is_posted(run):
    with Rogue({"/m.json": GOOD, "/package": ranged, "/report": head("204 No Content")}) as server:
        run(server.url("/m.json"), report_url=server.url("/report"))
        assert [json.loads(post) for post in server.posts] == [
            {"product": "lamp", "layout": "esp32", "code": "confirmed", "text": "version 1.2.3 runs"}
        ]


@pytest.mark.parametrize("url", ["http://localhost:1/report", "nonsense", "https://localhost:1/"])
def test_report_that_nobody_takes_is_no_error(run, url):
    with Rogue({"/m.json": GOOD, "/package": ranged}) as server:
        assert run(server.url("/m.json"), report_url=url) == [WHOLE]


def test_python_m_http_server_is_enough(run, tmp_path):
    (tmp_path / "manifest.json").write_bytes(OFFER)
    (tmp_path / "package").write_bytes(PACKAGE)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Nothing on the test's stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/manifest.json"
        assert run(url, (0, 12_345)) == [WHOLE, rest(12_345)]
        server.shutdown()


def test_the_test_certificates_are_good_for_a_browser_too(certificates):
    """Guards the tests above: a good certificate must pass, or refusing the bad ones proves nothing."""
    with Rogue({"/m.json": GOOD}, certificates.context()) as server:
        client = ssl.create_default_context(cafile=certificates.pem)
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            client.wrap_socket(sock, server_hostname="localhost").close()
