"""A version: 8 bytes, four numbers, text; each form gives the others back, and nothing else is one."""

from mpota import version

GOOD = (("0.0.0", [0]), ("1.2.3", [1, 2, 3]), ("1.2.3.4", [1, 2, 3, 4]), ("65535.0.1", [65535, 0, 1]))


def fails(call, given):
    try:
        call(given)
    except ValueError:
        return True
    return False


def test_text_numbers_and_bytes_of_a_version_are_one():
    for words, numbers in GOOD:
        data = version.encode(numbers)
        assert len(data) == 8 and version.parse(words) == data and version.text(data) == words
        assert list(version.numbers(data)) == (numbers + [0, 0, 0])[:4]


def test_bytes_compare_as_versions_do():
    row = [version.parse(words) for words in ("0.9.65535", "0.10.0", "1.0.0", "1.0.0.1", "1.0.1", "255.0.0", "256.0.0")]
    assert row == sorted(row)


def test_what_is_no_version_is_refused():
    for words in ("", "1", "1.2", "1.2.3.4.5", "1.2.x", "1..3", "1.2.65536", "1.2.-1", "1.2.4294967297"):
        assert fails(version.parse, words), words
    for numbers in ([], [1, 2, 3, 4, 5], [-1], [0x10000], [1, 2, 1 << 32]):
        assert fails(version.encode, numbers), numbers
