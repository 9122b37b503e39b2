"""Epochs that a search needs to find a configuration as good as the full grid's winner.

    .venv/bin/python tests/benchmarks/search_efficiency.py --seeds 200 [--curves FILE]

Against (a) the full grid, (b) ASHA judged by fold 1, whose survivors run the other folds whole, and
(c) ASHA on fold means with all folds of a configuration always run. All of them, and ours, use the
same judge, pause at the same rungs, and have the same order of configurations and the same curves.
Each is shown with the best of the same settings: the lowest median among those that succeed in
95 %, or else the one that succeeds most often; (b) also with the cheapest that succeeds as often as
ours; then ours and (b) with every setting. A search succeeds where its winner lies within 0.005 F1
of the grid's; one that fails counts as the whole budget. Two numbers: the epochs of the whole
search, and those after which its best stayed within 0.005.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from aufleet.tuning.curves import Curves, Landscape, RecordedConfiguration, make_up, read_curves
from aufleet.tuning.judge import Judge, Rules
from aufleet.tuning.runs import Limits
from aufleet.tuning.simulation import Outcome, simulate

NEAR = 0.005
SUCCESS = 0.95
SETTINGS = [(grace, reduction) for grace in (2, 3, 4, 5, 6) for reduction in (2, 3)]
LANDSCAPES = {
    "one family": Landscape(families={"a": 0.62}),
    "noisy folds": Landscape(families={"a": 0.62}, fold_noise=0.015, epoch_noise=0.01),
    "crossing": Landscape(families={"a": 0.62}, crossing=1.5),
    "two families": Landscape(families={"a": 0.62, "b": 0.6}, configurations=16),
}
Search = Callable[[Curves, int], Outcome]


def ours(grace: int, reduction: int) -> Search:
    """Return a search as an experiment file with {kind: asha} runs it."""

    def search(curves: Curves, seed: int) -> Outcome:
        folds = len(curves.folds)
        rules = Rules(kind="asha", num_folds=folds, grace=grace, reduction=reduction)
        return simulate(curves, limits=Limits(judge=Judge(rules=rules)), seed=seed)

    return search


def grid(curves: Curves, seed: int) -> Outcome:
    """Train everything."""
    rules = Rules(kind="none", num_folds=len(curves.folds))
    return simulate(curves, limits=Limits(judge=Judge(rules=rules)), seed=seed)


def first_fold(grace: int, reduction: int) -> Search:
    """Return ASHA by the first fold alone."""

    def search(curves: Curves, seed: int) -> Outcome:
        first, rest = curves.folds[0], len(curves.folds) - 1
        return _on_one_curve(
            curves,
            [one.curves[first] for one in curves.configurations],
            rules=Rules(kind="asha", num_folds=1, grace=grace, reduction=reduction),
            seed=seed,
            cost=lambda epochs, whole: epochs + whole * rest * curves.epochs,
        )

    return search


def fold_means(grace: int, reduction: int) -> Search:
    """Return ASHA by the mean of all folds, which always run together."""

    def search(curves: Curves, seed: int) -> Outcome:
        means = [
            tuple(fmean(scores) for scores in zip(*one.curves.values(), strict=True))
            for one in curves.configurations
        ]
        return _on_one_curve(
            curves,
            means,
            rules=Rules(kind="asha", num_folds=1, grace=grace, reduction=reduction),
            seed=seed,
            cost=lambda epochs, whole: epochs * len(curves.folds),
        )

    return search


def _on_one_curve(
    curves: Curves,
    judged: list[tuple[float, ...]],
    *,
    rules: Rules,
    seed: int,
    cost: Callable[[int, int], int],
) -> Outcome:
    """Search with one curve a configuration; who ends whole is known by all its folds."""
    single = Curves(
        folds=(1,),
        configurations=tuple(
            RecordedConfiguration(model=one.model, point={"number": number}, curves={1: curve})
            for number, (one, curve) in enumerate(zip(curves.configurations, judged, strict=True))
        ),
    )
    by_curve = {tuple(one.curves[1]): number for number, one in enumerate(single.configurations)}
    outcome = simulate(single, limits=Limits(judge=Judge(rules=rules)), seed=seed)
    trace, best = [], None
    for whole, (epochs, last) in enumerate(outcome.whole, start=1):
        score = curves.configurations[by_curve[last]].score
        best = score if best is None else max(best, score)
        trace.append((cost(epochs, whole), best))
    return replace(outcome, epochs=cost(outcome.epochs, len(trace)), best=best, trace=trace)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """How one way of searching did over all seeds."""

    name: str
    whole: float
    """Median epochs of the whole search, over those of the grid; failures count as 1."""
    found: float
    """Median epochs until the best stayed near the grid's, likewise."""
    success: float


