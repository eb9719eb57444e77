"""The pages are run or checked: the session on a virtual board, every command, option, target, setting and status that
they name, every link, every test that SECURITY.md promises, every package with its reason."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from mpota_host import registry
from mpota_host.bench import sizes
from mpota_host.command import cli
from mpota_host.package import keys
from mpota_host.registry import prepare
from mpota_host.sim import machine
from mpota_host.sim.board import VirtualBoard, create, mpota_files, real_firmware

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted(ROOT.glob("device/mpota/layout/*/README.md"))
FORMATS = sorted(ROOT.glob("device/mpota/**/FORMAT.md"))
GITHUB = sorted((ROOT / ".github").glob("*.md"))
MAIN, HOST, DEVICE = ROOT / "README.md", ROOT / "host/README.md", ROOT / "device/README.md"
PAGES = [MAIN, HOST, DEVICE, *GUIDES, *GITHUB, ROOT / "tests/README.md", ROOT / "CHANGELOG.md"]
# Where commands stand as they are typed today; a changelog names those of the past too.
TYPED = [page for page in PAGES if page.name != "CHANGELOG.md"]
MARK = "<!-- a test runs these -->\n```console\n"
# A screen and a half.
MOST_LINES, WIDEST = 95, 100


def ids(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def joined(text: str) -> list[str]:
    """Lines of a shell, those that end in a backslash with the next one."""
    return text.replace("\\\n", " ").splitlines()


def blocks(text: str) -> list[str]:
    """What stands between fences."""
    return re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.M | re.S)


def inline(text: str) -> list[str]:
    """What stands between backquotes, outside of fences."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ *```\w*\n.*?^ *```", "", text, flags=re.M | re.S))


def commands(text: str) -> list[str]:
    """Every command line that a page shows, without its prompt."""
    lines = [line.strip().removeprefix("$ ") for block in blocks(text) for line in joined(block)]
    return lines + inline(text)


def calls(text: str) -> list[list[str]]:
    """The words behind `mpota` of every call of it, of those that say more than a name."""
    found = [re.match(r"mpota ([a-z].*)", line) for line in commands(text)]
    return [shlex.split(one[1]) for one in found if one]


def of(words: list[str]) -> click.Command | None:
    """The command that would run: one of `mpota` or of a chip's group; None where there is none."""
    found = cli.cli.get_command(click.Context(cli.cli), words[0])
    if isinstance(found, click.Group) and words[1:] and not words[1].startswith("-"):
        return found.commands.get(words[1])
    return found


def options(command: click.Command) -> set[str]:
    names = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return names.union(*map(options, inner)) | {"--help"}


def session() -> list[str]:
    """The commands of the session, without their prompts."""
    block = HOST.read_text().split(MARK, 1)[1].split("```", 1)[0]
    return [line.removeprefix("$ ") for line in joined(block) if line.startswith("$ ")]


def command_in(folder: Path) -> Path:
    """A folder with the command `mpota`, whether or not the project is installed."""
    folder.mkdir()
    file = folder / "mpota"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mpota_host "$@"\n')
    file.chmod(0o755)
    return folder


def test_the_session_runs_as_it_stands(tmp_path):
    old = bytes(prepare("esp32", real_firmware("0608").read_bytes())[0])
    flash = create(
        tmp_path / "board.bin", old, files=mpota_files({"product": "virtual"}), nvs={"wifi": {"ssid": "any"}}
    )
    shown = session()
    assert len(shown) >= 12
    path = f"{command_in(tmp_path / 'bin')}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    with VirtualBoard(flash) as board:
        env = {**os.environ, "PATH": path, "PORT": board.port, "FIRMWARE": str(real_firmware("0831"))}
        said = {}
        for command in shown:
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            words = command.split()
            said[words[1] if words[0] == "mpota" else words[0]] = done.stdout
    assert "armed" in said["push"] and "on trial" in said["status"] and "confirmed" in said["confirm"]
    assert "lib/" in said["mpremote"] and "/lib" in said["ampy"]


@pytest.mark.parametrize("page", TYPED, ids=ids)
def test_every_command_that_a_page_names_has_its_options(page):
    for words in calls(page.read_text()):
        command = of(words)
        assert command, f"{ids(page)}: there is no command `mpota {shlex.join(words[:2])}`"
        known = options(command)
        given = {w.partition("=")[0] for w in words[1:] if re.match(r"--?[a-z]", w)}
        assert given <= known, f"{ids(page)}: `mpota {shlex.join(words)}`: no {sorted(given - known)}"


def test_the_check_of_commands_finds_what_is_wrong():
    text = "```text\n$ mpota pack x \\\n    --nosuch y\n```\n`mpota sifli push build/up --older` and `mpota`"
    found = calls(text)
    assert found == [["pack", "x", "--nosuch", "y"], ["sifli", "push", "build/up", "--older"]]
    assert "--nosuch" not in options(of(found[0])) and "--older" in options(of(found[1]))
    assert "--older" not in options(cli.cli.commands["push"])
    assert of(["sifli", "nosuch"]) is of(["nosuch"]) is None


