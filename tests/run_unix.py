"""Run the shared tests, tests/core and tests/chips/CHIP, on the MicroPython unix port: one interpreter for each file.

    python tests/run_unix.py [FILE[::TEST]...] [-k WORD]

Prints a line for each file, the traceback of each failure, and `N passed, M failed` at the end. The exit status is 1
when a test failed, a file could not be imported, or tests or files are missing of those that `suite/census.py` knows.
Files of tests/host/ are left out, so that pytest and this take the same words.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.suite import census  # noqa: E402

SECONDS = 240  # for one file; a hang is a failure
HEAP = "96M"  # a simulated 4 MiB flash and its copies live in RAM

# Runs on the port: every test function of one module, in source order as far as the port keeps it.
CHILD = """
import sys
name, word, only = {name!r}, {word!r}, {only!r}
module = __import__(name, None, None, ("x",))
for test in sorted(n for n in dir(module) if n.startswith("test_") and word in n and only in ("", n)):
    try:
        getattr(module, test)()
        print("PASSED", test)
    except Exception as e:
        print("FAILED", test)
        sys.print_exception(e, sys.stdout)
print("COMPLETE")
"""


def shared() -> list[Path]:
    """The test files that run on both interpreters: those of the core, and of each chip, without its folder host/."""
    tests = ROOT / "tests"
    return sorted([*tests.glob("core/test_*.py"), *tests.glob("chips/*/test_*.py")])


def module_name(path: Path) -> str:
    return ".".join(path.resolve().relative_to(ROOT).with_suffix("").parts)


@dataclass
class Outcome:
    """What one file did: names of passed and failed tests, everything it printed, and the seconds it took."""

    name: str
    passed: int
    failed: int
    complete: bool
    text: str
    seconds: float


def interpreter() -> str:
    """The unix port that `make` installed or linked."""
    path = ROOT / ".venv" / "bin" / "micropython"
    if not path.exists():
        sys.exit("run_unix: there is no .venv/bin/micropython; `make test` installs it.")
    return str(path)


def run_file(wish: str, word: str) -> Outcome:
    """One interpreter for one file, so that no test sees what another file's imports left behind."""
    file, _, only = wish.partition("::")
    path = Path(file)
    began = time.monotonic()
    env = dict(os.environ, MICROPYPATH=":".join([f"{ROOT}/device", f"{ROOT}/host", str(ROOT), ".frozen"]))
    command = [
        interpreter(),
        "-X",
        f"heapsize={HEAP}",
        "-c",
        CHILD.format(name=module_name(path), word=word, only=only),
    ]
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=SECONDS)
        text = (done.stdout + done.stderr).decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        text = (e.stdout or b"").decode(errors="replace") + f"\nstopped after {SECONDS} s\n"
    lines = text.splitlines()
    passed = sum(line.startswith("PASSED test_") for line in lines)
    failed = sum(line.startswith("FAILED test_") for line in lines)
    return Outcome(path.stem, passed, failed, "COMPLETE" in lines, text, time.monotonic() - began)


def show(out: Outcome, word: str) -> int:
    """Print a file's line and what went wrong in it; return how many failures it counts for."""
    empty = not out.passed and not out.failed and not word
    broken = not out.complete or empty
    mark = "ok" if not out.failed and not broken else "FAILED"
    print(f"  {out.name:28} {out.passed:4} passed {out.failed:3} failed  {out.seconds:6.1f} s  {mark}")
    if out.failed or broken:
        print("\n".join("    " + line for line in out.text.splitlines() if not line.startswith("PASSED ")))
        if empty and out.complete:
            print("    no test_* function in this file")
    return out.failed + broken


def losses(files: list[str], count: int) -> list[str]:
    """What is wrong with the numbers of a run of everything."""
    counts = {"SHARED_TESTS": count, "SHARED_FILES": len(files)}
    return [text for name, n in counts.items() if (text := census.complaint(name, n))]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the shared tests under the MicroPython unix port.")
    parser.add_argument(
        "files",
        nargs="*",
        help="files of tests/core and tests/chips/CHIP, or one test; without: all",
    )
    parser.add_argument("-k", dest="word", default="", help="only tests whose name contains this word")
    args = parser.parse_args()
    files = args.files or [str(path) for path in shared()]
    paths = [Path(name.partition("::")[0]).resolve() for name in files]
    if not all(path.is_file() for path in paths):
        parser.error("no such file: " + ", ".join(str(path) for path in paths if not path.is_file()))
    files = [name for name, path in zip(files, paths, strict=True) if path in shared()]
    if not files:
        print("CPython alone runs " + ", ".join(args.files))
        return 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        outcomes = list(pool.map(lambda file: run_file(file, args.word), files))
    failed = sum([show(out, args.word) for out in outcomes])
    passed = sum(out.passed for out in outcomes)
    for line in losses(files, passed + failed) if not args.files and not args.word else []:
        print(f"LOST TESTS: {line}")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
