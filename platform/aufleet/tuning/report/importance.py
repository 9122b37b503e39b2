"""How much each setting matters: the share of the spread between configurations that it explains.

Each setting's values are sorted into a few groups of equal size, or by value where there are few;
the share is the correlation ratio, less what as many groups would explain by chance (epsilon
squared). A setting that matters only together with another one shows little here.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

_GROUPS = 4
_LEAST = 6
"""With fewer configurations a share says nothing."""


def importances(points: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, float]:
    """Return setting -> share of the variance of the scores, the largest first; {} for too few."""
    if len(scores) < _LEAST or statistics.pvariance(scores) == 0:
        return {}
    keys = sorted({key for point in points for key in point})
    found = {}
    for key in keys:
        known = [
            (point[key], score) for point, score in zip(points, scores, strict=True) if key in point
        ]
        groups = _grouped([value for value, _ in known], [score for _, score in known])
        if len(groups) > 1 and len(known) > len(groups):
            found[key] = _share(groups)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _grouped(values: Sequence[Any], scores: Sequence[float]) -> list[list[float]]:
    groups: dict[Any, list[float]] = defaultdict(list)
    numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    if numeric and len(set(values)) > _GROUPS:
        order = sorted(range(len(values)), key=lambda index: values[index])
        for place, index in enumerate(order):
            groups[place * _GROUPS // len(order)].append(scores[index])
    else:
        for value, score in zip(values, scores, strict=True):
            groups[str(value)].append(score)
    return list(groups.values())


def _share(groups: Sequence[Sequence[float]]) -> float:
    everything = [score for group in groups for score in group]
    mean, number = statistics.fmean(everything), len(everything)
    total = sum((score - mean) ** 2 for score in everything)
    within = sum(sum((score - statistics.fmean(group)) ** 2 for score in group) for group in groups)
    if total == 0:
        return 0.0
    by_chance = (len(groups) - 1) * within / (number - len(groups))
    return max(0.0, (total - within - by_chance) / total)
