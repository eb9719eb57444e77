"""What stands behind a virtual PIC32MZW1: its image store in RAM, for both interpreters.

Shelf has the methods of device/layout/pic32/files.Folder, and nothing of its own that a file system would not have: a
file that is opened for writing is empty at once, and holds what was written when it is closed.
"""

from io import BytesIO


class _File(BytesIO):
    def __init__(self, shelf, name, data, mode):
        super().__init__(data)
        self.shelf = shelf
        self.name = name
        self.mode = mode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.mode != "rb":
            self.shelf.files[self.name] = self.getvalue()


class Shelf:
    """Files by name. `capacity` is the bytes that all of them may have."""

    def __init__(self, capacity=1 << 22):
        self.files = {}
        self.capacity = capacity

    def open(self, name, mode):
        if mode == "wb":
            self.files[name] = b""
        elif name not in self.files:
            raise OSError(2)
        return _File(self, name, self.files[name], mode)

    def remove(self, name):
        self.files.pop(name, None)

    def size(self, name):
        return len(self.files[name]) if name in self.files else None

    def names(self):
        return list(self.files)

    def room(self):
        return self.capacity - sum([len(data) for data in self.files.values()])

    def get(self, name, most):
        return self.files[name][:most] if name in self.files else None

    def put(self, name, data):
        self.files[name] = bytes(data)
