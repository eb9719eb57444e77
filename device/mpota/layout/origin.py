"""Which version brought the firmware that runs. Loaded for a package that needs to know."""


def firmware(layout):
    """The 8 bytes of the version that brought the firmware which runs; None where it is not known."""
    record = layout.on_trial()
    if record is None or record.slot == record.back:
        record = layout.record("running")
    if record and record.slot == layout.port.running != record.back:
        # A cable may have brought another one.
        return record.version if layout.digest(layout.port.current, record.size) == record.sha else None
    return layout.journal.last("firmware")
