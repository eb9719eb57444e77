"""A model of MicroPython's import over files: which module comes from where, in one run of an interpreter.

It stands in for `sys` and `__import__` of the boot code, so that a copy of mpota can be chosen, dropped and imported in
one process. A package keeps the folder in which it was found, and its modules come from there alone; a folder is a
package; a module that fails is forgotten (py/builtinimport.c: process_import_at_level, stat_module). Of a module's text
a line `import NAME` imports, `raise WORDS` fails, and `hang` never returns. Runs on both interpreters.
"""


class Hang(BaseException):
    """The import does not return: only a watchdog ends this run."""


class Module:
    """`file` is "" for a package; `folder` "" for a module. `took`: the files of what its own imports gave it."""

    def __init__(self, file: str, folder: str, text: str, make=None) -> None:
        self.Board = make
        self.file = file
        self.folder = folder
        self.text = text
        self.took: list[str] = []

    @property
    def place(self) -> str:
        return self.file or self.folder


class Imports:
    """`path` and `modules` are those of `sys`. `read(file)` gives a text, None where there is none; `is_folder(path)`.

    `make` is what each module has as its Board.
    """

    def __init__(self, read, is_folder, make=None, home: str = "") -> None:
        self.read = read
        self.is_folder = is_folder
        self.make = make
        # boot.py puts the folder that it lies in first.
        self.path = [home + "/", "", ".frozen", home + "/lib"]
        self.modules: dict[str, Module] = {}

    def import_(self, name: str, *_: object) -> Module:
        """As `__import__(name)`: the module of the first part; ImportError where one of them is missing or fails."""
        parts = name.split(".")
        for i in range(len(parts)):
            self._load(".".join(parts[: i + 1]))
        return self.modules[parts[0]]

    def _load(self, name: str) -> None:
        if name in self.modules:
            return
        above, _, last = name.rpartition(".")
        for folder in [self.modules[above].folder] if above else self.path:
            found = self._look(folder.rstrip("/") + "/" + last) if folder != ".frozen" else None
            if found:
                self.modules[name] = found
                try:
                    self._run(found)
                except Exception:
                    del self.modules[name]
                    raise
                return
        raise ImportError("no module named " + repr(name))

    def _look(self, path: str):
        if self.is_folder(path):
            return Module("", path, self.read(path + "/__init__.py") or "", self.make)
        text = self.read(path + ".py")
        return None if text is None else Module(path + ".py", "", text, self.make)

    def _run(self, module: Module) -> None:
        for line in module.text.split("\n"):
            word, _, rest = line.partition(" ")
            if word == "import":
                self.import_(rest)
                module.took.append(self.modules[rest].place)
            elif word == "raise":
                raise ImportError(rest)
            elif word == "hang":
                raise Hang

    def stand(self, shim, updater) -> None:
        """From now on the boot code imports here."""
        shim.sys = updater.sys = self
        updater.__import__ = self.import_


def leave(shim, updater, own) -> None:
    """The boot code imports for real again: `own` is the real `sys`."""
    shim.sys = updater.sys = own
    if hasattr(updater, "__import__"):
        del updater.__import__
