"""`aufleet serve`."""


def command() -> None:
    """Not written yet."""
