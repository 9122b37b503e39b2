"""Small trees of graded examinations."""

from pathlib import Path

from raw_trees.faces import photo, write, write_video

HEADER = "subject,video,house_brackmann,side,exercise"


def write_fpara(root: Path, *, subjects: int = 12, frames: int = 3) -> int:
    """Write a video and a row for each subject, scores 1 to 6 in turn; return the frames."""
    lines = [HEADER]
    for person in range(subjects):
        score = person % 6 + 1
        video = f"videos/P{person + 1:02d}/smile.avi"
        write_video(root / video, [photo(person, step=step) for step in range(frames)])
        side = "none" if score == 1 else ("left", "right")[person % 2]
        lines.append(f"P{person + 1:02d},{video},{score},{side},smile")
    write(table_file(root), "\n".join(lines) + "\n")
    return subjects * frames


def table_file(root: Path) -> Path:
    return root / "examinations.csv"
