"""The house keeps its own rules: who imports whom, the device dialect, sizes, names, and a test for every error code.

Each test counts what it scanned, so that a moved folder cannot make it pass by scanning nothing, and has beside it a
test that hands the same rule a breach and expects a complaint.
"""

from collections import Counter
from pathlib import Path

import pytest

from mpota_boot import errors
from mpota_host.bench.sizes import BOOT_BYTES, CORE_BYTES, SHIM_BYTES, core, mpy, of_port, platforms
from tests import run_unix
from tests.host import rules
from tests.host.import_rules import file_of, reached
from tests.host.rules import ROOT
from tests.suite import census

DEVICE = sorted((ROOT / "device").rglob("*.py"))
HOST = sorted((ROOT / "host").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BOOT = [p for p in (ROOT / "boot.py", ROOT / "main.py") if p.exists()]
# The harness that the unix port runs too.
SHARED_STEMS = ("flash", "fs", "esp_idf", "nvs", "port", "inside", "plain", "reset", "soc")
SHARED = [p for p in HOST if p.parent.name == "sim" and p.stem in SHARED_STEMS]
CLASSES = frozenset(n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.OtaError))
TOP = {
    *("README.md", "LICENSE", "Makefile", "pyproject.toml", "CHANGELOG.md", "boot.py", "main.py"),
    *("device", "host", "tests"),
    *(".ci", ".git", ".github", ".gitignore", "build"),
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# The sources of each folder are counted by themselves, so that none is missed among the others.
COUNTS = {"DEVICE_SOURCES": DEVICE, "HOST_SOURCES": HOST, "TEST_SOURCES": TESTS}
DIALECT = run_unix.shared()


def scan(rule, paths, least=1):
    """Hold every file to a rule; there must be at least `least` of them."""
    assert len(paths) >= least, f"only {len(paths)} files were scanned, at least {least} exist"
    complaints = [c for path in paths for c in rule(name(path), path.read_text())]
    assert not complaints, "\n" + "\n".join(complaints)


def least(*names):
    """The fewest files that these parts of the tree may have; boot.py and main.py are always there."""
    return sum(census.least(one) for one in names) + 2


def test_the_rules_see_the_whole_tree():
    assert len(BOOT) == 2
    for one, paths in COUNTS.items():
        assert census.complaint(one, len(paths)) is None, census.complaint(one, len(paths))


def test_a_fiftieth_of_the_sources_that_is_gone_is_noticed():
    for one in COUNTS:
        known = getattr(census, one)
        assert census.complaint(one, known) is None
        assert "were lost" in census.complaint(one, int(known * 0.98) - (known % 50 == 0))


def test_device_names_only_modules_the_port_has_and_hardware_only_in_board():
    scan(rules.foreign_modules, DEVICE + BOOT, least("DEVICE_SOURCES"))


def test_shared_code_speaks_the_device_dialect():
    assert {p.stem for p in SHARED} == set(SHARED_STEMS)
    scan(rules.dialect, DEVICE + BOOT + SHARED + DIALECT, least("DEVICE_SOURCES", "SHARED_FILES") + len(SHARED_STEMS))


def test_device_neither_prints_nor_swallows():
    scan(rules.device_style, DEVICE, least("DEVICE_SOURCES") - 2)


def test_device_functions_files_and_parameter_lists_stay_short():
    scan(rules.sizes, DEVICE + BOOT, least("DEVICE_SOURCES"))


def test_functions_of_the_host_stay_short():
    scan(rules.lengths, HOST, least("HOST_SOURCES") - 2)


def test_no_folder_has_more_modules_than_one_keeps_in_mind():
    folders = Counter(name(path.parent) for path in DEVICE + HOST if path.name != "__init__.py")
    assert len(folders) >= 40 and sum(folders.values()) >= least("DEVICE_SOURCES", "HOST_SOURCES") * 0.7
    assert not rules.crowded(folders), rules.crowded(folders)


def test_the_host_has_few_rooms():
    rooms = [path.parent.name for path in (ROOT / "host/mpota_host").glob("*/__init__.py")]
    assert len(rooms) >= 6 and not rules.too_many_rooms(rooms), rules.too_many_rooms(rooms)


def test_every_module_opens_with_what_it_is():
    scan(rules.opening, DEVICE + BOOT + HOST, least("DEVICE_SOURCES", "HOST_SOURCES"))


def test_every_wait_of_a_test_has_a_deadline():
    scan(rules.waits, TESTS, census.least("TEST_SOURCES"))


def test_boot_and_main_stay_the_smallest_files():
    for path, most in ((ROOT / "boot.py", 25), (ROOT / "main.py", 40)):
        assert 1 <= len(path.read_text().splitlines()) <= most, f"{name(path)} has more than {most} lines"


def test_the_top_of_the_tree_holds_only_what_the_plan_names():
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()}
    seen = {p.name for p in ROOT.iterdir()} - ignored
    assert len(seen) >= 8
    assert seen <= TOP, f"not in the plan: {sorted(seen - TOP)}"


def test_every_error_code_of_the_device_is_named_in_a_test():
    raised = {code: name(p) for p in DEVICE for code in rules.codes(p.read_text(), CLASSES)}
    assert census.complaint("ERROR_CODES", len(raised)) is None, census.complaint("ERROR_CODES", len(raised))
    known = set().union(*(rules.mentions(p.read_text()) for p in TESTS if p.name.startswith("test_")))
    missing = sorted(f"{code} ({path})" for code, path in raised.items() if code not in known)
    assert not missing, "no test names these error codes: " + ", ".join(missing)


