"""Small trees of a lab's own data: pictures, a video, and one table of labels."""

from pathlib import Path

from raw_trees.faces import photo, write, write_video

HEADER = "subject,image,video,frame,AU1,AU12,AU12_intensity,house_brackmann,side,part"


def write_folder(root: Path, *, subjects: int = 6, frames: int = 2) -> int:
    """Write `frames` pictures of each subject and a labelled video of the first; return the frames.

    The folds are given: subject k lies in part k modulo 3.
    """
    lines = [HEADER]
    for person in range(subjects):
        subject, part = f"A{person + 1}", person % 3 + 1
        for step in range(frames):
            image = f"{subject}/day1/{step}.jpg"
            write(root / image, photo(person, step=step).jpeg)
            lines.append(f"{subject},{image},,,{step % 2},1,{2 + step},,,{part}")
    write_video(root / "A1/film.avi", [photo(0, step=step) for step in range(frames)])
    lines.append("A1,,A1/film.avi,,0,9,,4,left,1")
    write(table_file(root), "\n".join(lines) + "\n")
    return subjects * frames + frames


def table_file(root: Path) -> Path:
    return root / "labels.csv"