def measure(name: str, search: Search, all_curves: list[Curves]) -> Figure:
    """Search over each seed's curves."""
    whole, found, good = [], [], 0
    for seed, curves in enumerate(all_curves):
        best = max(one.score for one in curves.configurations)
        outcome = search(curves, seed)
        reached = outcome.epochs_to(best - NEAR)
        good += reached is not None
        whole.append(outcome.epochs / curves.grid_epochs if reached is not None else 1.0)
        found.append((reached or curves.grid_epochs) / curves.grid_epochs)
    return Figure(
        name=name, whole=median(whole), found=median(found), success=good / len(all_curves)
    )


def all_of(name: str, make: Callable[[int, int], Search], all_curves: list[Curves]) -> list[Figure]:
    """Return a way of searching with each of the settings."""
    return [
        measure(f"{name}, grace {grace}, reduction {reduction}", make(grace, reduction), all_curves)
        for grace, reduction in SETTINGS
    ]


def best_of(figures: list[Figure], *, success: float = SUCCESS) -> Figure:
    """Return the cheapest that succeeds often enough, or else the most successful."""
    enough = [one for one in figures if one.success >= success]
    if enough:
        return min(enough, key=lambda one: one.whole)
    return max(figures, key=lambda one: (one.success, -one.whole))


def resample(recorded: Curves, *, seed: int) -> Curves:
    """Return three quarters of the configurations, with the folds in another order.

    One set of curves is one case: which fold is the first one decides for (b) whether it finds the
    winner always or never.
    """
    chance = random.Random(seed)
    kept = chance.sample(recorded.configurations, k=3 * len(recorded.configurations) // 4)
    names = dict(
        zip(recorded.folds, chance.sample(recorded.folds, k=len(recorded.folds)), strict=True)
    )
    renamed = [
        one.model_copy(
            update={"curves": {fold: one.curves[names[fold]] for fold in recorded.folds}}
        )
        for one in kept
    ]
    return Curves(folds=recorded.folds, configurations=tuple(renamed))


def main() -> None:
    """Print a table for each landscape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument(
        "--curves", type=Path, help="recorded ones instead, resampled for each seed"
    )
    parser.add_argument("--landscape", choices=list(LANDSCAPES), help="only this one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.curves:
        recorded = read_curves(options.curves)
        all_curves = [resample(recorded, seed=seed) for seed in range(options.seeds)]
        show(options.curves.name, all_curves, as_json=options.json)
        return
    for name, landscape in LANDSCAPES.items():
        if options.landscape not in (None, name):
            continue
        all_curves = [make_up(landscape, seed=seed) for seed in range(options.seeds)]
        show(name, all_curves, as_json=options.json)


def show(name: str, all_curves: list[Curves], *, as_json: bool) -> None:
    """Measure all ways of searching and print them."""
    mine, theirs = all_of("ours", ours, all_curves), all_of("(b) fold 1", first_fold, all_curves)
    best = best_of(mine)
    rows = [
        best,
        measure("(a) full grid", grid, all_curves),
        best_of(theirs),
        best_of(all_of("(c) fold means", fold_means, all_curves)),
        replace(
            equal := best_of(theirs, success=best.success), name=f"{equal.name}, as often as ours"
        ),
        *(one for one in mine if one is not best),
        *theirs,
    ]
    if as_json:
        print(json.dumps({"curves": name, "rows": [vars(one) for one in rows]}))
        return
    print(f"\n{name}, {len(all_curves)} seeds")
    print(f"{'':50} whole search   until found   success")
    for one in rows:
        print(f"{one.name:50} {one.whole:12.1%} {one.found:13.1%} {one.success:9.1%}")


if __name__ == "__main__":
    main()
