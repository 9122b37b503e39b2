"""Does anything but the face tell the palsy grade?: python tests/benchmarks/palsy_shortcut.py.

Synthetic patients are graded by a network that sees them, and by one that sees the same frames with
the face blanked out, in training and in the test. Kappa is over the test parts of all three folds.
The second must not be above 0.1: else lens, light or background give the grade away. The first must
reach 0.3: a network that learns nothing would not find a shortcut either.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track

from aufleet.data.blanking import blank_jpeg
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import SyntheticSettings, render_subject
from aufleet.domain.action_units import BP4D_UNITS
from aufleet.storage import Store, open_store
from aufleet.training import TrialConfig, run_trial, score_test
from aufleet.training.metrics import Score, score_grades

LIMIT, LEARNT = 0.1, 0.3
console = Console(width=110)


def main() -> int:
    """Render, train, judge."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        root = open_store(folder)
        people = list(_people(arguments))
        found = {}
        for name, blank in (("face", False), ("blanked", True)):
            dataset = _publish(name, people, root=root, blank=blank)
            found[name] = _score(dataset, root.child(name), arguments)
            console.print(
                f"{name}: kappa {found[name].kappa:+.3f}, macro F1 {found[name].macro_f1:.3f} "
                f"(constant {sum(found[name].constant.values()) / 4:.3f})"
            )
    console.print(f"kappa: with the face at least {LEARNT}, without it at most {LIMIT}")
    face, blanked = (found[name].kappa or 0.0 for name in ("face", "blanked"))
    return int(face < LEARNT or blanked > LIMIT)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--frames", type=int, default=28, help="of each subject")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _people(arguments: argparse.Namespace) -> Iterator[tuple[str, list[FrameRecord]]]:
    settings = SyntheticSettings(
        num_subjects=arguments.subjects,
        frames_per_subject=arguments.frames,
        seed=arguments.seed,
        palsy=True,
    )
    for number in track(range(arguments.subjects), "rendering", console=console, transient=True):
        yield render_subject(settings, number)


def _publish(
    name: str, people: list[tuple[str, list[FrameRecord]]], *, root: Store, blank: bool
) -> str:
    def prepared(one: FrameRecord) -> FrameRecord:
        return replace(one, jpeg=blank_jpeg(one.jpeg)) if blank else one

    spec = DatasetSpec(name=name, version="1", units=BP4D_UNITS, source="palsy_shortcut", seed=0)
    subjects = ((subject, [prepared(one) for one in frames]) for subject, frames in people)
    publish_dataset(subjects, spec=spec, store=root)
    return root.uri_of(f"datasets/{name}/1")


def _score(dataset: str, store: Store, arguments: argparse.Namespace) -> Score:
    """Train on each fold; return the score over all test parts together."""
    from safetensors.torch import load

    logits, grades = [], []
    for fold in (1, 2, 3):
        config = TrialConfig(
            model="resnet18",
            task="palsy",
            width=arguments.width,
            dataset=dataset,
            fold=fold,
            epochs=arguments.epochs,
            batch=32,
            optimizer="adamw",
            learning_rate=0.001,
            schedule="cosine",
            seed=arguments.seed,
        )
        mine = store.child(f"fold{fold}")
        result = run_trial(config, store=mine, report=lambda report: True)
        score = score_test(config, store=mine, checkpoint=result.checkpoint)
        rows = load(mine.read(score.predictions))
        logits.append(rows["logits"].numpy())
        grades.append(rows["grade"].numpy())
    return score_grades(logits=np.concatenate(logits), labels=np.concatenate(grades))


if __name__ == "__main__":
    raise SystemExit(main())
