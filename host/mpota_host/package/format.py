"""The numbers of mpota/pipe/FORMAT.md, for whoever makes packages. Runs on both interpreters.

A board keeps them to itself, where they cost it no flash; a test holds these, its own and the page to each other.
"""

from mpota.pipe.package import STAGES as STAGES

MAGIC = b"MPOT"
FORMAT = 1
# Magic, format, signature (0 none, 1 RSA-3072), bytes of the body, key id.
PREAMBLE = "<4sBBH8s"
# Product, layout, version, chunk size, components, recipients.
BODY = "<32s8s8sIHH"
# The id of a device's key and the content key wrapped for it.
RECIPIENT_SIZE = 48
# Kind, wbits, 0, stages, size, bytes in the package, SHA-256, the first chunk's length and SHA-256, base size and
# SHA-256, name.
COMPONENT = "<BBH4sII32sI32sI32s16s"
COMPONENT_SIZE = 136
# The SHA-256 and the length of the next chunk, in front of a stored chunk.
LINK = "<32sI"
LINK_SIZE = 36
# What a stored chunk may have above the bytes it decodes to.
SLACK = 64
CHUNKS = (4096, 8192, 16384, 32768, 65536)
SIGNATURE = 384
# Kinds of components.
FIRMWARE = 1
FILES = 2
RESOURCE = 3
