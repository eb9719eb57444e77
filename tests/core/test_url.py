"""URLs: the table of RFC 3986, what is quoted, what a request is made of, what is refused."""

from mpota.link import url
from mpota.link.login import unquote
from mpota_boot.errors import LinkError
from tests.expect import raises

BASE = "http://a/b/c/d;p?q"
# RFC 3986, sections 5.4.1 and 5.4.2; "http:g" by the strict rule.
TABLE = """
g:h g:h
g http://a/b/c/g
./g http://a/b/c/g
g/ http://a/b/c/g/
/g http://a/g
//g http://g
?y http://a/b/c/d;p?y
g?y http://a/b/c/g?y
#s http://a/b/c/d;p?q#s
g#s http://a/b/c/g#s
g?y#s http://a/b/c/g?y#s
;x http://a/b/c/;x
g;x http://a/b/c/g;x
g;x?y#s http://a/b/c/g;x?y#s
. http://a/b/c/
./ http://a/b/c/
.. http://a/b/
../ http://a/b/
../g http://a/b/g
../.. http://a/
../../ http://a/
../../g http://a/g
../../../g http://a/g
../../../../g http://a/g
/./g http://a/g
/../g http://a/g
g. http://a/b/c/g.
.g http://a/b/c/.g
g.. http://a/b/c/g..
..g http://a/b/c/..g
./../g http://a/b/g
./g/. http://a/b/c/g/
g/./h http://a/b/c/g/h
g/../h http://a/b/c/h
g;x=1/./y http://a/b/c/g;x=1/y
g;x=1/../y http://a/b/c/y
g?y/./x http://a/b/c/g?y/./x
g?y/../x http://a/b/c/g?y/../x
g#s/./x http://a/b/c/g#s/./x
g#s/../x http://a/b/c/g#s/../x
http:g http:g
"""


def test_names_are_resolved_as_the_table_of_the_rfc_says():
    rows = [line.split() for line in TABLE.strip().split("\n")]
    assert len(rows) == 41
    for ref, wanted in rows:
        assert url.resolve(BASE, ref) == wanted, (ref, url.resolve(BASE, ref))
    assert url.resolve(BASE, "") == BASE


def test_names_are_resolved_from_every_kind_of_page():
    for base, ref, wanted in (
        ("http://a", "g", "http://a/g"),
        ("http://a", "../g", "http://a/g"),
        ("http://a?x=/y/z", "g", "http://a/g"),
        ("http://a?x=1", "?y=2", "http://a?y=2"),
        ("http://a/b/m.json?x=http://c/d/", "g", "http://a/b/g"),
        ("http://u:p@a:8000/b/c", "g", "http://u:p@a:8000/b/g"),
        ("http://[::1]:8000/b/c", "../g", "http://[::1]:8000/g"),
        ("https://a/b", "//c:1/d", "https://c:1/d"),
        ("http://a/b//c", "../g", "http://a/b/g"),
        ("http://a/b", "HTTPS://c/./d", "HTTPS://c/d"),
        ("http://a/b", "x?u=http://c", "http://a/x?u=http://c"),
        ("http://a/b", "./1:2", "http://a/1:2"),
        ("http://a/b", "1:2", "http://a/1:2"),
    ):
        assert url.resolve(base, ref) == wanted, (base, ref, url.resolve(base, ref))


def test_a_url_is_taken_apart():
    for text, wanted in (
        ("http://h", (False, "h", 80, "/", "")),
        ("https://h", (True, "h", 443, "/", "")),
        ("HTTPS://Host.Example/A", (True, "host.example", 443, "/A", "")),
        ("http://h?dev=1", (False, "h", 80, "/?dev=1", "")),
        ("http://h/?", (False, "h", 80, "/?", "")),
        ("http://h:/x", (False, "h", 80, "/x", "")),
        ("http://h:65535/x#part?no", (False, "h", 65535, "/x", "")),
        ("http://[::1]:8000/m.json", (False, "::1", 8000, "/m.json", "")),
        ("https://[fd00::9]", (True, "fd00::9", 443, "/", "")),
        ("http://u:p@h:8000/x", (False, "h", 8000, "/x", "u:p")),
        ("http://u:p%40ss@[::1]/x@y", (False, "::1", 80, "/x@y", "u:p%40ss")),
        ("http://a@b@h/", (False, "h", 80, "/", "a@b")),
        ("http://h/a:b/c?d=//e@f", (False, "h", 80, "/a:b/c?d=//e@f", "")),
    ):
        assert url.parse(text) == wanted, (text, url.parse(text))


