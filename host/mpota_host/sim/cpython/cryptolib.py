"""MicroPython's `cryptolib.aes` on the cryptography package: ECB (1) and CBC (2), no CTR, as on an ESP32.

Errors carry the real module's words. One object encrypts or decrypts, never both.
"""

from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ECB, CBC = 1, 2


class aes:
    def __init__(self, key: Any, mode: int, iv: Any = None) -> None:
        if mode not in (ECB, CBC):
            raise ValueError("mode")
        if len(key) not in (16, 32):
            raise ValueError("key")
        if mode == CBC and (iv is None or len(iv) != 16):
            raise ValueError("IV")
        kind = modes.CBC(bytes(iv)) if mode == CBC else modes.ECB()
        self._cipher: Cipher[Any] = Cipher(algorithms.AES(bytes(key)), kind)
        self._way = ""
        self._context: Any = None

    def _run(self, way: str, data: Any, out: Any) -> Any:
        if len(data) % 16:
            raise ValueError("blksize % 16")
        if out is not None and len(out) < len(data):
            raise ValueError("output too small")
        if not self._way:
            self._way = way
            self._context = self._cipher.encryptor() if way == "encrypt" else self._cipher.decryptor()
        if self._way != way:
            raise ValueError("can't encrypt & decrypt")
        done: bytes = self._context.update(bytes(data))
        if out is None:
            return done
        memoryview(out)[: len(done)] = done
        return out

    def encrypt(self, data: Any, out: Any = None) -> Any:
        return self._run("encrypt", data, out)

    def decrypt(self, data: Any, out: Any = None) -> Any:
        return self._run("decrypt", data, out)
