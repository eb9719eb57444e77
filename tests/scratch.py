"""A folder for one test, on both interpreters, removed when the test is over."""

import os


def _remove(path):
    if os.stat(path)[0] & 0x4000:
        for name in os.listdir(path):
            _remove(path + "/" + name)
        os.rmdir(path)
    else:
        os.remove(path)


class Scratch:
    """`with Scratch() as root:` gives the path of an empty folder."""

    taken = 0

    def __enter__(self):
        while True:
            Scratch.taken += 1
            self.path = "/tmp/mpota-test-%d-%d" % (id(self), Scratch.taken)
            try:
                os.mkdir(self.path)
                return self.path
            except OSError:
                continue

    def __exit__(self, *_):
        _remove(self.path)
