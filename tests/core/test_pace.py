"""How often a fleet asks: a server that is down, and one that all boards come back to at once."""

from struct import pack

from mpota.pace import moment, pause

HOUR = 3600000
POLL_MS = 600000


class Chance:
    """Bytes of chance, the same in each run: the generator of Park and Miller."""

    def __init__(self, seed):
        self.n = seed * 7919 + 1

    def byte(self):
        self.n = self.n * 48271 % 2147483647
        return self.n >> 8 & 255


def test_a_pause_doubles_up_to_the_time_between_two_polls():
    assert [pause(n, POLL_MS, 128) // 1000 for n in range(1, 11)] == [5, 10, 20, 40, 80, 160, 320, 601, 601, 601]
    for n in (1, 4, 9, 1000):
        ms = min(5000 << min(n - 1, 20), POLL_MS)
        assert pause(n, POLL_MS, 0) == ms // 2 and pause(n, POLL_MS, 255) == ms // 2 + ms
    assert pause(5, 300, 0) == 150, "a board that polls more often asks more often"


def test_a_server_that_is_down_for_an_hour_is_asked_thirteen_times_by_a_board():
    total = most = 0
    for seed in range(10000):
        chance = Chance(seed)
        n = at = 0
        while at < HOUR:
            n += 1
            at += pause(n, POLL_MS, chance.byte())
        total += n
        most = max(most, n)
    assert total <= 130000 and most <= 16, (total, most)


def test_a_house_of_boards_asks_spread_over_the_time_that_it_was_given():
    spread_ms = 600000
    seconds = [0] * 600
    for i in range(100000):
        # Six bytes that differ at their end, as those of one maker do.
        seconds[moment(b"\x24\x6f\x28" + pack(">I", i)[1:], spread_ms) // 1000] += 1
    assert sum(seconds) == 100000 and max(seconds) <= 1.5 * 100000 / 600, max(seconds)
    assert min(seconds) > 0


def test_a_board_has_the_same_moment_each_time_and_none_where_none_is_set():
    assert moment(b"one", 600000) == moment(b"one", 600000) != moment(b"two", 600000)
    assert moment(b"one", 0) == 0 and moment(b"", 1) == 0
