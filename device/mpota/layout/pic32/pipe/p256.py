"""ECDSA over P-256, checking only: is this the signature of that public key over this SHA-256?

A public key is x and y, 64 bytes big-endian; a signature r and s, likewise. Source: FIPS 186-4, 6.4 and D.1.2.3.
Points are Jacobian, (X, Y, Z) for x = X/Z^2 and y = Y/Z^3, None for the one at infinity.
"""

from binascii import a2b_base64, b2a_base64

P = (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)


def _double(a):
    if a is None or not a[1]:
        return None
    x, y, z = a
    zz = z * z % P
    yy = y * y % P
    s = 4 * x * yy % P
    # The curve's a is -3.
    m = 3 * (x - zz) * (x + zz) % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P


def _add(a, b):
    if a is None or b is None:
        return a or b
    zz1 = a[2] * a[2] % P
    zz2 = b[2] * b[2] % P
    u = a[0] * zz2 % P
    s = a[1] * zz2 * b[2] % P
    h = (b[0] * zz1 - u) % P
    r = (b[1] * zz1 * a[2] - s) % P
    if not h:
        return None if r else _double(a)
    hh = h * h % P
    v = u * hh % P
    x3 = (r * r - h * hh - 2 * v) % P
    return x3, (r * (v - x3) - s * h * hh) % P, a[2] * b[2] * h % P


def verify(public, sig, digest):
    """Is `sig` the signature of `public` over `digest`, 32 bytes?"""
    if len(public) != 64 or len(sig) != 64:
        return False
    x, y = _number(public[:32]), _number(public[32:])
    r, s = _number(sig[:32]), _number(sig[32:])
    if not 0 < r < N or not 0 < s < N or x >= P or y >= P or (y * y - x * x * x + 3 * x - B) % P:
        return False
    w = pow(s, N - 2, N)
    u1, u2 = _number(digest) * w % N, r * w % N
    q = x, y, 1
    table = None, G, q, _add(G, q)
    sum_ = None
    for i in range(255, -1, -1):
        sum_ = _add(_double(sum_), table[(u1 >> i & 1) | (u2 >> i & 1) << 1])
    if sum_ is None:
        return False
    return sum_[0] * pow(sum_[2], P - 3, P) % P % N == r


def _number(data):
    return int.from_bytes(data, "big")


def verify_text(public, text, digest):
    """The same for a signature in base64, in which line ends are allowed and no other foreign character.

    A decoder that passes over other characters would take here what another bootloader refuses.
    """
    try:
        plain = (text if isinstance(text, bytes) else text.encode()).replace(b"\n", b"").replace(b"\r", b"")
        sig = a2b_base64(plain)
    except ValueError:
        return False
    return b2a_base64(sig).strip() == plain and verify(public, sig, digest)
