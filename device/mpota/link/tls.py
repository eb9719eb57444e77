"""TLS for the HTTP link, loaded for https only: the certificate must be for the host, in date and signed by the CA.

The dates are judged by the board's clock, which is 2000-01-01 after a power-on: set it first (ntptime).
"""

from binascii import a2b_base64

from mpota_boot.errors import LinkError


def secure(sock, name, ca):
    """TLS over `sock` to `name`; `ca` is PEM, DER or a file's name. The first write shakes hands."""
    import ssl

    if not ca:
        raise ValueError("no CA is set to trust")
    if isinstance(ca, str):
        with open(ca, "rb") as f:
            ca = f.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # type: ignore[attr-defined]  # the stubs lack it
    # Not every build of mbedTLS reads PEM.
    pems = ca.split(b"-----BEGIN CERTIFICATE-----")[1:]
    for pem in pems:
        context.load_verify_locations(cadata=a2b_base64(pem.split(b"-----END")[0]))
    if not pems:
        context.load_verify_locations(cadata=ca)
    return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)


def refused(url, e):
    """The error to raise; what the TLS library says of a certificate names no reason on a board."""
    from time import localtime

    day = "%d-%02d-%02d" % localtime()[:3]
    return LinkError("tls", "%s: %s; wrong CA, host name or clock (%s)" % (url, e, day))
