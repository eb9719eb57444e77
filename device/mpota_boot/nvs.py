"""The journal of an ESP32: blobs in a namespace of its NVS, which writes the new value before it drops the old one."""


class NvsJournal:
    """`nvs` is an esp32.NVS, or None for one that does not open: nothing is in it, and nothing is kept."""

    def __init__(self, nvs):
        self.nvs = nvs
        self.fresh = True

    def last(self, tag):
        if not self.nvs:
            return None
        buf = bytearray(128)
        try:
            n = self.nvs.get_blob(tag, buf)
        except OSError:
            return None
        return bytes(buf[:n]) or None

    def put(self, tag, data):
        # An ordinary boot writes nothing.
        from mpota_boot.errors import FlashError

        nvs = self.nvs
        if not nvs:
            raise FlashError("journal", "the NVS does not open, so %s is not kept" % tag)
        data = data[:128]
        try:
            if self.fresh:
                # A cut may have left cells half programmed behind the last entry, where ESP-IDF looks at one word
                # only. A record reaches three entries far: three numbers that nobody misses take those cells.
                for key in "abc":
                    try:
                        n = nvs.get_i32(key)
                    except OSError:
                        n = 0
                    nvs.set_i32(key, n ^ 1)
                self.fresh = False
            if data:
                nvs.set_blob(tag, data)
            elif self.last(tag):
                nvs.erase_key(tag)
            nvs.commit()
            if self.last(tag) != (data or None):
                raise OSError(5)
        except OSError as e:
            raise FlashError("journal", "NVS did not keep %s: %r" % (tag, e))
