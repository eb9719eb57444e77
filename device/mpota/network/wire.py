"""The setting `lan`, which has the arguments of network.LAN. Loaded where there is that setting.

    {"mdc": 23, "mdio": 18, "power": 12, "phy_type": "PHY_LAN8720", "phy_addr": 0}

`true` stands for none, on a board that knows its own wires.
"""

from micropython import const

_PINS = const(("mdc", "mdio", "power", "ref_clk", "reset", "cs", "int"))


def arguments(given, network, pin):
    """Those of LAN, of the module `network`. A pin is a number or a name; other words are constants of these."""
    if given is True:
        given = {}
    if not isinstance(given, dict):
        raise ValueError('the setting lan is %r, wanted is true or an object such as {"mdc": 23, "mdio": 18}' % given)
    words = {}
    for name, value in given.items():
        if value is not None and name in _PINS:
            value = pin(value)
        elif isinstance(value, str):
            value = _constant((network.LAN, network, pin), name, value)
        words[name] = value
    return words


def _constant(places, name, word):
    for place in places:
        if hasattr(place, word):
            return getattr(place, word)
    raise ValueError("the setting lan has %s %s, which this port does not know" % (name, word))
