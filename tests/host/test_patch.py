"""A patch finds its one place by meaning, and says what is wrong where it cannot."""

import ast
import re
import traceback

import pytest

from mpota_host.cut import patch
from mpota_host.cut.patch import NotApplied

SOURCE = """
from os import stat

LIMIT = 3


class Store:
    size = 4

    def put(self, off, buf):
        n = len(buf)
        if off + n > self.size:
            raise ValueError("full", off)
        for i in range(n):
            self.cells[off + i] = buf[i]
        self.note(off)

    def get(self, off):
        return self.cells[off]


class Other:
    def get(self, off):
        return off


def find(rows, wanted, limit=LIMIT):
    found = [row for row in rows if row.name == wanted]
    try:
        first = found[0]
        if first.size and first.whole and limit:
            return first
    except IndexError as e:
        first = e
    else:
        limit = 0
    finally:
        del found
    return None


def outer(key):
    from zlib import crc32

    def within(data):
        return crc32(data, key)

    return within
"""


def changed(function, old, new, source=SOURCE):
    """The lines of the source that a patch takes and those that it puts there instead."""
    before = ast.unparse(ast.parse(source)).splitlines()
    tree = patch.apply(ast.parse(source), function, old, new)
    compile(tree, "source", "exec")
    after = ast.unparse(tree).splitlines()
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return [line.strip() for line in before], [line.strip() for line in after]


def refuses(match, function, old, new="pass"):
    tree = ast.parse(SOURCE)
    with pytest.raises(NotApplied, match=re.escape(match)):
        patch.apply(tree, function, old, new)
    assert ast.dump(tree) == ast.dump(ast.parse(SOURCE))


def test_an_expression_becomes_another():
    assert changed("put", "off + n > self.size", "n > self.size") == (
        ["if off + n > self.size:"],
        ["if n > self.size:"],
    )


def test_statements_become_others_or_go():
    assert changed("put", "self.note(off)", "") == (["self.note(off)"], [])
    assert changed("Store.get", "return self.cells[off]", "") == (["return self.cells[off]"], ["pass"])
    two = "n = len(buf)\nif off + n > self.size: raise ValueError('full', off)"
    assert changed("put", two, "n = 0")[1] == ["n = 0"]
    assert changed("put", "self.note(off)", "if off: self.note(off)\nself.size = 0")[1] == [
        "if off:",
        "self.note(off)",
        "self.size = 0",
    ]


def test_locals_may_have_any_name_and_the_new_fragment_gets_theirs():
    assert changed("put", "here + count > me.size", "here > me.size")[1] == ["if off > self.size:"]
    assert changed("find", "x.name == y", "y is x")[1] == ["found = [row for row in rows if wanted is row]"]
    assert changed("find", "[r for r in all if r.name == w]", "[r.name for r in all if w]")[1] == [
        "found = [row.name for row in rows if wanted]"
    ]
    assert changed("within", "crc32(piece, secret)", "crc32(secret, piece)")[1] == ["return crc32(key, data)"]
    assert changed("find", "except IndexError as why: gone = why", "except KeyError as why: gone = None")[1] == [
        "except KeyError as e:",
        "first = None",
    ]


def test_one_name_is_one_variable_and_two_names_are_two():
    refuses("0 times", "put", "off + off > self.size")
    refuses("0 times", "find", "row.name == row", "row")
    refuses("0 times", "put", "a[b + c] = d[b]")
    assert changed("put", "a.cells[b + c] = d[c]", "pass")[1] == ["pass"]


def test_all_but_locals_has_to_be_equal():
    refuses("0 times", "put", "off + n > self.length", "0")
    refuses("0 times", "put", "size(buf)", "0")
    refuses("0 times", "put", "off + n >= self.size", "0")
    refuses("0 times", "put", "raise ValueError('empty', off)")
    refuses("0 times", "within", "adler32(data, key)", "0")
    refuses("0 times", "", "LIMITS = 3")
    refuses("0 times", "", "LIMIT = 3.0")
    refuses("0 times", "", "LIMIT = True")


def test_dots_stand_for_whatever_is_there_and_are_taken_over():
    assert changed("put", "for i in range(n): ...", "for i in range(0): ...") == (
        ["for i in range(n):"],
        ["for i in range(0):"],
    )
    assert changed("put", "raise ValueError(...)", "raise OSError(...)")[1] == ["raise OSError('full', off)"]
    assert changed("put", "if ... > self.size: ...", "if not ...: ...")[1] == ["if not off + n:"]
    assert changed("put", "n = ...\nif ... > self.size: ...", "n = ...\nif ... < n: ...")[1] == ["if off + n < n:"]
    assert changed("put", "n = ...\n...\nself.note(off)", "n = ...\n...")[0] == ["self.note(off)"]
    assert changed("find", "try: ...\nexcept ... as e: ...\nelse: ...\nfinally: ...", "pass")[1] == ["pass"]


def test_dots_among_operands_stand_for_the_others():
    assert changed("find", "first.size and ...", "...")[1] == ["if first.whole and limit:"]
    assert changed("find", "... and first.whole and ...", "... and ...")[1] == ["if first.size and limit:"]
    assert changed("find", "... and limit", "not limit and ...")[1] == ["if not limit and first.size and first.whole:"]
    assert changed("find", "... and limit", "limit or ...")[1] == ["if limit or (first.size and first.whole):"]
    assert changed("find", "first.size and first.whole and ...", "...")[1] == ["if limit:"]
    assert changed("find", "... and first.size and first.whole and ...", "... and ...")[1] == ["if limit:"]
    refuses("where 0 things stand", "find", "... and first.size and first.whole and limit and ...", "... and ...")


