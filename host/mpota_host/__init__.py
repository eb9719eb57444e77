"""The PC's half: command line and harness; on CPython it puts stand-ins for MicroPython's modules on the path."""

import sys

# The only place where mpota's version stands; pyproject.toml reads it here.
__version__ = "0.1.0"

if sys.implementation.name != "micropython":
    import os

    _stand_ins = os.path.join(os.path.dirname(__file__), "sim", "cpython")
    if _stand_ins not in sys.path:
        sys.path.append(_stand_ins)
    if not hasattr(sys, "print_exception"):
        import traceback

        # MicroPython has it in sys.
        vars(sys)["print_exception"] = traceback.print_exception
