"""TLS for the HTTP link, loaded for https only: the certificate must be for the host, in date and signed by a CA.

The dates are judged by the board's clock, which has to be set first.
"""

from binascii import a2b_base64

from mpota.link.connection import YEAR


def secure(sock, name, ca, cert=None):
    """TLS over `sock` to `name`; the first write shakes hands.

    `ca` is PEM with any number of certificates, or DER, or a file's name. `cert`: the files of our own certificate and
    its key.
    """
    import ssl

    if not ca:
        raise ValueError("no CA is set to trust")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # type: ignore[attr-defined]  # the stubs lack it
    for one in _ders(ca):
        context.load_verify_locations(cadata=one)
    if cert:
        if not hasattr(context, "load_cert_chain"):
            raise ValueError("this port has no certificates of its own for a server")
        own, key = _ders(cert[0])[0], _ders(cert[1])[-1]
        context.load_cert_chain(own, key)  # type: ignore[arg-type]  # bytes as well as names of files
    return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)


def _ders(data):
    """Each certificate or key of a file, or of its bytes. Not every build of mbedTLS reads PEM."""
    if isinstance(data, str):
        with open(data, "rb") as f:
            data = f.read()
    ders = []
    for pem in data.split(b"-----BEGIN ")[1:]:
        ders.append(a2b_base64(pem.partition(b"-----")[2].split(b"-----END")[0]))
    return ders or [data]


def refused(e, now=None, untimed=None):
    """(code, words) for what the TLS library says; of a certificate it names no reason on a board.

    `now` stands for the board's clock. `untimed`: why nobody set it, where that is known.
    """
    from time import localtime

    now = now or localtime()
    day = "%d-%02d-%02d" % now[:3]
    # mbedTLS puts line ends around its words.
    words = str(e).strip() + "; "
    if now[0] < YEAR:
        words += "the board's clock shows %s, so no certificate is in date: " % day
        return "clock", words + (untimed or "set it")
    return "tls", words + "the certificate is by another CA, for another name, or not in date on " + day
