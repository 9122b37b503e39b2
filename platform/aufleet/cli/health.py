"""`aufleet health`."""


def command() -> None:
    """Not written yet."""
