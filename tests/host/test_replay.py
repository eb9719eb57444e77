"""The replay of recorded cases: it agrees on all, notices a difference, and computes nothing of the format itself."""

import ast
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpota.layout.esp32 import image, otadata, table
from mpota.layout.esp32.loader import verify
from tests import replay

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "tests" / "vectors" / "esp32_otadata.json.gz"
TRANSLATORS = sorted((ROOT / "tests").rglob("replay.py"))
# Words and operators of crc, sequence and state arithmetic; `%` on anything but a text counts as one.
FORBIDDEN_NAMES = ("crc", "crc32", "seal", "seq", "state", "next_seq", "slot", "valid", "dead", "choose")
FORBIDDEN_MODULES = ("binascii", "struct", "zlib", "hashlib", "ctypes")
FORBIDDEN_OPS = (ast.BitXor, ast.BitAnd, ast.BitOr, ast.LShift, ast.RShift, ast.Mod, ast.Invert)
# The one exception: a slot's number is in the low four bits of its subtype.
ALLOWED = ("row.subtype & 15",)


def arithmetic(text: str) -> list[str]:
    """What in a translator's source computes on records."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            found += [n for n in names if n.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_NAMES:
            # `idf.state(row)` asks the code under test; an attribute that is not called is a field of a record.
            found.append(ast.unparse(node))
        elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.UnaryOp)) and isinstance(node.op, FORBIDDEN_OPS):
            text_format = isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant)
            if not (text_format and isinstance(node.left.value, str)) and ast.unparse(node) not in ALLOWED:
                found.append(ast.unparse(node))
    return [f for f in found if f != "idf.state"]


def test_a_translator_holds_no_crc_sequence_or_state_arithmetic() -> None:
    esp32 = [path for path in TRANSLATORS if path.parent.name in ("tests", "esp32")]
    assert len(esp32) == 2
    for path in esp32:
        assert arithmetic(path.read_text()) == [], path.name


@pytest.mark.parametrize(
    "text",
    [
        "from binascii import crc32",
        "import struct",
        "entry.state = 4",
        "slot = (a - 1) % n",
        "x = a ^ b",
        "x = e.seq",
        "otadata.seal(1)",
        "otadata.next_seq(1, 2, 3)",
        "x <<= 3",
    ],
)
def test_the_scan_notices_arithmetic(text: str) -> None:
    assert arithmetic(text)


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(args, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def first_cases(most: int) -> list[dict]:
    with gzip.open(FILE) as file:
        return json.load(file)["cases"][:most]


def test_the_whole_file_agrees_on_both_interpreters_packed_or_not(tmp_path: Path) -> None:
    """Each interpreter plays the whole in one form, and a part in the other, which only the reading knows."""
    plain, part = tmp_path / "cases.json", json.dumps({"meta": {}, "cases": first_cases(40)}).encode()
    plain.write_bytes(gzip.decompress(FILE.read_bytes()))
    few, packed = tmp_path / "few.json", tmp_path / "few.json.gz"
    few.write_bytes(part)
    packed.write_bytes(gzip.compress(part))
    port = str(ROOT / ".venv" / "bin" / "micropython")
    whole = [(sys.executable, FILE, 4700), (port, plain, 4700)]
    for interpreter, path, n in [*whole, (sys.executable, few, 40), (port, packed, 40)]:
        done = run(interpreter, "tests/replay.py", "esp32", str(path))
        assert (done.returncode, done.stdout) == (0, f"agree {n} differ 0\n"), done.stdout + done.stderr


def test_a_changed_expectation_is_a_difference_and_the_status_says_so(tmp_path: Path) -> None:
    cases = first_cases(40)
    for case in cases:
        case.get("expect", case)["after"] = ["00" * 32, "11" * 32]
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"meta": {}, "cases": cases}))
    done = run(sys.executable, "tests/replay.py", "esp32", str(path))
    last = done.stdout.splitlines()[-1]
    agree, differ = map(int, re.findall(r"\d+", last))
    assert done.returncode == 1 and differ >= 30 and agree + differ == 40, done.stdout
    assert len(done.stdout.splitlines()) == replay.SHOWN + 1 and "wanted" in done.stdout


@pytest.mark.parametrize("field", ["boot", "active", "selected_index", "tried", "trace", "after"])
def test_each_field_of_a_boot_is_compared(field: str) -> None:
    module = replay.vendor("esp32")
    case = next(c for c in first_cases(200) if c["op"] == "boot")
    assert module.replay(case) is None
    case["expect"][field] = "something else"
    assert field in module.replay(case)


def test_each_field_of_each_op_that_is_answered_is_compared() -> None:
    module = replay.vendor("esp32")
    wanted = {
        "set_boot": {"ret", "active", "trace", "after", "next_boot", "rebooted"},
        "mark_invalid": {"ret", "rebooted", "trace", "after"},
        "begin": {"ret", "trace", "after"},
        "query": {"boot_partition", "next_update", "last_invalid", "rollback_possible", "state_err", "state"},
        "boot_antirollback": {"efuse_after", "boot"},
        "powercut": {"boot", "after", "active"},
    }
    first: dict[str, dict] = {}
    for case in first_cases(5000):
        first.setdefault(case["op"], case)
    for op, fields in wanted.items():
        for field in fields:
            case = json.loads(json.dumps(first[op]))
            case["expect"][field] = "something else"
            assert field in (module.replay(case) or ""), (op, field)
    case = json.loads(json.dumps(first["scenario"]))
    case["steps"][-1]["after"] = []
    assert "step %d" % (len(case["steps"]) - 1) in module.replay(case)


def test_an_empty_file_and_a_wrong_call_are_failures(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    path.write_text('{"cases": []}')
    assert run(sys.executable, "tests/replay.py", "esp32", str(path)).returncode == 1
    assert run(sys.executable, "tests/replay.py", "esp32").returncode == 2


def test_cases_are_cut_out_whatever_stands_around_them(tmp_path: Path) -> None:
    wanted = [{"op": "a", "x": {"y": [1, {"z": "}{]["}]}}, {"op": "b"}]
    path = tmp_path / "cases.json"
    for whole in (wanted, {"meta": {"n": [{"no": 1}], "cases": [{"no": 2}]}, "cases": wanted, "then": [{"no": 3}]}):
        for indent in (None, 1):
            path.write_text(json.dumps(whole, indent=indent))
            assert list(replay.cases(str(path))) == wanted
    path.write_text('[{"op": "a\\"b"}]')
    with pytest.raises(ValueError, match="escape"):
        list(replay.cases(str(path)))


def test_the_constants_of_the_format_page_are_those_of_the_code() -> None:
    text = (ROOT / "device" / "mpota" / "layout" / "esp32" / "FORMAT.md").read_text()
    modules = {"table": table, "otadata": otadata, "image": image, "verify": verify}
    found = re.findall(r"`(\w+)\.(\w+)(?:\((\d+)\))? = (\w+)`", text)
    assert len(found) >= 25
    for module, name, argument, value in found:
        real = getattr(modules[module], name)
        assert (real(int(argument)) if argument else real) == int(value, 0), f"{module}.{name}"
