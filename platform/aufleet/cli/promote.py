"""`aufleet promote`."""


def command() -> None:
    """Not written yet."""
