"""Scores of the configurations of one bracket at one epoch, compared on the folds that both have.

A configuration has scores of some of its folds, its mask. Two configurations are compared by their
means over the folds that both have, so a fold that is hard for everybody favours nobody. While some
folds are missing, such a mean is uncertain by what the missing folds may add; only a lead beyond
that margin counts.

All tables are sorted lists, so that a comparison with ten thousand configurations is a few
bisections. What a table says does not depend on the order in which scores came.
"""

from bisect import bisect_right, insort
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt
from typing import Generic, TypeVar

Folds = frozenset[int]
ConfigurationT = TypeVar("ConfigurationT", bound=Hashable)

_IQR_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""
_MOST_EARLIER = 9
"""Differences of an earlier rung that count at a later one: those of three configurations."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much a score differs by what neither its configuration nor its fold explains.

    Attributes:
        num_differences: Differences between two folds of a configuration that tell of it.
        per_score: Its estimate in F1.
    """

    num_differences: int = 0
    per_score: float = 0.0

    @property
    def size(self) -> float | None:
        """The spread, larger where few tell of it; None before two configurations do."""
        if not self.num_differences:
            return None
        return self.per_score * (1 + 2 / self.num_differences)

    def after(self, earlier: "Spread") -> "Spread":
        """Return this spread together with that of an earlier rung, which counts for less."""
        weight = min(earlier.num_differences, _MOST_EARLIER)
        total = self.num_differences + weight
        if not total:
            return self
        squares = (self.num_differences * self.per_score**2 + weight * earlier.per_score**2) / total
        return Spread(num_differences=total, per_score=sqrt(squares))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a configuration stands among the others.

    Attributes:
        folds: Those of which it has scores.
        mean: Its mean score over them.
        compared: Configurations that share at least one fold with it and could be compared.
        better: Those of them that lead by more than the margin.
        margin: The lead that the missing folds may explain; 0 where none is missing.
    """

    folds: Folds
    mean: float
    compared: int
    better: int
    margin: float


@dataclass(kw_only=True)
class RungTable(Generic[ConfigurationT]):
    """One rung of one bracket.

    Attributes:
        num_folds: Folds of the experiment.
        caution: Standard errors that a lead on some folds must exceed.
    """

    num_folds: int
    caution: float
    _scores: dict[ConfigurationT, dict[int, float]] = field(default_factory=dict)
    _means: dict[tuple[Folds, Folds], list[float]] = field(default_factory=dict)
    """(Exact folds of a configuration, some of them) -> sorted means over the latter."""
    _differences: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    """Two folds -> sorted differences of the configurations that have both."""
    _known_spread: Spread = field(default_factory=Spread)
    _is_stale: bool = True

    def add(self, configuration: ConfigurationT, *, fold: int, score: float) -> bool:
        """Add a score; the first of a configuration and fold stands. Returns whether it was."""
        scores = self._scores.setdefault(configuration, {})
        if fold in scores:
            return False
        for pair, mean in _subset_means(scores):
            rows = self._means[pair]
            rows.pop(bisect_right(rows, mean) - 1)
        for other, known in scores.items():
            pair = (min(fold, other), max(fold, other))
            sign = 1 if fold < other else -1
            insort(self._differences.setdefault(pair, []), sign * (score - known))
        scores[fold], self._is_stale = score, True
        for pair, mean in _subset_means(scores):
            insort(self._means.setdefault(pair, []), mean)
        return True

    @property
    def configurations(self) -> Sequence[ConfigurationT]:
        """Those that have a score, in the order of their first."""
        return [one for one, scores in self._scores.items() if scores]

    def scores_of(self, configuration: ConfigurationT) -> Mapping[int, float]:
        """Return fold -> score."""
        return self._scores.get(configuration, {})

    def standing(
        self, configuration: ConfigurationT, *, spread: float | None = None
    ) -> Standing | None:
        """Return how a configuration stands; None where it has no score here.

        Args:
            configuration: Which one.
            spread: How much folds differ, where other rungs know it better than this one.
        """
        scores = self._scores.get(configuration)
        if not scores:
            return None
        own, compared, better = frozenset(scores), -1, 0  # it is in the table itself
        for exact in {exact for exact, _ in self._means}:
            shared = exact & own
            rows = self._means[exact, shared] if shared else []
            margin = self.margin(len(shared), spread=spread) if shared else None
            if margin is None:
                compared += exact == own and bool(rows)
                continue
            mean = _mean(scores, shared)
            compared += len(rows)
            better += len(rows) - bisect_right(rows, mean + margin)
        return Standing(
            folds=own,
            mean=_mean(scores, own),
            compared=max(0, compared),
            better=better,
            margin=self.margin(len(own), spread=spread) or 0.0,
        )

    def margin(
        self, num_shared: int, *, spread: float | None = None, caution: float | None = None
    ) -> float | None:
        """Return the lead that missing folds may explain; None where that is not known yet.

        The difference of two means over m of K folds has, as an estimate of the difference over
        all K, the standard error s * sqrt(2 * (1/m - 1/K)), where s is the spread of a score that
        neither its configuration nor its fold explains.

        Args:
            num_shared: m.
            spread: s, where other rungs know it better than this one.
            caution: Standard errors, if not those of the table.
        """
        if num_shared >= self.num_folds:
            return 0.0
        known = self.spread.size if spread is None else spread
        if known is None:
            return None
        errors = self.caution if caution is None else caution
        return errors * known * sqrt(2 * (1 / num_shared - 1 / self.num_folds))

    @property
    def spread(self) -> Spread:
        """How much folds differ here."""
        if self._is_stale:
            self._known_spread, self._is_stale = self._spread(), False
        return self._known_spread

    def _spread(self) -> Spread:
        """Return s from the differences between folds; quartiles, for some networks diverge."""
        # In the order of the folds: the same sum to the last bit, whichever came first.
        pairs = sorted(self._differences)
        known = [rows for pair in pairs if len(rows := self._differences[pair]) > 1]
        total = sum(len(rows) for rows in known)
        if not total:
            return Spread()
        spreads = (len(rows) * _standard_deviation(rows) for rows in known)
        return Spread(num_differences=total, per_score=sum(spreads) / total / sqrt(2))


def _subset_means(scores: Mapping[int, float]) -> list[tuple[tuple[Folds, Folds], float]]:
    """Return ((all folds, some of them), mean over the latter) for each choice of some."""
    exact = frozenset(scores)
    chosen = [
        frozenset(some)
        for size in range(1, len(exact) + 1)
        for some in combinations(sorted(exact), size)
    ]
    return [((exact, some), _mean(scores, some)) for some in chosen]


def _mean(scores: Mapping[int, float], folds: Folds) -> float:
    # In the order of the folds: the same sum to the last bit, whichever came first.
    return sum(scores[fold] for fold in sorted(folds)) / len(folds)


def _standard_deviation(rows: Sequence[float]) -> float:
    """Return it from the quartiles, which lie closer together the fewer numbers there are."""
    expected = _IQR_OF_NORMAL * (1 - 1.16 / len(rows))
    return (_quantile(rows, 0.75) - _quantile(rows, 0.25)) / expected


def _quantile(rows: Sequence[float], share: float) -> float:
    position = share * (len(rows) - 1)
    low = int(position)
    high = min(low + 1, len(rows) - 1)
    return rows[low] + (position - low) * (rows[high] - rows[low])
