"""How many synthetic frames one core renders a second: python tests/benchmarks/render_frames.py.

The target is 100 aligned frames a second, subjects and JPEG included (specs/data.md, section 4).
CPU time is what counts: it does not depend on what else the machine does.
"""

import time

import cv2

from aufleet.data.synthetic import SyntheticSettings, render_portrait, render_subject

NUM_SUBJECTS, FRAMES_PER_SUBJECT = 6, 60


def main() -> None:
    # As where data sets are rendered: by a process for each core, of one thread.
    cv2.setNumThreads(1)
    settings = SyntheticSettings(num_subjects=NUM_SUBJECTS, frames_per_subject=FRAMES_PER_SUBJECT)
    started_s = time.perf_counter()
    render_portrait(seed=0)
    print(f"first frame, with mesh and compiled loops: {time.perf_counter() - started_s:.2f} s")
    started_s, cpu_started_s = time.perf_counter(), time.process_time()
    for index in range(NUM_SUBJECTS):
        render_subject(settings, index)
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_started_s
    num_frames = NUM_SUBJECTS * FRAMES_PER_SUBJECT
    print(f"{num_frames / cpu_s:.0f} frames/s of CPU time, {num_frames / wall_s:.0f} frames/s")


if __name__ == "__main__":
    main()
