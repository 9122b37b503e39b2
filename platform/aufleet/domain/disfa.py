"""What the DISFA release needs beside its labels: frames whose landmarks failed.

JAANet's training lists leave them out, so that results compare only without them.
"""

from types import MappingProxyType

CODED_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""The units that DISFA codes; the papers use eight of them, `action_units.DISFA_UNITS`."""
POSITIVE_INTENSITY = 2
"""A unit counts as active from this intensity of 0 to 5 on."""

NUM_FRAMES = 4845
"""Frames of each subject's video, but one less of SN010."""
SHORT_VIDEOS = MappingProxyType({"SN010": 4844})

FAILED_LANDMARKS = MappingProxyType(
    {
        "SN001": ((398, 420), (3190, 3243)),
        "SN002": ((800, 826),),
        "SN004": ((4541, 4555),),
        "SN006": ((1349, 1405),),
        "SN009": ((1736, 1808), (1851, 1885)),
        "SN011": ((4529, 4533), (4830, 4845)),
        "SN021": (
            (574, 616),
            (985, 1164),
            (1190, 1205),
            (1305, 1338),
            (1665, 1710),
            (1862, 2477),
            (2554, 4657),
            (4710, 4722),
        ),
        "SN023": (
            (1021, 1049),
            (3378, 3557),
            (3584, 3668),
            (4547, 4621),
            (4741, 4772),
            (4825, 4845),
        ),
        "SN025": ((4596, 4662), (4816, 4835)),
        "SN027": ((3461, 3494), (4738, 4785)),
        "SN028": ((1875, 1885), (4571, 4690)),
        "SN029": ((4090, 4543),),
        "SN030": ((939, 962), (1406, 1422), (2100, 2132), (2893, 2955)),
    }
)
"""Subject -> ranges of frame numbers, from 1, first and last included."""


def is_usable(subject: str, frame: int) -> bool:
    """Return whether a frame exists and has landmarks.

    Args:
        subject: "SN001" to "SN032".
        frame: Number of the label file, from 1.
    """
    if not 1 <= frame <= SHORT_VIDEOS.get(subject, NUM_FRAMES):
        return False
    return not has_failed_landmarks(subject, frame)


def has_failed_landmarks(subject: str, frame: int) -> bool:
    """Return whether a frame is one of those whose landmarks failed; numbers are from 1."""
    failed = FAILED_LANDMARKS.get(subject, ())
    return any(first <= frame <= last for first, last in failed)