def table(sizes: dict[str, int]) -> str:
    return "\n".join(f"{n:6} {path}" for path, n in sorted(sizes.items(), key=lambda x: -x[1]))


def test_the_core_fits_its_flash_budget():
    sizes = mpy(core())
    assert {"mpota/installer.py", "mpota/pipe/package.py", "mpota/link/http.py"} <= set(sizes)
    assert sum(sizes.values()) <= CORE_BYTES, f"{sum(sizes.values())} bytes, at most {CORE_BYTES}\n{table(sizes)}"


@pytest.mark.parametrize("platform", platforms())
def test_an_ordinary_boot_loads_little(platform):
    boot = set().union(*map(reached, ("mpota_boot.shim", "mpota_boot.board", "mpota_boot.journal")))
    boot = {m for m in boot if not m.startswith("mpota_boot.ports.")}
    boot = boot.union(*map(reached, of_port(platform)))
    sizes = mpy([path for m in boot if (path := file_of(m)).stat().st_size])
    shim, board, journal = (f"mpota_boot/{one}.py" for one in ("shim", "board", "journal"))
    assert {shim, board, journal, f"mpota_boot/ports/{platform}.py"} <= set(sizes)
    assert sizes[shim] <= SHIM_BYTES, f"the shim has {sizes[shim]} bytes"
    assert sum(sizes.values()) <= BOOT_BYTES, f"{sum(sizes.values())} bytes, at most {BOOT_BYTES}\n{table(sizes)}"


LONG = "def f():\n" + "    x = 1\n" * 30
BREACHES = [
    (rules.foreign_modules, "device/mpota/agent.py", "import typing"),
    (rules.foreign_modules, "device/mpota/agent.py", "def f():\n    import machine"),
    (rules.foreign_modules, "device/mpota_boot/board.py", "import machine"),
    (rules.dialect, "device/mpota/agent.py", "match x:\n    case 1: pass"),
    (rules.dialect, "device/mpota/agent.py", "h.hexdigest()"),
    (rules.dialect, "device/mpota/agent.py", "os.path.join('a')"),
    (rules.device_style, "device/mpota/agent.py", "print('x')"),
    (rules.device_style, "device/mpota/agent.py", "try:\n    f()\nexcept:\n    pass"),
    (rules.device_style, "device/mpota/agent.py", "try:\n    import deflate\nexcept ImportError:\n    deflate = None"),
    (rules.sizes, "device/mpota/agent.py", LONG),
    (rules.lengths, "host/mpota_host/demo.py", LONG),
    (rules.lengths, "host/mpota_host/demo.py", "async " + LONG),
    (rules.sizes, "device/mpota/agent.py", "x = 1\n" * 501),
    (rules.sizes, "device/mpota/agent.py", "def f(self, a, b, c, d, e, g): pass"),
    (rules.waits, "tests/host/test_x.py", "subprocess.run(['true'])"),
    (rules.waits, "tests/host/test_x.py", "child.wait()"),
    (rules.waits, "tests/host/test_x.py", "thread.join()"),
    (rules.waits, "tests/host/test_x.py", "child.communicate(input=b'')"),
    (rules.opening, "device/utils.py", '"""Words."""'),
    (rules.opening, "device/mpota/agent.py", "x = 1"),
    (rules.opening, "device/mpota/agent.py", '"""Words."""\n# ' + "TODO: later"),
]


@pytest.mark.parametrize("rule,path,text", BREACHES, ids=lambda x: getattr(x, "__name__", None))
def test_each_rule_can_fail(rule, path, text):
    assert rule(path, text), f"{rule.__name__} did not complain about {text!r} in {path}"


def test_the_rules_leave_good_code_alone():
    good = (
        '"""Words."""\nfrom struct import pack\nfrom mpota_boot.errors import Refused\ndef f(a):\n    return pack(a)\n'
    )
    for rule in {rule for rule, _, _ in BREACHES}:
        assert rule("device/mpota/link/http.py", good) == []
    assert rules.foreign_modules("device/mpota_boot/board.py", "def f():\n    import machine") == []
    waits = "subprocess.run(x, timeout=1)\nchild.wait(1)\n', '.join(x)\nos.wait()\nsubprocess.run(x, **options)\n"
    assert rules.waits("tests/host/test_x.py", waits) == []


def test_a_crowded_folder_and_too_many_rooms_are_noticed():
    assert rules.crowded({"host/mpota_host/cut": 14}) == [] and rules.crowded({"host/mpota_host/cut": 15})
    assert rules.too_many_rooms(["room"] * 10) == [] and rules.too_many_rooms(["room"] * 11)


def test_scanning_nothing_is_a_failure():
    with pytest.raises(AssertionError, match="only 0 files"):
        scan(rules.sizes, [], 1)


def test_error_codes_are_found_where_they_are_raised_and_nowhere_else():
    text = 'raise Refused("odd-one", "text")\nraise ValueError("not a code")\nx = Refused("unraised", "")\n'
    assert rules.codes(text, CLASSES) == {"odd-one"}
    assert {"Refused", "LinkError", "Corrupt", "FlashError", "NotNow", "UpToDate"} <= CLASSES
    assert "odd-one" not in rules.mentions("x = odd_one")
