"""Fields of the settings that are added to requests, and what a server says about when to come back."""

from mpota.link.later import wait_ms
from mpota.link.login import fields
from mpota_boot.errors import LinkError
from tests.expect import raises

NOW = b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_fields_are_lines_of_the_request():
    assert fields({"Authorization": "Bearer a b"}) == ["Authorization: Bearer a b"]
    assert sorted(fields({"A": "1", "B-c": ""})) == ["A: 1", "B-c: "]
    assert fields({}) == []


def test_a_field_that_is_no_line_is_refused_without_its_value():
    for headers in (
        {"A": "secret\r\nB: 2"},
        {"A": "secret\n"},
        {"A": "s\u00fccret"},
        {"A\r\nB": "secret"},
        {"A:": "secret"},
        {"A b": "secret"},
        {"": "secret"},
        {"A": None},
        {"A": 5},
        {"A": ["secret"]},
        ["secret"],
        "Authorization: secret",
        7,
    ):
        e = raises(LinkError, "headers", fields, headers)
        assert "secret" not in str(e) and "\n" not in str(e), str(e)


def test_seconds_are_obeyed_up_to_a_day():
    for text, wanted in ((b"0", 0), (b"1", 1000), (b"600", 600000), (b"86400", 86400000), (b"9" * 40, 86400000)):
        assert wait_ms(text, None) == wanted


def test_a_date_is_held_against_that_of_the_server():
    for text, wanted in (
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 0),
        (b"Sun, 06 Nov 1994 08:59:37 GMT", 600),
        (b"Sun, 06 Nov 1994 08:49:36 GMT", 0),
        (b"Mon, 07 Nov 1994 00:00:00 GMT", 54623),
        (b"Mon, 07 Nov 1994 08:49:37 GMT", 86400),
        (b"Fri, 31 Dec 2999 23:59:59 GMT", 86400),
    ):
        assert wait_ms(text, NOW) == wanted * 1000, text


def test_dates_are_counted_over_the_ends_of_months_and_years():
    for before, after, seconds in (
        (b"Wed, 28 Feb 2024 23:59:00 GMT", b"Thu, 29 Feb 2024 00:00:00 GMT", 60),
        (b"Thu, 29 Feb 2024 23:59:00 GMT", b"Fri, 01 Mar 2024 00:00:00 GMT", 60),
        (b"Tue, 28 Feb 2023 23:59:00 GMT", b"Wed, 01 Mar 2023 00:00:00 GMT", 60),
        (b"Sun, 31 Dec 2023 23:59:00 GMT", b"Mon, 01 Jan 2024 00:00:00 GMT", 60),
        (b"Mon, 31 Jul 2023 23:59:00 GMT", b"Tue, 01 Aug 2023 00:01:00 GMT", 120),
        (b"Sun, 28 Feb 2100 23:59:00 GMT", b"Mon, 01 Mar 2100 00:00:00 GMT", 60),
    ):
        assert wait_ms(after, before) == seconds * 1000, after


def test_a_date_without_the_servers_own_goes_by_a_clock_that_is_set():
    after = b"Fri, 06 Nov 2026 08:50:37 GMT"
    assert wait_ms(after, None, (2026, 11, 6, 8, 49, 37, 4, 310)) == 60000
    assert wait_ms(after, None, (2000, 1, 1, 0, 0, 0, 5, 1)) == 0


def test_what_is_neither_is_no_time():
    for text in (
        b"",
        b"soon",
        b"-5",
        b"1.5",
        b"Sun, 06 Xyz 1994 08:49:37 GMT",
        b"a b c d e f",
        b"Sun, 6 Nov 1994 8 GMT",
    ):
        assert wait_ms(text, NOW) == 0, text
    assert wait_ms(b"Sun, 06 Nov 1994 08:59:37 GMT", b"today") == 0
