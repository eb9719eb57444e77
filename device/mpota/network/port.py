"""What the network asks of the port: its Wi-Fi, its Ethernet, its name server and its clock.

The setting `lan` has the arguments of network.LAN: {"mdc": 23, "mdio": 18, "power": 12, "phy_type": "PHY_LAN8720",
"phy_addr": 0}. `true` stands for none, on a board that knows its own wires.
"""

# What stands behind "ssid" and "psk" in the names of the stored networks, in their order.
PLACES = ("", "2", "3", "4")
PINS = ("mdc", "mdio", "power", "ref_clk", "reset", "cs", "int")


def station():
    """The interface of a Wi-Fi."""
    import network

    return network.WLAN(network.STA_IF)


def wired(given):
    """The interface of Ethernet. A pin is a number or a name; other words are constants of LAN, `network` or Pin."""
    import machine
    import network

    # A port without Pin knows its pins by number.
    pin = getattr(machine, "Pin", int)
    if given is True:
        given = {}
    if not isinstance(given, dict):
        raise ValueError('the setting lan is %r, wanted is true or an object such as {"mdc": 23, "mdio": 18}' % given)
    words = {}
    for name, value in given.items():
        if value is not None and name in PINS:
            value = pin(value)
        elif isinstance(value, str):
            value = _constant((network.LAN, network, pin), name, value)
        words[name] = value
    return network.LAN(**words)


def _constant(places, name, word):
    for place in places:
        if hasattr(place, word):
            return getattr(place, word)
    raise ValueError("the setting lan has %s %s, which this port does not know" % (name, word))


def name_server(nic=None):
    """The address of the network's name server; "" where the port does not tell, and has to look up names itself."""
    try:
        ip = (nic or station()).ifconfig()[3]
    except Exception:
        return ""
    return "" if ip == "0.0.0.0" else ip


def put_clock(date):
    """Set the clock to a date of time.gmtime(), as MicroPython's ntptime does."""
    from machine import RTC

    year, month, day, hour, minute, second, weekday = date[:7]
    RTC().datetime((year, month, day, weekday + 1, hour, minute, second, 0))
