"""Web servers for the HTTP link's tests: plain sockets that misbehave to order, and TLS with certificates made here.

Each path of `Rogue` is one misbehaviour; it writes raw bytes, since no proper server library can be made to lie.
"""

import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PACKAGE = bytes(i * 7 + (i >> 8) & 0xFF for i in range(20_000))
SIZE = len(PACKAGE)


def entry(version="1.2.0", file="package", product="lamp", layout="esp32", size=SIZE):
    return {"product": product, "layout": layout, "version": version, "file": file, "size": size, "id": "00" * 8}


def manifest(*entries):
    return json.dumps({"mpota": 1, "packages": list(entries)}).encode()


def head(status="200 OK", *fields, length=None):
    lines = ["HTTP/1.1 " + status, *fields]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def ranged(at):
    return head("206 Partial Content", f"Content-Range: bytes {at}-{SIZE - 1}/{SIZE}", length=SIZE - at) + PACKAGE[at:]


def chunked(data, step, extension=b""):
    parts = [data[i : i + step] for i in range(0, len(data), step)]
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts)
    return head("200 OK", "Transfer-Encoding: chunked") + body + b"0\r\n\r\n"


class Rogue:
    """A server on its own port. `rules` maps a path to bytes, a list of bytes and pauses, or a call of the offset."""

    def __init__(self, rules, tls=None):
        self.rules = rules
        self.tls = tls
        self.asked = []
        self.heads = []  # the fields of each request
        self.posts = []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def url(self, path, host="localhost"):
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{path}"

    def _accept(self):
        while True:
            try:
                peer = self.sock.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            peer.settimeout(10)
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
            self._answer(peer)
        except OSError:
            # The client went away or did not trust the certificate; that is what it is tested for.
            pass
        finally:
            peer.close()

    def _answer(self, peer):
        text = b""
        while b"\r\n\r\n" not in text:
            data = peer.recv(4096)
            if not data:
                return
            text += data
        top, _, body = text.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        path = lines[0].split()[1]
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        at = int(fields.get("range", "bytes=0-").split("=")[1].rstrip("-"))
        self.asked.append((path, at))
        self.heads.append(fields)
        while len(body) < int(fields.get("content-length", 0)):
            body += peer.recv(4096)
        if body:
            self.posts.append(body)
        rule = self.rules.get(path, head("404 Not Found", "Content-Type: text/html", length=3) + b"no\n")
        rule = rule(at) if callable(rule) else rule
        for part in rule if isinstance(rule, list) else [rule]:
            if isinstance(part, bytes):
                peer.sendall(part)
            else:
                time.sleep(part)


class NameServer:
    """A name server over UDP that knows one address; each second question is lost."""

    def __init__(self, ip="127.0.0.1"):
        self.ip = ip
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = list(self.sock.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(512)
            except OSError:
                return
            self.asked.append(data[12:-4])
            if len(self.asked) % 2:
                found = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(self.ip)
                self.sock.sendto(data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:] + found, peer)


class TimeServer:
    """A time server over UDP (RFC 4330) that says the computer's time, or nothing."""

    def __init__(self, says=True):
        self.says = says
        self.asked = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.name = "127.0.0.1:%d" % self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(512)
            except OSError:
                return
            self.asked += 1
            if self.says:
                now = int(time.time()) + 2208988800 & 0xFFFFFFFF
                answer = b"\x24\x02" + bytes(22) + data[40:48] + bytes(8) + now.to_bytes(4, "big") + bytes(4)
                self.sock.sendto(answer, peer)


class Certificates:
    """A CA and what it signs, as files in a folder."""

    def __init__(self, folder, name="test CA"):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = self._sign(self.name, self.key.public_key(), self.name, self.key, (-1, 30), ca=True)
        self.pem = folder / "ca.pem"
        self.pem.write_bytes(self.ca.public_bytes(serialization.Encoding.PEM))
        self.der = folder / "ca.der"
        self.der.write_bytes(self.ca.public_bytes(serialization.Encoding.DER))

    def pair(self, host="board"):
        """A certificate and its key, as files of their own."""
        self.context(host)
        parts = (self.folder / f"{host}30False.pem").read_text().partition("-----BEGIN PRIVATE KEY")
        paths = [self.folder / f"{host}.crt", self.folder / f"{host}.key"]
        for path, text in zip(paths, (parts[0], parts[1] + parts[2]), strict=True):
            path.write_text(text)
        return [str(path) for path in paths]

    def context(self, host="localhost", days=(-1, 30), own=False):
        """The server's side for `host`; `own` signs it by itself instead of by the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        issuer, signer = (name, key) if own else (self.name, self.key)
        cert = self._sign(name, key.public_key(), issuer, signer, days, host=host)
        path = self.folder / f"{host}{days[1]}{own}.pem"
        path.write_bytes(
            cert.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    @staticmethod
    def _sign(name, public, issuer, signer, days, ca=False, host=None):
        now = datetime.datetime.now(datetime.timezone.utc)
        first, last = (now + datetime.timedelta(days=d) for d in days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(first, last - datetime.timedelta(days=1)))
            .not_valid_after(last)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())
