"""Every import of the tree is one that the table allows; no package is in a cycle; each rule can fail."""

from pathlib import Path

import pytest

from tests.host import import_rules as rules
from tests.host.import_rules import ROOT
from tests.suite import census

BOARD = [*sorted((ROOT / "device").rglob("*.py")), ROOT / "boot.py", ROOT / "main.py"]
HOST = sorted((ROOT / "host" / "mpota_host").rglob("*.py"))
ORACLES = [p for p in HOST if p.name == "oracle.py"]
LOADERS = [p for p in BOARD if "loader" in p.parts]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def scan(rule, paths, least):
    assert len(paths) >= least, f"only {len(paths)} files were scanned, at least {least} exist"
    complaints = [c for path in paths for c in rule(name(path), path.read_text())]
    assert not complaints, "\n" + "\n".join(complaints)


def test_a_board_imports_only_whom_the_table_allows():
    scan(rules.wrong_on_board, BOARD, census.least("DEVICE_SOURCES") + 2)


def test_the_host_imports_nothing_that_stands_right_and_no_chip_by_name():
    scan(rules.wrong_on_host, HOST, census.least("HOST_SOURCES"))


def test_every_room_of_the_host_has_its_place_in_the_order():
    assert {rules.room_of(rules.module_name(name(p))) for p in HOST} - {""} <= set(rules.ROOMS)
    # A chip's folder alone is what a chip adds.
    chips = [p.name for p in (ROOT / "host/mpota_host/chips").iterdir() if (p / "__init__.py").is_file()]
    assert sorted(chips) == sorted(p.parent.name for p in (ROOT / "device/mpota/layout").glob("*/__init__.py"))


def test_bootloaders_decide_by_themselves():
    scan(rules.wrong_in_loader, LOADERS, 9)


def test_oracles_share_no_code_with_what_they_judge():
    scan(rules.wrong_in_oracle, ORACLES, 2)
    for path in ORACLES:
        found = rules.reached(rules.module_name(name(path)))
        assert len(found) >= 5
        shared = sorted(m for m in found if rules.within(m, [one + "." for one in rules.JUDGED]))
        assert not shared, f"{name(path)} loads {', '.join(shared)}"


def test_no_packages_import_each_other():
    edges = rules.graph({name(path): path.read_text() for path in BOARD + HOST})
    assert len(edges) >= 35 and sum(map(len, edges.values())) >= 100
    assert rules.cycles(edges) == []


def on_page() -> list[str]:
    """The rows of the page's table of imports."""
    text = (ROOT / rules.PAGE).read_text().split("## Who may import whom\n", 1)[1].split("\n## ", 1)[0]
    return [line for line in text.splitlines() if line.startswith("|")][2:]


def test_the_table_of_imports_on_the_page_is_the_one_that_is_held():
    assert len(on_page()) >= 20 and on_page() == rules.page()


@pytest.mark.parametrize(
    "name,changed",
    [
        ("BOARD", {**rules.BOARD, "mpota.agent": (*rules.BOARD["mpota.agent"], "mpota.store.")}),
        ("BOARD", {key: may for key, may in rules.BOARD.items() if key != "mpota.pipe.xtensa"}),
        ("LAZY", {**rules.LAZY, "mpota.link.": ("mpota.pipe.",)}),
        ("WING", (*rules.WING, "mpota.agent")),
        ("LINKED", ()),
        ("WIRED", rules.WIRED[1:]),
        ("PROGRAM", rules.PROGRAM[:1]),
        ("DECIDES", rules.DECIDES[:-1]),
        ("ROOMS", rules.ROOMS[::-1]),
    ],
)
def test_a_rule_that_changes_is_missed_on_the_page(monkeypatch, name, changed):
    monkeypatch.setattr(rules, name, changed)
    assert on_page() != rules.page()


