"""Bytes that were found worth keeping, and a walk from every good input, on both interpreters: no surprise in either.

The corpus is what the fuzzer once found, and what it should never find again; the walk is the same everywhere.
"""

from binascii import unhexlify
from hashlib import sha256
from json import load

from tests.fuzz_targets import TARGETS, attempt, change, seeds

CORPUS = __file__.rsplit("/", 2)[0] + "/vectors/mpota/fuzz.json"
# From each good input so many changed ones.
WALK = 60


def test_the_corpus_is_refused_or_taken_by_name():
    with open(CORPUS) as f:
        cases = load(f)["cases"]
    assert len(cases) >= 40
    for case in cases:
        got = attempt(case["target"], unhexlify(case["data"]))
        assert got == case["gives"], (case, got)


def test_good_inputs_are_taken():
    taken = {
        "header": "header",
        "package": "whole",
        "firmware": "image",
        "partitions": "rows",
        "chunk": "decoded",
        "fields": "header",
        "groups": "decoded",
        "boot_entries": "active",
    }
    for name, word in taken.items():
        assert attempt(name, seeds()[name][0]) == word
    assert [attempt("header", data) for data in seeds()["header"]] == ["header"] * 3
    assert attempt("manifest", seeds()["manifest"][0]) == "offer"
    assert attempt("frames", seeds()["frames"][0]) == "frames 2"


def test_no_change_of_a_good_input_is_a_surprise():
    seen = {}
    for name, inputs in sorted(seeds().items()):
        for k, data in enumerate(inputs):
            for i in range(WALK):
                dice = sha256(b"%s %d %d" % (name.encode(), k, i)).digest()
                edits = [(dice[j] | dice[j + 1] << 8, dice[j + 2]) for j in range(0, 3 * (1 + dice[31] % 5), 3)]
                changed = change(data, edits, dice[30] if dice[29] > 200 else 0, dice[28] & 1)
                seen.setdefault(name, set()).add(attempt(name, changed))
    assert sorted(seen) == sorted(TARGETS)
    # Each target got further than its first check, and was refused in more than one way.
    for name, words in seen.items():
        assert len(words) >= 2, (name, words)
