"""The papers' scores, in percent, as `specs/models.md` §10.2, §7.5, §6.5, §5.8 and §8.6 hold them.

Shown beside results on other data they say how the networks order themselves, never a target.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

BP4D = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24")
DISFA = ("AU1", "AU2", "AU4", "AU6", "AU9", "AU12", "AU25", "AU26")
GRADES = ("normal", "low", "medium", "high")


@dataclass(frozen=True, kw_only=True)
class PublishedScores:
    """F1 of one method per unit or grade, and their mean as printed."""

    method: str
    per_label: Mapping[str, float]
    mean: float


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is published on one data set."""

    dataset: str
    labels: tuple[str, ...]
    f1: tuple[PublishedScores, ...]
    accuracy: Mapping[str, float]
    """Method -> mean accuracy."""
    auc: Mapping[str, float]
    landmark_error: Mapping[str, float]
    """Method -> mean error in percent of the inter-ocular distance."""


def _row(method: str, labels: tuple[str, ...], numbers: str) -> PublishedScores:
    *scores, mean = map(float, numbers.split())
    per_label = dict(zip(labels, scores, strict=True))
    return PublishedScores(method=method, per_label=per_label, mean=mean)


TABLES = (
    Published(
        dataset="BP4D",
        labels=BP4D,
        f1=(
            _row(
                "JÂA-Net", BP4D, "53.8 47.8 58.2 78.5 75.8 82.7 88.2 63.7 43.3 61.8 45.6 49.9 62.4"
            ),
            _row(
                "LP-Net", BP4D, "43.4 38.0 54.2 77.1 76.7 83.8 87.2 63.3 45.3 60.5 48.1 54.2 61.0"
            ),
            _row(
                "LGRNet", BP4D, "50.8 47.1 57.8 77.6 77.4 84.9 88.2 66.4 49.8 61.5 46.8 52.3 63.4"
            ),
            _row(
                "ALGRNet", BP4D, "51.2 48.2 57.3 77.9 76.4 84.9 88.2 64.8 50.8 62.8 47.6 51.9 63.5"
            ),
            _row(
                "MGRR-Net", BP4D, "52.6 47.9 57.3 78.5 77.6 84.9 88.4 67.8 47.6 63.3 47.4 51.3 63.7"
            ),
        ),
        accuracy={"MGRR-Net": 79.7},
        auc={"MGRR-Net": 82.4},
        landmark_error={"ALGRNet": 3.78, "MGRR-Net": 4.01},
    ),
    Published(
        dataset="DISFA",
        labels=DISFA,
        f1=(
            _row("JÂA-Net", DISFA, "62.4 60.7 67.1 41.1 45.1 73.5 90.9 67.4 63.5"),
            _row("LP-Net", DISFA, "29.9 24.7 72.7 46.8 49.6 72.9 93.8 65.0 56.9"),
            _row("LGRNet", DISFA, "62.6 64.4 72.5 46.6 48.8 75.7 94.4 73.0 67.3"),
            _row("ALGRNet", DISFA, "63.8 65.4 73.6 44.5 54.1 74.0 94.7 69.9 67.5"),
            _row("MGRR-Net", DISFA, "61.3 62.9 75.8 48.7 53.8 75.5 94.3 73.1 68.2"),
        ),
        accuracy={"MGRR-Net": 95.2},
        auc={"MGRR-Net": 93.6},
        landmark_error={"JÂA-Net": 4.02, "LGRNet": 3.68, "ALGRNet": 3.29, "MGRR-Net": 3.95},
    ),
    Published(
        dataset="FPara",
        labels=GRADES,
        f1=(
            _row("ResNet-18", GRADES, "99.8 50.7 47.7 67.9 66.5"),
            _row("ResNet-50", GRADES, "99.9 53.9 54.7 71.4 70.0"),
            _row("Transformer", GRADES, "100.0 63.0 58.6 68.7 72.6"),
            _row("JÂA-Net", GRADES, "100.0 58.8 64.3 72.9 72.8"),
            _row("ALGRNet", GRADES, "100.0 55.9 72.1 73.2 75.4"),
        ),
        accuracy={},
        auc={},
        landmark_error={"ALGRNet": 5.18},
    ),
)
NAMES = {
    "algrnet": "ALGRNet",
    "lgrnet": "LGRNet",
    "mgrrnet": "MGRR-Net",
    "lpnet": "LP-Net",
    "jaanet": "JÂA-Net",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "medt": "Transformer",
}
"""Name of the catalog -> name in the papers."""


def table_for(labels: Collection[str], *, dataset: str) -> Published | None:
    """Return the table of a data set: by its name, else the one that shares most labels."""
    for one in TABLES:
        if one.dataset.lower() in dataset.lower():
            return one
    shared = [(len(set(one.labels) & set(labels)), one) for one in TABLES]
    most, table = max(shared, key=lambda pair: pair[0])
    return table if most else None
