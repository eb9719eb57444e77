"""The figures of mpota, each beside its bar or its peer, measured in one run: `python -m mpota_host.bench`."""
