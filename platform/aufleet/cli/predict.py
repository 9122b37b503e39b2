"""`aufleet predict`."""


def command() -> None:
    """Not written yet."""