WRONG = ["", "h", "/x", "//h/x", "h/m.json", "ftp://h/x", "http:/h/x", "http:h", "http://", "http:///x", "1http://h"]
WRONG += ["http://u:p@/x", "http://:80/", "http://[::1/x", "http://[]/x", "http://[h]/x", "http://[::1]x/", "file:///x"]
WRONG += [
    "http://h:port/",
    "http://h:-1/",
    "http://h:0/",
    "http://h:65536/",
    "http://::1/x",
    "http://h:99999999999999/",
]
WRONG += ["http://[::1]:x/", "mailto:a@b", "u:secret@h/x", "http://l%C3%A4mp/x"]


def test_what_is_no_url_of_a_web_server_is_refused():
    for text in WRONG:
        raises(LinkError, "url", url.parse, text)


def test_a_byte_that_no_url_has_is_refused_and_shown_harmless():
    for c in ("\r", "\n", " ", "\t", "\0", "\x1b", "\x7f", "\u00fc", "\u20ac"):
        for form in ("http://h/a%sb", "http://h%sx/", "http://u%s:p@h/", "http://h/?%s", "%shttp://h/", "http://h/%s"):
            e = raises(LinkError, "url", url.parse, form % c)
            assert "0x%02x at %d" % (c.encode()[0], form.index("%")) in str(e), str(e)
            assert c == " " or c > "\x7f" or c not in str(e), str(e)


def test_a_name_is_quoted_once():
    for text, wanted in (
        ("my lamp.mpota", "my%20lamp.mpota"),
        ("my%20lamp.mpota", "my%20lamp.mpota"),
        ("l\u00e4mp 50%.mpota", "l%C3%A4mp%2050%25.mpota"),
        ("%", "%25"),
        ("%4", "%254"),
        ("%4g%zz%AF", "%254g%25zz%AF"),
        ("\u20ac\U0001f4a1", "%E2%82%AC%F0%9F%92%A1"),
        ('"<>\\^`{|}', "%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("1.0.0+b5~-_!$&'()*,;=:@/?#[]", "1.0.0+b5~-_!$&'()*,;=:@/?#[]"),
        ("a\r\nb\x7f", "a\r\nb\x7f"),
    ):
        assert url.quote(text) == wanted, (text, url.quote(text))
        assert url.quote(url.quote(text)) == url.quote(text), text
    assert url.quote("a?b#c", "?#") == "a%3Fb%23c"


def test_a_file_of_a_manifest_is_a_name_beside_it_or_a_url():
    for name, wanted in (
        ("lamp 50%#1?.mpota", "http://a/b/lamp%2050%25%231%3F.mpota"),
        ("a:b", "http://a/b/a:b"),
        ("./p?x=1 2", "http://a/b/p?x=1%202"),
        ("../p", "http://a/p"),
        ("//c/p", "http://c/p"),
        ("https://c/p q", "https://c/p%20q"),
        ("", "http://a/b/"),
    ):
        assert url.beside("http://a/b/m.json?v=1", name) == wanted, (name, url.beside("http://a/b/m.json?v=1", name))


def test_quoting_can_be_undone():
    for text, wanted in (("u:p", b"u:p"), ("u%3A:%40%c3%BC", b"u::@\xc3\xbc"), ("50%", b"50%"), ("%zz%4", b"%zz%4")):
        assert unquote(text) == wanted, text
    for text in ("l\u00e4mp 50% #1?.mpota", "%\u20ac"):
        assert unquote(url.quote(text, "?#")).decode() == text


def test_messages_show_no_secret():
    for text, wanted in (
        ("http://u:secret@h:1/m.json?token=secret#x", "http://h:1/m.json?..."),
        ("https://h/m.json", "https://h/m.json"),
        ("http://u:secret@h", "http://h"),
        ("nonsense", "nonsense"),
    ):
        assert url.shown(text) == wanted
    for text in ("http://u:secret@h:x/", "u:secret@h/x", "ftp://u:secret@h/", "http://u:secret@h/ ?secret"):
        assert "secret" not in str(raises(LinkError, "url", url.parse, text))
