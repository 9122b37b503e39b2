"""Why a frame cannot be used: the words that manifests count by."""

from enum import StrEnum


class Reason(StrEnum):
    """One short sentence each; they stand in published manifests and never change."""

    FILE_MISSING = "frame file missing"
    SEQUENCE_MISSING = "sequence not in the source (counted as one)"
    VIDEO_MISSING = "video file missing"
    UNREADABLE = "frame cannot be decoded"
    VIDEO_UNREADABLE = "video cannot be opened"
    VIDEO_ENDS_EARLY = "video ends early"
    BEYOND_END = "frame lies behind the end of its video"
    NUMBER_UNREADABLE = "frame number cannot be read from the file name"
    NUMBER_TWICE = "frame number stands twice"
    NO_FACE = "no face found"
    NO_FACE_SHAPE = "landmarks span no face"
    OUTSIDE = "landmarks outside the frame"
    FAILED_LANDMARKS = "landmarks known to have failed"
    LABELS_MISSING = "label file missing"
    ROW_MISSING = "label row missing"
    OUTSIDE_CODED = "outside the coded segment"
    NOTHING_CODED = "no unit is coded"
