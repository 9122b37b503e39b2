"""The records of one video of a table: all its frames share labels, or some have their own."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from aufleet.data.importers.contract import Unusable
from aufleet.data.importers.framing import Crop, Labels, Place, frame_photo, lost, record_of
from aufleet.data.importers.reasons import Reason
from aufleet.data.importers.source import Source
from aufleet.data.importers.video import VideoFrame, count_frames, read_video
from aufleet.data.records import FrameRecord
from aufleet.errors import FrameError, ObjectMissingError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv")
TYPICAL_FRAMES = 500
"""What progress expects of a video that lies far away; it is not fetched to count its frames."""

LabelsByFrame = Mapping[int, Labels]
"""Frame from 0 -> its labels."""
Outcome = FrameRecord | Unusable


def expected_frames(source: Source, path: str) -> int:
    """Return about how many frames a video has, without fetching it."""
    if source.is_remote:
        return TYPICAL_FRAMES
    try:
        return count_frames(Path(source.uri, path))
    except FrameError:
        return 0


def read_labelled_video(
    source: Source, path: str, place: Place, *, labels: Labels | LabelsByFrame, crop: Crop
) -> Iterator[Outcome]:
    """Yield the frames of a video, numbered from 0, or why they cannot be used.

    Args:
        source: Where it lies.
        path: Which video.
        place: Subject and sequence; the number is not read.
        labels: Those of every frame, or those of the frames that have any.
        crop: Which crop beside the aligned frame.
    """
    num_labelled = 1 if isinstance(labels, Labels) else len(labels)
    try:
        with source.local_copy(path) as copy:
            if isinstance(labels, Labels):
                yield from _read_whole(copy, place, labels=labels, crop=crop)
            else:
                yield from _read_some(copy, place, labels=labels, crop=crop)
    except ObjectMissingError:
        yield _lost(Reason.VIDEO_MISSING, place, count=num_labelled)
    except FrameError:
        yield _lost(Reason.VIDEO_UNREADABLE, place, count=num_labelled)


def _read_whole(path: Path, place: Place, *, labels: Labels, crop: Crop) -> Iterator[Outcome]:
    if labels.is_blank:
        yield _lost(Reason.NOTHING_CODED, place, count=max(count_frames(path), 1))
        return
    nothing = True
    for item in read_video(path):
        nothing = False
        yield _outcome(item, place, labels=labels, crop=crop)
    if nothing:
        raise FrameError(f"{path.name} has no frame")


def _read_some(path: Path, place: Place, *, labels: LabelsByFrame, crop: Crop) -> Iterator[Outcome]:
    wanted = {frame: found for frame, found in labels.items() if not found.is_blank}
    num_seen = count_frames(path)
    for item in read_video(path, skip=lambda number: number not in wanted):
        end = item.number + item.count
        num_seen = max(num_seen, end)
        here = [frame for frame in range(item.number, end) if frame in wanted]
        if item.count > 1 and here:
            yield _lost(item.reason, place, count=len(here))
        elif here:
            yield _outcome(item, place, labels=wanted[here[0]], crop=crop)
    inside = [frame for frame in labels if frame < num_seen]
    left = {
        Reason.NOTHING_CODED: sum(labels[frame].is_blank for frame in inside),
        Reason.ROW_MISSING: num_seen - len(inside),
        Reason.BEYOND_END: len(labels) - len(inside),
    }
    for reason, count in left.items():
        if count:
            yield _lost(reason, place, count=count)


def _outcome(item: VideoFrame, place: Place, *, labels: Labels, crop: Crop) -> Outcome:
    if item.frame is None:
        frame = item.number if item.count == 1 else None
        return _lost(item.reason, place, frame=frame, count=item.count)
    where = Place(subject=place.subject, sequence=place.sequence, frame=item.number)
    return record_of(frame_photo(item.frame, released=None, crop=crop), where, labels=labels)


def _lost(reason: Reason, place: Place, *, frame: int | None = None, count: int = 1) -> Unusable:
    return lost(reason, subject=place.subject, sequence=place.sequence, frame=frame, count=count)
