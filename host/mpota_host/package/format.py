"""The numbers of mpota/pipe/FORMAT.md, for whoever makes packages. Runs on both interpreters.

A board keeps them to itself, where they cost it no flash; a test holds these, its own and the page to each other.
"""

from mpota.pipe.package import STAGES as STAGES

MAGIC = b"MPOT"
# A keys record, which may stand in front.
RECORD = b"MPOK"
FORMAT = 2
# Magic, format, signature (0 none, 1 RSA-3072), bytes from the body to the last field, key id.
PREAMBLE = "<4sBBH8s"
# Product, layout, version, room in KiB, components, recipients, 0.
BODY = "<32s8s8sBBBB"
# Where the components begin.
RECORDS = 68
# The id of a device's key and the content key wrapped for it.
RECIPIENT_SIZE = 48
# Kind, wbits, 0, stages, size, bytes in the package, SHA-256, the first chunk's SHA-256, length and sectors, base size
# and SHA-256, name.
COMPONENT = "<BBB4sII32s32sHBI32s16s"
COMPONENT_SIZE = 134
# The name and the length of a field.
FIELD = "<4sH"
CHANNEL, RUNS, RUNS_FIRMWARE, RUNS_BOOT = b"Chan", b"From", b"Firm", b"Boot"
# The SHA-256, the length and the sectors of the next chunk, in front of a stored chunk.
LINK = "<32sHB"
LINK_SIZE = 35
# What a stored chunk may have above the room.
SLACK = 96
ROOMS = (4096, 8192, 16384)
# What a chunk decodes to is counted in these, and is at most MOST bytes.
SECTOR = 4096
MOST = 65536
SIGNATURE = 384
# Kinds of components.
FIRMWARE = 1
FILES = 2
RESOURCE = 3
