"""Fields that the settings add to each request to their own server, such as a token: `headers`, name to value."""

from mpota_boot.errors import LinkError


def fields(headers):
    """The lines of a request. A line end in one would begin another field, or another request."""
    if not isinstance(headers, dict):
        raise LinkError("headers", "headers is %r, wanted names and values in braces" % type(headers).__name__)
    lines = []
    for name in headers:
        value = headers[name]
        good = isinstance(value, str) and name and not [c for c in name if not "!" <= c <= "~" or c == ":"]
        if not good or [c for c in value if not " " <= c <= "~"]:
            # Its value may be a secret.
            raise LinkError("headers", "headers: %r or its value is no text of one line in ASCII" % name)
        lines.append("%s: %s" % (name, value))
    return lines
