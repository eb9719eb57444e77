"""The short form of the run with real processes: a board killed in real updates, over a socket and over a pty."""

import pytest

from mpota_host.cut import processes


@pytest.mark.slow  # a board rests between its kills for as long as it takes to start, fetch and confirm
@pytest.mark.timeout(300)  # and on a busy machine ever longer
def test_a_board_that_is_killed_completes_every_update():
    result = processes.campaign(4, 1)
    assert result.bad == [], [f"{b.ident} {b.text}" for b in result.bad]
    assert result.kills == {"http": 2, "pty": 2}
    assert all(n >= 1 for n in result.updates.values()) and set(result.updates) == {"http", "pty"}
