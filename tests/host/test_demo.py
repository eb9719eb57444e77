"""What a demo stands on; the demos themselves are tested with their chips."""

import pytest

from mpota_host import demo


def test_a_command_that_ends_otherwise_than_the_demo_says_ends_the_demo(capsys):
    demo.typed("--version")
    assert "$ mpota --version" in capsys.readouterr().out
    demo.typed("inspect", "nowhere", status=2)
    with pytest.raises(AssertionError, match="`mpota inspect nowhere` ended with exit status 2, wanted 0"):
        demo.typed("inspect", "nowhere")