def test_dots_are_told_apart_by_their_order_in_the_text():
    source = "def f(a, b):\n    return a.x if b.y else a.z\n"
    assert changed("f", "... if ... else ...", "(..., ..., ...)", source)[1] == ["return (a.x, b.y, a.z)"]
    source = "def f(a):\n    return {a: 1, 2: 3, 'k': ''}\n"
    assert changed("f", "{...: ..., 'k': ''}", "{...: ..., 'k': 'v'}", source)[1] == ["return {a: 1, 2: 3, 'k': 'v'}"]


def test_what_no_function_does_is_patched_by_its_class_or_by_nothing():
    assert changed("", "LIMIT = 3", "LIMIT = 1") == (["LIMIT = 3"], ["LIMIT = 1"])
    assert changed("Store", "size = 4", "size = LIMIT")[1] == ["size = LIMIT"]
    refuses("0 times in the module itself", "", "size = 4")
    refuses("0 times in Store", "Store", "self.note(off)")


def test_a_fragment_is_there_once_and_in_this_function():
    refuses("0 times in put, wanted once: write it as the code is now", "put", "self.erase()")
    refuses("2 times (lines 12, 15) in put, wanted once: add what stands beside it", "put", "off + n", "0")
    refuses("0 times in find", "find", "self.note(off)")


def test_a_function_has_its_class_where_the_module_has_two_of_its_name():
    refuses("get is there 2 times (Store.get, Other.get): name its class too", "get", "off")
    refuses("no function or class gets", "gets", "off")
    refuses("no function or class Store.find", "Store.find", "rows")
    assert changed("Other.get", "off", "0")[1] == ["return 0"]


def test_names_that_come_with_the_function_are_its_parameters():
    refuses("2 times", "put(self, off, buf)", "off + n", "0")
    refuses("0 times", "put(self, off, buf)", "off + buf", "0")
    assert changed("put(me, at, data)", "at + b > me.size", "len(data) > at")[1] == ["if len(buf) > off:"]
    refuses("0 times", "put(self, n, off)", "off + n > self.size", "0")
    refuses("names 4 parameters, the function has 3", "put(a, b, c, d)", "self.note(off)")
    refuses("names 1 parameters, the function has 0", "Store(self)", "size = 4")
    refuses("names a parameter twice", "put(a, a)", "self.note(off)")


def test_the_new_fragment_uses_no_name_that_it_was_not_given():
    refuses("uses the local buf, so the old fragment has to as well", "put", "off + n > self.size", "buf")
    refuses("uses the local buf, so the old fragment has to as well", "put", "self.note(off)", "buf = 1")
    refuses("uses crc, which nothing in the module names", "put", "self.note(off)", "crc(off)")
    assert changed("put", "self.note(off)", "with stat(off) as f: f.see(LIMIT, print)")[1][1] == "f.see(LIMIT, print)"
    assert changed("within", "crc32(a, b)", "[crc32(a, b)]")[1] == ["return [crc32(data, key)]"]


def test_what_a_new_comprehension_binds_hides_nothing():
    source = re.sub(r"\bn\b", "cell", SOURCE)
    was = "off + count > self.size"
    assert changed("put", was, "[cell for cell in self.cells if count]", source)[1] == [
        "if [cell_ for cell_ in self.cells if cell]:"
    ]
    assert changed("put", "... > self.size", "[cell for cell in self.cells if ...]", source)[1] == [
        "if [cell_ for cell_ in self.cells if off + cell]:"
    ]


def test_a_fragment_that_makes_no_sense_says_so():
    refuses("'if x' is no Python", "put", "if x")
    refuses("'1 +' is no Python", "put", "self.note(off)", "1 +")
    refuses("look for is empty", "put", "", "off")
    refuses("has 2 `...`, the old fragment has 1", "put", "self.note(...)", "self.note(..., ...)")
    refuses("mixes statements and expressions", "put", "for i in range(n): ...", "n = ...")
    refuses("mixes statements and expressions", "put", "if ... > self.size: raise ValueError('full', off)", "...")
    refuses("has one `...` where 2 things stand, wanted one", "put", "raise ValueError(...)", "raise ...")


def test_layout_comments_and_parentheses_of_the_source_mean_nothing():
    source = SOURCE.replace(
        "off + n > self.size:", "(  # why\n            (off + n)\n            > self.size\n        ):"
    )
    assert changed("put", "off + n > self.size", "n", source)[1] == ["if n:"]
    assert changed("put", "\n        (off +\n n) > self . size  # so\n", "n")[1] == ["if n:"]


def test_lines_of_a_traceback_are_those_of_the_source():
    tree = patch.apply(ast.parse(SOURCE), "put", "n = len(buf)", "if buf: pass\nif buf: pass\nn = len(buf)")
    names = {}
    exec(compile(tree, "source", "exec"), names)
    with pytest.raises(ValueError) as caught:
        names["Store"]().put(4, b"x")
    wanted = 1 + SOURCE[: SOURCE.index("raise ValueError")].count("\n")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].lineno == wanted
