"""What the network asks of the port: its Wi-Fi, its Ethernet, its name server and its clock."""

# What stands behind "ssid" and "psk" in the names of the stored networks, in their order.
PLACES = ("", "2", "3", "4")


def station():
    """The interface of a Wi-Fi."""
    import network

    return network.WLAN(network.STA_IF)


def wired(given):
    """The interface of Ethernet, by the setting `lan`."""
    import machine
    import network

    from mpota.network.wire import interface

    return interface(given, network, machine)


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
