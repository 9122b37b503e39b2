"""`aufleet tune`."""


def command() -> None:
    """Not written yet."""
