"""Ethernet as the setting `lan` describes it: the port's network.LAN, or a WIZnet chip by network.WIZNET5K.

    {"mdc": 23, "mdio": 18, "power": 12, "phy_type": "PHY_LAN8720", "phy_addr": 0}      an ESP32 and its PHY
    {"phy_type": "PHY_W5500", "phy_addr": 0, "spi": {"id": 1, "sck": 13, "mosi": 11, "miso": 12}, "cs": 14, "int": 10}
    {"spi": {"id": 0, "sck": 18, "mosi": 19, "miso": 16}, "cs": 17, "reset": 20}        a WIZnet chip; `int` may be

`true` is for a board that knows its own wires. A pin is a number or a name. Another word is a constant of LAN,
`network` or Pin.
"""

PINS = ("mdc", "mdio", "power", "ref_clk", "reset", "cs", "int", "sck", "mosi", "miso")

# The arguments of WIZNET5K, in their order.
_WIZNET = ("spi", "cs", "reset", "int")


def interface(given, network, machine):
    """The interface, by the port's modules. ValueError where the setting or the port has none."""
    given = {} if given is True else given
    if not isinstance(given, dict):
        raise ValueError('the setting lan is %r, wanted is true or an object such as {"mdc": 23, "mdio": 18}' % given)
    lan, chip = [getattr(network, name, None) for name in ("LAN", "WIZNET5K")]
    if not (lan or chip):
        raise ValueError("the setting lan: this firmware has no network.LAN and no network.WIZNET5K")
    places = lan, network, machine.Pin
    words = {name: _value(name, given[name], machine, places) for name in given}
    if lan and not (chip and "spi" in words and "phy_type" not in words):
        return lan(**words)
    names = [name for name in words if words[name] is not None]
    found = [name for name in _WIZNET if name in names]
    if len(found) < len(names) or (names and found[:3] != list(_WIZNET[:3])):
        raise ValueError("the setting lan has %s: WIZNET5K wants spi, cs and reset, and may have int" % names)
    return chip(*[words[name] for name in found])  # type: ignore[misc]  # one of the two is there


def _value(name, value, machine, places):
    if name == "spi":
        if isinstance(value, dict) and "id" in value:
            words = {name: _value(name, value[name], machine, places) for name in value}
            return machine.SPI(words.pop("id"), **words)
        if not isinstance(value, int):
            raise ValueError('the setting lan has spi %r, wanted is a number or {"id": 0, "sck": 18}' % value)
        return machine.SPI(value)
    if value is not None and name in PINS:
        return machine.Pin(value)
    if not isinstance(value, str):
        return value
    for place in places:
        if hasattr(place, value):
            return getattr(place, value)
    raise ValueError("the setting lan has %s %s, which this port does not know" % (name, value))
