"""`aufleet leaderboard`."""


def command() -> None:
    """Not written yet."""
