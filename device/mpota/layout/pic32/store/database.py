"""The image database ota/image_database.csv, byte for byte as the vendor's parser reads it.

    name,status,version,type,digest        app2.bin,FE,2,0x01,64 hex digits; \\n between rows, none at the end

Status is read as hex, and so is the version, which is written in decimal: the number 10 is the text "10" and reads as
0x10 here, in the control page and in the vendor's code. number() and coded() are the one way between the two.

A change goes into image_database.new first, with its CRC-32 in front, then over the database, then the .new goes:
while a whole .new is there, it is the database.
"""

from binascii import crc32, hexlify, unhexlify

NAME = "image_database.csv"
NEW = "image_database.new"
# The database as it was when its last image was given up: it tells why the factory image runs.
OLD = "image_database.old"
# The service keeps at most five rows, which fit. A larger file was not written by it.
MOST = 2048
_NUMBER, _TEXT = 30, 100  # most characters of a field that the vendor's parser takes


def strtol(text):
    """The number that C's strtol(text, NULL, 16) gives."""
    text = text.strip().lower()
    if text[:2] == "0x":
        text = text[2:]
    value = 0
    for c in text:
        digit = "0123456789abcdef".find(c)
        if digit < 0:
            break
        value = value * 16 + digit
    return value & 0xFFFFFFFF


def number(version):
    """The decimal number whose digits were read as hex: 0x10 is 10."""
    text = "%x" % version
    return int(text) if text.isdigit() else version


def coded(n):
    """The field of number `n`: 10 is 0x10."""
    return int(str(n), 16)


class Row:
    """One image. `whole` is false for a row that lacks a column, has one that is too long, or leaves the store."""

    def __init__(self, fields):
        self.fields = fields
        self.whole = (
            len(fields) >= 5
            and _within(fields[0])
            and max(map(len, fields[:5])) <= _TEXT
            and max(map(len, fields[1:4])) <= _NUMBER
            and _digest(fields[4]) is not None
        )
        if self.whole:
            self.name = fields[0]
            self.status = strtol(fields[1]) & 0xFF
            self.version = strtol(fields[2])
            self.digest = _digest(fields[4])

    def mark(self, status):
        """A new status, as the vendor writes one over another."""
        self.status = status
        self.fields[1] = "%x" % status

    def renumber(self, n):
        """Another number."""
        self.version = coded(n)
        self.fields[2] = str(n)


def row(name, n, digest, status="FE"):
    """A Row of number `n`, as the vendor's application adds one."""
    return Row([name, status, str(n), "0x01", hexlify(digest).decode()])


def _within(name):
    """Does a name stay in the store's folder? FAT takes a backslash for a slash."""
    return "/" not in name and "\\" not in name and name.strip(". ") != ""


def _digest(text):
    try:
        data = unhexlify(text[:64].encode())
    except ValueError:
        return None
    return data if len(data) == 32 else None


def parse(text):
    """The rows of a database's text, also those that are not whole."""
    rows = []
    fields = []
    field = ""
    quoted = False
    i = 0
    while i < len(text):
        c = text[i]
        if c == '"':
            # Twice within quotes it stands for itself.
            if quoted and text[i + 1 : i + 2] == '"':
                field += c
                i += 1
            else:
                quoted = not quoted
        elif not quoted and c in ",\n":
            fields.append(field)
            field = ""
            if c == "\n":
                rows.append(Row(fields))
                fields = []
        else:
            field += c
        i += 1
    if field or fields:
        rows.append(Row(fields + [field]))
    return rows


def encode(rows):
    """The text of whole rows; one that is not would hang the vendor's bootloader, and is left out."""
    return "\n".join([",".join([_quoted(f) for f in r.fields]) for r in rows if r.whole])


def _quoted(field):
    if '"' in field or "," in field or "\n" in field:
        return '"' + field.replace('"', '""') + '"'
    return field


def _text(data):
    # One character for each byte, so bytes outside ASCII are kept.
    return "".join([chr(c) for c in data])


def _bytes(text):
    return bytes([ord(c) for c in text])


def load(files):
    """The rows, None where there is no database; a change that a cut left half made is made first."""
    new = files.get(NEW, MOST)
    if new is not None:
        text = new[9:]
        if new[:9] == _head(text):
            files.put(NAME, text)
        files.remove(NEW)
    data = files.get(NAME, MOST)
    return None if data is None else parse(_text(data))


def save(files, rows):
    """Replace the database: after a cut at any point it is the old one or this."""
    text = _bytes(encode(rows))
    files.put(NEW, _head(text) + text)
    files.put(NAME, text)
    files.remove(NEW)


def _head(text):
    return b"%08x\n" % crc32(text)


def told(files):
    """The whole rows of the database before the factory image took over."""
    return [r for r in parse(_text(files.get(OLD, MOST) or b"")) if r.whole]


def drop(files, rows=()):
    """No database any more: the factory image comes next. `rows` say why."""
    files.remove(OLD)
    if rows:
        files.put(OLD, _bytes(encode(rows)))
    files.remove(NEW)
    files.remove(NAME)
