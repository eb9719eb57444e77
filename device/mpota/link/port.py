"""What a link asks of the port: where the network's name server is."""


def name_server():
    """Its address; "" where the port does not tell, and has to look up names itself."""
    try:
        from network import STA_IF, WLAN

        ip = WLAN(STA_IF).ifconfig()[3]
    except Exception:
        return ""
    return "" if ip == "0.0.0.0" else ip
