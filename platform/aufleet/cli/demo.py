"""`aufleet demo`."""


def command() -> None:
    """Not written yet."""
