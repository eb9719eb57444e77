"""The house keeps its own rules: who imports whom, the device dialect, sizes, names, and a test for every error code.

Each test counts what it scanned, so that a moved folder cannot make it pass by scanning nothing, and has beside it a
test that hands the same rule a breach and expects a complaint.
"""

from pathlib import Path

import pytest

from mpota_boot import errors
from mpota_host.bench.size.sizes import BOOT_BYTES, CORE_BYTES, SHIM_BYTES, core, mpy
from tests.host import rules
from tests.host.rules import ROOT
from tests.suite import census

DEVICE = sorted((ROOT / "device").rglob("*.py"))
HOST = sorted((ROOT / "host").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BOOT = [p for p in (ROOT / "boot.py", ROOT / "main.py") if p.exists()]
# The harness that the unix port runs too.
SHARED = [p for p in HOST if p.parent.name == "sim" and p.stem in ("flash", "esp_idf", "nvs", "port")]
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
DIALECT = [p for p in TESTS if p.parent.name == "tests" and "test_" in p.name]


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


def test_everyone_imports_only_whom_the_table_allows():
    scan(rules.wrong_imports, DEVICE + BOOT + HOST, least("DEVICE_SOURCES", "HOST_SOURCES"))


def test_device_names_only_modules_the_port_has_and_hardware_only_in_board():
    scan(rules.foreign_modules, DEVICE + BOOT, least("DEVICE_SOURCES"))


def test_shared_code_speaks_the_device_dialect():
    assert len(SHARED) == 4
    scan(rules.dialect, DEVICE + BOOT + SHARED + DIALECT, least("DEVICE_SOURCES", "SHARED_FILES") + 4)


def test_device_neither_prints_nor_swallows():
    scan(rules.device_style, DEVICE, least("DEVICE_SOURCES") - 2)


def test_device_functions_files_and_parameter_lists_stay_short():
    scan(rules.sizes, DEVICE + BOOT, least("DEVICE_SOURCES"))


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
    assert {"device/mpota/installer.py", "device/mpota/pipe/package.py", "device/mpota/link/http.py"} <= set(sizes)
    assert sum(sizes.values()) <= CORE_BYTES, f"{sum(sizes.values())} bytes, at most {CORE_BYTES}\n{table(sizes)}"


def test_an_ordinary_boot_loads_little():
    boot = rules.loaded(["mpota_boot.shim", "mpota_boot.board", "mpota_boot.journal"])
    sizes = mpy([rules.file_of(m) for m in boot])
    assert {"device/mpota_boot/shim.py", "device/mpota_boot/board.py", "device/mpota_boot/journal.py"} <= set(sizes)
    assert sizes["device/mpota_boot/shim.py"] <= SHIM_BYTES, f"the shim has {sizes['device/mpota_boot/shim.py']} bytes"
    assert sum(sizes.values()) <= BOOT_BYTES, f"{sum(sizes.values())} bytes, at most {BOOT_BYTES}\n{table(sizes)}"


LONG = "def f():\n" + "    x = 1\n" * 30
BREACHES = [
    (rules.wrong_imports, "device/mpota_boot/errors.py", "import mpota.stream"),
    (rules.wrong_imports, "device/mpota/link/http.py", "from mpota.store import flash"),
    (rules.wrong_imports, "device/mpota/link/http.py", "def f():\n    import mpota.layout.esp32"),
    (rules.wrong_imports, "device/mpota/pipe/inflate.py", "from mpota.pipe.package import Package"),
    (rules.wrong_imports, "device/mpota/store/writer.py", "__import__('mpota.link.' + name)"),
    (rules.wrong_imports, "device/mpota/layout/esp32/__init__.py", "from mpota.pipe.package import Package"),
    (
        rules.wrong_imports,
        "device/mpota/layout/esp32/loader/__init__.py",
        "from mpota.layout.sifli.link import session",
    ),
    (rules.wrong_imports, "device/mpota/agent.py", "from mpota_boot import shim"),
    (rules.wrong_imports, "device/mpota_boot/board.py", "import mpota_host.board.flash"),
    (rules.wrong_imports, "boot.py", "from mpota.agent import Agent"),
    (rules.wrong_imports, "device/unheard_of.py", "import mpota_boot.errors"),
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
    (rules.sizes, "device/mpota/agent.py", "x = 1\n" * 401),
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
    assert rules.wrong_imports("device/mpota/layout/esp32/__init__.py", "from mpota.layout.esp32 import table") == []
    assert rules.wrong_imports("device/mpota/pipe/package.py", "__import__('mpota.pipe.' + name)") == []
    assert rules.foreign_modules("device/mpota_boot/board.py", "def f():\n    import machine") == []
    waits = "subprocess.run(x, timeout=1)\nchild.wait(1)\n', '.join(x)\nos.wait()\nsubprocess.run(x, **options)\n"
    assert rules.waits("tests/host/test_x.py", waits) == []


def test_scanning_nothing_is_a_failure():
    with pytest.raises(AssertionError, match="only 0 files"):
        scan(rules.sizes, [], 1)


def test_error_codes_are_found_where_they_are_raised_and_nowhere_else():
    text = 'raise Refused("odd-one", "text")\nraise ValueError("not a code")\nx = Refused("unraised", "")\n'
    assert rules.codes(text, CLASSES) == {"odd-one"}
    assert {"Refused", "LinkError", "Corrupt", "FlashError", "NotNow", "UpToDate"} <= CLASSES
    assert "odd-one" not in rules.mentions("x = odd_one")
