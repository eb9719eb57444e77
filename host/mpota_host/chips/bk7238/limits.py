"""What no package may be, whoever packs it. Runs on both interpreters."""

from mpota.layout.bk7238 import rbl

# Below these the vendor's packer gives up: its output buffer is too small for what does not compress.
LEAST = {"gzip": 32, "lzma": 2}


def refuses(size: int, compression: str) -> str:
    """Why an image of `size` bytes is not packed, "" when it is: the loader reads 128 bytes of it at the least."""
    least = max(rbl.LEAST_RAW, LEAST.get(compression, 0))
    return "" if size >= least else f"an image of {size} bytes, the loader takes {least} or more"
