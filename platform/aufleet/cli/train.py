"""`aufleet train`."""


def command() -> None:
    """Not written yet."""
