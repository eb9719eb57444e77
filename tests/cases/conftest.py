"""A release key for all cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.rig import keys


@pytest.fixture(scope="session")
def release_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; its public half lies beside it, with .pub."""
    path = tmp_path_factory.mktemp("key") / "release.pem"
    keys.generate(path)
    return path