def test_the_commands_of_all_pages_are_many():
    assert sum(len(calls(page.read_text())) for page in TYPED) >= 60


def sections(text: str) -> dict[str, str]:
    """The parts of the chapter "Commands" by their headings."""
    chapter = text.split("\n## Commands\n", 1)[1].split("\n## ", 1)[0]
    parts = re.split(r"^### (.+)$", chapter, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_reference_has_every_command_and_no_option_that_is_none():
    text = HOST.read_text()
    rows = set(re.findall(r"^\| \[`(\w+)`\]\(#", text, re.M))
    assert rows == set(cli.cli.commands)
    told = {name: part for title, part in sections(text).items() for name in re.split(r", | and ", title)}
    assert set(told) == rows
    for title, part in sections(text).items():
        known = set().union(*(options(cli.cli.commands[name]) for name in re.split(r", | and ", title)))
        given = {word for one in inline(part) for word in re.findall(r"(?<![\w-])--[a-z-]+", one)}
        # Where another command is meant the code says so.
        given -= {w for one in inline(part) if re.match(r"(mpota )?(flash|pack|cut) --", one) for w in one.split()}
        assert given <= known, f"{title}: no {sorted(given - known)}"


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_a_table_of_options_names_those_of_the_vendors_command(page):
    for name, table in re.findall(r"^\| option of `(\w+)` \|.*\n((?:\|.*\n)+)", page.read_text(), re.M):
        theirs = registry.part_of(page.parent.name, "commands").group.commands[name]
        given = set(re.findall(r"^\| `(--\w+)` \|", table, re.M))
        assert given and given <= options(theirs)


def test_every_target_that_a_page_names_is_one_of_the_makefile():
    makefile = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.M))
    said = [line for page in TYPED for line in commands(page.read_text())]
    targets = {w for line in said if line.startswith("make ") for w in shlex.split(line)[1:] if w.isalpha()}
    assert len(makefile) >= 9 and targets == makefile


