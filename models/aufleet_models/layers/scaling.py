"""Channel counts of a narrower or wider network."""

STEP = 4
"""Counts are kept divisible by this: the stem splits its channels into halves and quarters."""


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of 4 and at least 4.

    At width 1.0 every count of the papers comes back unchanged.
    """
    return max(STEP, STEP * int(channels * width / STEP + 0.5))
