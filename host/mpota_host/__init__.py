"""The PC's half: command line and harness; on CPython it puts stand-ins for MicroPython's modules on the path."""

import sys

if sys.implementation.name != "micropython":
    _stand_ins = __file__.rpartition("/")[0] + "/sim/cpython"
    if _stand_ins not in sys.path:
        sys.path.append(_stand_ins)
    if not hasattr(sys, "print_exception"):
        import traceback

        # MicroPython has it in sys.
        vars(sys)["print_exception"] = traceback.print_exception