def test_the_modules_beside_the_chips_are_the_ones_that_chips_share():
    beside = {path.stem for path in (ROOT / "device/mpota/layout").glob("*.py")} - {"__init__"}
    assert {f"{rules.WINGS}{stem}" for stem in beside} == set(rules.SHARED)


B, H = "device/mpota", "host/mpota_host"
BREACHES = [
    (rules.wrong_on_board, "device/mpota_boot/errors.py", "import mpota.stream"),
    (rules.wrong_on_board, "device/mpota_boot/errors.py", "from mpota_boot import journal"),
    (rules.wrong_on_board, "device/mpota_boot/shim.py", "from mpota.layout.esp32 import port"),
    (rules.wrong_on_board, "device/mpota_boot/shim.py", "def f():\n    import mpota.agent"),
    (rules.wrong_on_board, "device/mpota_boot/shim.py", "__import__(name)"),
    (rules.wrong_on_board, f"{B}/stream.py", "from mpota import version"),
    (rules.wrong_on_board, f"{B}/link/http.py", "from mpota.store import flash"),
    (rules.wrong_on_board, f"{B}/link/http.py", "def f():\n    import mpota.layout.esp32"),
    (rules.wrong_on_board, f"{B}/pipe/inflate.py", "from mpota.pipe.package import Package"),
    (rules.wrong_on_board, f"{B}/pipe/package.py", "from mpota.pipe import lzma"),
    (rules.wrong_on_board, f"{B}/store/writer.py", "__import__('mpota.link.' + name)"),
    (rules.wrong_on_board, f"{B}/store/writer.py", "__import__('mpota.link.%s' % name)"),
    (rules.wrong_on_board, f"{B}/store/tree.py", "from mpota_boot.board import Board"),
    (rules.wrong_on_board, f"{B}/layout/contract.py", "from mpota.layout.esp32 import image"),
    (rules.wrong_on_board, f"{B}/layout/contract.py", "from mpota.pipe import lzma"),
    (rules.wrong_on_board, f"{B}/layout/esp32/__init__.py", "from mpota.pipe.package import Package"),
    (rules.wrong_on_board, f"{B}/layout/esp32/settle.py", "from mpota_boot.board import Board"),
    (rules.wrong_on_board, f"{B}/layout/esp32/loader/__init__.py", "from mpota.layout.sifli.link import session"),
    (rules.wrong_on_board, f"{B}/layout/esp32/wiring.py", "from mpota.agent import Agent"),
    (rules.wrong_on_board, f"{B}/setup.py", "from mpota.agent import Agent"),
    (rules.wrong_on_board, f"{B}/agent.py", "from mpota_boot import shim"),
    (rules.wrong_on_board, f"{B}/runner.py", "from mpota import installer"),
    (rules.wrong_on_board, f"{B}/console.py", "from mpota.store import writer"),
    (rules.wrong_on_board, f"{B}/agent.py", "import mpota"),
    (rules.wrong_on_board, "device/mpota_boot/board.py", "import mpota_host.board.flash"),
    (rules.wrong_on_board, "boot.py", "from mpota.agent import Agent"),
    (rules.wrong_on_board, f"{B}/unheard_of.py", "import mpota_boot.errors"),
    (rules.wrong_in_loader, f"{B}/layout/esp32/loader/__init__.py", "from mpota.layout.esp32 import settle"),
    (rules.wrong_in_loader, f"{B}/layout/bk7238/loader/copier.py", "from mpota.layout.bk7238.layout import Rbl"),
    (rules.wrong_in_loader, f"{B}/layout/esp32/loader/verify.py", "def f():\n    from mpota.layout.esp32 import Esp32"),
    (rules.wrong_on_host, f"{H}/package/pack.py", "from mpota_host.board import flash"),
    (rules.wrong_on_host, f"{H}/sim/board.py", "def f():\n    import mpota_host.demo"),
    (rules.wrong_on_host, f"{H}/cut/drive.py", "from mpota_host.command import show"),
    (rules.wrong_on_host, f"{H}/cut/drive.py", "from mpota_host.chips.esp32.sim import soc"),
    (rules.wrong_on_host, f"{H}/cut/drive.py", "__import__('mpota_host.chips.%s' % name)"),
    (rules.wrong_on_host, f"{H}/chips/sifli/sim/chip.py", "from mpota_host.chips.esp32.sim import soc"),
    (rules.wrong_on_host, f"{H}/chips/sifli/sim/chip.py", "from mpota_host.chips.sifli.cut import life"),
    (rules.wrong_on_host, f"{H}/chips/sifli/packer.py", "from mpota_host.command import show"),
    (rules.wrong_on_host, f"{H}/chips/sifli/commands.py", "from mpota_host.bench import figure"),
    (rules.wrong_on_host, f"{H}/registry.py", "from mpota_host.package import keys"),
    (rules.wrong_on_host, f"{H}/attic/things.py", "import mpota_host.sources"),
    (rules.wrong_on_host, f"{H}/cut/drive.py", "from mpota_host.attic import things"),
    (rules.wrong_on_host, f"{H}/cut/drive.py", "from tests import expect"),
    (rules.wrong_in_oracle, f"{H}/cut/oracle.py", "from mpota.installer import install"),
    (rules.wrong_in_oracle, f"{H}/cut/oracle.py", "from mpota.layout.esp32 import otadata"),
    (rules.wrong_in_oracle, f"{H}/chips/files/cut/oracle.py", "def f():\n    from mpota.store import tree"),
]