def settings() -> dict[str, str]:
    """Every setting that a page names, and its default."""
    rows: dict[str, str] = {}
    for page in (HOST, *GUIDES):
        for table in re.findall(r"^\| setting \| default \| is \|\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.M):
            rows.update(re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", table, re.M))
    return rows


def test_every_setting_that_they_name_is_read_and_the_other_way_round():
    files = [*(ROOT / "device").rglob("*.py"), ROOT / "main.py"]
    code = "\n".join(path.read_text() for path in files)
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    constants = {repr(node.value) for node in nodes if isinstance(node, ast.Constant)}
    told = settings()
    read = set(re.findall(r"setting(?:s\.get\(|s\[|\()\"(\w+)\"", code))
    assert len(told) >= 20 and read <= set(told), f"not on a page: {sorted(read - set(told))}"
    unread = sorted(name for name in told if repr(name) not in constants)
    assert not unread, f"nothing reads {unread}"
    for name, default in told.items():
        assert not default.isdigit() or default in constants, f"{name}: no code has {default}"


@pytest.mark.parametrize("cls", cli.EXIT)
def test_every_exit_status_is_in_its_table(cls):
    assert f"\n| {cli.EXIT[cls]} |" in HOST.read_text()


def test_the_keys_it_speaks_of_are_the_keys_there_are(tmp_path):
    key = keys.generate(tmp_path / "release.pem")
    assert key.key_size == 3072 and "RSA-3072" in MAIN.read_text()


def anchors(text: str) -> set[str]:
    """What a heading is called in a link, as GitHub makes it."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, *FORMATS], ids=ids)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{ids(page)}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{ids(page)}: {link}: no such heading"


@pytest.mark.parametrize("page", [*TYPED, *FORMATS], ids=ids)
def test_every_file_that_a_page_names_by_its_path_is_there(page):
    """Below the root, the page's folder or a source root; a file of the chip `toy` below the template of one."""
    named = [
        word for one in inline(page.read_text()) for word in re.findall(r"(?<![\w/.])[\w/]+/\w+\.(?:py|md)\b", one)
    ]
    for name in named:
        own = {"device/mpota/layout/toy": "device", "host/mpota_host/chips/toy": "host", "tests/chips/toy": "tests"}
        for place, folder in own.items():
            name = name.replace(place, f"tests/host/toy/{folder}")
        folders = (".", page.parent, "device", "device/mpota", "tests/host/toy/host")
        assert any((ROOT / folder / name).exists() for folder in folders), f"{ids(page)}: there is no {name}"


def test_every_test_that_a_page_promises_is_there():
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    text = (ROOT / ".github/SECURITY.md").read_text()
    promised = set(re.findall(r"\btest_\w+", text))
    assert len(promised) >= 35 and promised <= there, f"no such test: {sorted(promised - there)}"
    rows = re.findall(r"^\| (\d+) \|", text, re.M)
    shown = re.findall(r"^ ?(\d+)  test_\w+(?:\n    test_\w+)*$", text, re.M)
    assert len(rows) >= 15 and rows == shown == [str(i + 1) for i in range(len(rows))]


def test_every_module_and_file_that_python_is_given_is_there():
    lines = [line for page in TYPED for line in commands(page.read_text())]
    lines = [line.removeprefix(".venv/bin/") for line in lines if re.match(r"(\.venv/bin/)?python ", line)]
    assert len(lines) >= 10
    for line in lines:
        for module in re.findall(r"-m ((?:mpota_host|tests)[\w.]*)", line):
            file = (ROOT if module.startswith("tests") else ROOT / "host") / module.replace(".", "/")
            assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), line
        for name in re.findall(r"\btests/[\w./]+\.\w+", line):
            assert (ROOT / name).exists(), line


def test_every_package_has_its_reason_and_no_other_is_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    lists += project.get("dependency-groups", {}).values()
    names = {re.split(r"[\s<>=!~;\[]", one)[0] for group in lists for one in group if isinstance(one, str)} - {"mpota"}
    tables = re.findall(r"^\| package \| for \|\n\|[-|]+\n((?:\|.*\n)+)", HOST.read_text(), re.M)
    told = {
        name for table in tables for cell in re.findall(r"^\| ([^|]+) \|", table, re.M) for name in cell.split(", ")
    }
    assert len(names) >= 15 and {name for name in told if not name.startswith("extra ")} == names


def test_the_bars_of_the_pages_are_those_of_the_code():
    for page in (HOST, DEVICE):
        for bar in (sizes.CORE_BYTES, sizes.BOOT_BYTES, sizes.SHIM_BYTES):
            assert f"| {bar:,} B |" in page.read_text(), f"{ids(page)} does not name the bar {bar:,} B"
    for bar in filter(None, sizes.STAGES.values()):
        assert f"| {bar:,} B |" in HOST.read_text()


def test_the_contract_on_the_page_is_what_the_core_calls():
    core = [*("installer.py", "needs.py", "agent.py", "runner.py", "console.py"), "../mpota_boot/shim.py"]
    code = "\n".join((ROOT / "device/mpota" / name).read_text() for name in core)
    used = set(re.findall(r"(?<![\w.])(?:board\.|self\.board\.)?layout\.(\w+)", code))
    table = DEVICE.read_text().split("A layout decides", 1)[1].split("\n\n", 2)[1]
    told = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)[(`]", row.split("|")[1])}
    assert len(told) == 22 and used == told


def test_the_steps_to_a_chip_name_what_the_registry_asks_for():
    text = DEVICE.read_text().split("## How to add a chip", 1)[1].split("\n## ", 1)[0]
    asked = re.findall(r"^(\w+)(?:\(| {3})", machine.__doc__ or "", re.M)
    row = next(line for line in text.splitlines() if "`sim/machine.py`" in line and "|" in line)
    assert len(asked) >= 9 and set(re.findall(r"\w+", row.split("|")[2])) >= set(asked)
    parts = set(re.findall(r"^(\w[\w., ]*?) {3,}", registry.__doc__ or "", re.M))
    named = {name for part in parts for name in re.split(r", ", part)}
    assert {"prepare", "inspector", "commands", "demo", "bench", "sim.machine", "cut.life"} <= named
    assert all(f"`{name.replace('.', '/')}.py`" in text for name in named)


def test_every_chip_has_its_guide_and_every_row_of_the_readme_its_chip():
    """A chip may come without a row: it is three folders and nothing else."""
    chips = sorted(path.parent.name for path in ROOT.glob("device/mpota/layout/*/__init__.py"))
    assert chips == [page.parent.name for page in GUIDES] and len(chips) >= 5
    rows = re.findall(r"\[(\w+)\]\(device/mpota/layout/", MAIN.read_text())
    assert 5 <= len(set(rows)) == len(rows) and set(rows) <= set(chips)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_code_fits_a_narrow_window(page):
    wide = [line for block in blocks(page.read_text()) for line in block.splitlines() if len(line) > WIDEST]
    assert not wide, f"{ids(page)}: more than {WIDEST} characters: {wide[0]}"


def test_the_readme_is_a_screen_and_a_half():
    assert 40 < len(MAIN.read_text().splitlines()) <= MOST_LINES


def test_the_ci_runs_what_a_person_runs_and_nothing_else():
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    assert re.findall(r"uses: (\S+?)@", text) == ["actions/checkout", "actions/setup-python"]
    assert re.findall(r"run: (.+)", text) == [".ci/run"] and os.access(ROOT / ".ci/run", os.X_OK)