@pytest.mark.parametrize("rule,path,text", BREACHES, ids=lambda x: getattr(x, "__name__", None))
def test_each_rule_can_fail(rule, path, text):
    (complaint,) = rule(path, text)
    assert complaint.startswith(f"{path}:")


@pytest.mark.parametrize(
    "rule,path,text",
    [
        (rules.wrong_on_board, "device/mpota_boot/board.py", "def f():\n    from mpota.store import pair"),
        (rules.wrong_on_board, "device/mpota_boot/board.py", "import machine\n__import__(name)"),
        (rules.wrong_on_board, f"{B}/pipe/package.py", "def f(name):\n    __import__('mpota.pipe.' + name)"),
        (rules.wrong_on_board, f"{B}/layout/esp32/__init__.py", "from mpota.layout.esp32 import table"),
        (rules.wrong_on_board, f"{B}/layout/sifli/pipe/signed.py", "from mpota.pipe import trust"),
        (rules.wrong_in_loader, f"{B}/layout/esp32/loader/__init__.py", "from mpota.layout.esp32 import table"),
        (rules.wrong_on_host, f"{H}/chips/sifli/sim/machine.py", "from mpota_host.chips.sifli import packer"),
        (rules.wrong_on_host, f"{H}/cut/drive.py", "from mpota.agent import Agent\nfrom mpota_host.sim import reset"),
        (rules.wrong_in_oracle, f"{H}/cut/oracle.py", "from mpota_boot.errors import Corrupt"),
    ],
)
def test_the_rules_leave_good_imports_alone(rule, path, text):
    assert rule(path, text) == []


def test_packages_that_import_each_other_are_found_however_far_around():
    texts = {
        f"{H}/cut/a.py": "from mpota_host.sim import board",
        f"{H}/sim/b.py": "def f():\n    from mpota_host.package import keys",
        f"{H}/package/c.py": "import mpota_host.cut.medium.cells",
        f"{H}/cut/medium/d.py": "import mpota_host.cut.drive",
        f"{H}/board/e.py": "import mpota_host.package.keys",
        "device/mpota_boot/board.py": "def f():\n    from mpota.store import pair",
        "device/mpota/store/pair.py": "import mpota_boot.errors",
    }
    wanted = [f"mpota_host.{one}" for one in ("cut", "cut.medium", "package", "sim")]
    assert rules.cycles(rules.graph(texts)) == [wanted]
    del texts[f"{H}/cut/medium/d.py"]
    assert rules.cycles(rules.graph(texts)) == []
