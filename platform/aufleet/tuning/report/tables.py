"""Tables of the report: leaderboards, scores per label, ablations, rungs, cost."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aufleet.tuning.judge import ENDED
from aufleet.tuning.leaderboard import Row, Scores
from aufleet.tuning.records import TestRecord, TrialRecord
from aufleet.tuning.report import figures
from aufleet.tuning.report.content import Content, Family
from aufleet.tuning.report.published import NAMES, Published

_SHOWN = 8
"""Rows of a leaderboard before the others are folded away."""


def leaderboard(family: Family, *, shuffled: Scores | None) -> str:
    """Return a family's configurations, the best first."""
    scored = [row.validation for row in family.rows if row.validation]
    values = [score for one in scored for score in one.folds.values()]
    low = min([*values, *(one.constant_baseline for one in scored)], default=0.0)
    high = max(values, default=1.0)
    placed = enumerate(family.rows, 1)
    rows = [(row.status, _configuration(row, at, low=low, high=high)) for at, row in placed]
    first = [text for status, text in rows if status in ("finished", "failed")][:_SHOWN]
    first = first or [text for _, text in rows[:_SHOWN]]
    others = [text for _, text in rows if text not in first]
    head = ("", "configuration", "mean F1", "folds", "constant", "test F1")
    control = ""
    if shuffled:
        control = (
            '<tr class="control"><td></td><td>shuffled labels</td>'
            f'<td class="number">{_mean(shuffled)}</td><td></td><td></td><td></td></tr>'
        )
    table = _table(head, [*first, control])
    if others:
        table += (
            f"<details><summary>{len(others)} more configurations</summary>"
            f"{_table(head, others)}</details>"
        )
    return table


def _configuration(row: Row, place: int, *, low: float, high: float) -> str:
    scores = row.validation
    strip = ""
    if scores:
        strip = figures.strip(scores.folds, low=low, high=high, constant=scores.constant_baseline)
    name = f"<b>{escape(row.row or row.config_id)}</b>"
    return (
        f'<tr class="{row.status}"><td class="number soft">{place}</td>'
        f"<td>{name}{_settings(row.hyperparameters)}{_status(row)}</td>"
        f'<td class="number">{_mean(scores)}</td><td>{strip}</td>'
        f'<td class="number soft">{_percent(scores.constant_baseline if scores else None)}</td>'
        f'<td class="number">{_mean(row.test)}</td></tr>'
    )


def _settings(point: Mapping[str, Any]) -> str:
    words = []
    for key, value in point.items():
        if key == "initialize_from":
            uri = str(value.get("uri", "")) if isinstance(value, Mapping) else str(value)
            words.append(f"from {uri.rstrip('/').rpartition('/')[0].rpartition('/')[2]}")
        else:
            words.append(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}")
    return f'<span class="soft settings">{escape(", ".join(words))}</span>' if words else ""


def _status(row: Row) -> str:
    if row.status == "finished":
        return ""
    reason = f": {row.reason}" if row.status == "failed" else row.reason.removeprefix("stopped")
    return f'<span class="status {row.status}">{escape(row.status + reason)}</span>'


def per_label(content: Content, published: Published | None) -> str:
    """Return F1 per label of each family's winner, beside the best constant answer and papers."""
    labels = content.labels
    rows: list[str] = []
    for family in content.families:
        winner = family.winner
        if winner is None or winner.validation is None:
            continue
        scores = winner.test or winner.validation
        part = "test" if winner.test else "validation"
        rows.append(
            _scores_row(
                f"{_name(family.model)} <small>{part}</small>",
                scores.per_label,
                scores.mean,
                labels,
                klass="ours",
            )
        )
        if len(content.families) == 1 or family is content.families[0]:
            rows.append(
                _scores_row(
                    "best constant answer",
                    scores.constant,
                    scores.constant_baseline,
                    labels,
                    klass="soft",
                )
            )
    if published:
        text = f"published on {published.dataset}"
        rows.append(f'<tr class="break"><td colspan="{len(labels) + 2}">{text}</td></tr>')
        for one in published.f1:
            per = {name: score / 100 for name, score in one.per_label.items()}
            rows.append(_scores_row(one.method, per, one.mean / 100, labels, klass="paper"))
    return _table(("", *labels, "mean"), rows)


def _scores_row(
    name: str, per: Mapping[str, float], mean: float, labels: Sequence[str], *, klass: str
) -> str:
    cells = "".join(f'<td class="number">{_percent(per.get(label))}</td>' for label in labels)
    last = f'<td class="number"><b>{_percent(mean)}</b></td>'
    return f'<tr class="{klass}"><td>{name}</td>{cells}{last}</tr>'


def accuracy_and_auc(content: Content, published: Published | None) -> str:
    """Return accuracy and AUC per unit, methods side by side, as MGRR-Net's table has them."""
    found = []
    for family in content.families:
        records: Sequence[TrialRecord | TestRecord] = family.tests or family.trials
        accuracy = _mean_over([one.accuracy_per_label for one in records])
        auc = _mean_over([one.auc for one in records])
        if accuracy or auc:
            found.append((_name(family.model), accuracy, auc))
    if not found:
        return ""
    names = [name for name, _, _ in found]
    head = (
        f'<tr><th></th><th colspan="{len(found)}">accuracy</th>'
        f'<th colspan="{len(found)}">AUC</th></tr>'
        f"<tr><th></th>{''.join(f'<th>{escape(name)}</th>' for name in names * 2)}</tr>"
    )
    rows = []
    for label in content.labels:
        cells = [one[1].get(label) for one in found] + [one[2].get(label) for one in found]
        rows.append(_cells_row(escape(label), cells))
    means = [statistics.fmean(one[1].values()) if one[1] else None for one in found]
    means += [statistics.fmean(one[2].values()) if one[2] else None for one in found]
    rows.append(_cells_row("<b>mean</b>", means))
    if published and published.accuracy:
        texts = [
            f"{method}: accuracy {value:g}, AUC {published.auc[method]:g}"
            for method, value in published.accuracy.items()
        ]
        rows.append(
            f'<tr class="paper"><td colspan="{2 * len(found) + 1}">published on '
            f"{published.dataset}, mean: {escape('; '.join(texts))}</td></tr>"
        )
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _cells_row(name: str, cells: Sequence[float | None]) -> str:
    return (
        f"<tr><td>{name}</td>"
        + "".join(f'<td class="number">{_percent(one)}</td>' for one in cells)
        + "</tr>"
    )


def landmarks(content: Content, published: Published | None) -> str:
    """Return the mean landmark error of each family's winner, in percent; "" for none."""
    rows = []
    for family in content.families:
        records: Sequence[TrialRecord | TestRecord] = family.tests or family.trials
        errors = [one.landmark_error for one in records if one.landmark_error is not None]
        if not errors:
            continue
        name = _name(family.model)
        paper = published.landmark_error.get(name) if published else None
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        mean = f"{statistics.fmean(errors):.2f} ± {spread:.2f}"
        rows.append(
            f'<tr><td>{escape(name)}</td><td class="number">{mean}</td>'
            f'<td class="number soft">{f"{paper:.2f}" if paper else "-"}</td></tr>'
        )
    where = f"published on {published.dataset}" if published else "published"
    return _table(("", "error, % of the inter-ocular distance", where), rows) if rows else ""


def ablation(content: Content) -> str:
    """Return a table of named rows as the papers have it; "" where the experiment is a search."""
    if not content.experiment.rows:
        return ""
    known = {row.row: row for row in content.board.rows}
    labels = content.labels
    rows = []
    for name, row in content.experiment.rows.items():
        found = known.get(name)
        scores = (found.test or found.validation) if found else None
        cells = "".join(
            f'<td class="number">{_percent(scores.per_label.get(label) if scores else None)}</td>'
            for label in labels
        )
        mean = row.published.get("mean")
        why = row.left_out or (found.reason if found else "it has not run")
        note = "" if scores else f'<span class="status">{escape(why)}</span>'
        rows.append(
            f"<tr><td>{escape(row.label or name)}{note}</td>{cells}"
            f'<td class="number"><b>{_mean(scores)}</b></td>'
            f'<td class="number soft">{f"{mean:.1f}" if mean is not None else "-"}</td></tr>'
        )
    return _table(("", *labels, "mean", "published"), rows)


def rungs(family: Family) -> str:
    """Return how many configurations came to each rung and how they stood."""
    grouped: dict[int, list[Any]] = defaultdict(list)
    for one in family.rungs:
        grouped[one.epoch].append(one)
    stopped: dict[int, int] = defaultdict(int)
    for stop in family.stops:
        stopped[stop.epoch] += 1
    rows = []
    for epoch in sorted(grouped, key=lambda one: (one == ENDED, one)):
        found = grouped[epoch]
        best = max(found, key=lambda one: one.standing.mean)
        rows.append(
            f"<tr><td>{'folds ended' if epoch == ENDED else f'epoch {epoch}'}</td>"
            f'<td class="number">{len(found)}</td><td class="number">{stopped[epoch]}</td>'
            f'<td class="number">{_percent(best.standing.mean)}</td>'
            f"<td><code>{escape(best.member.config_id)}</code></td></tr>"
        )
    table = _table(("rung", "configurations", "given up", "best mean F1", ""), rows)
    if family.stops:
        items = "".join(
            f"<li><code>{escape(one.config_id)}</code> {escape(one.reason)}</li>"
            for one in family.stops
        )
        table += f"<details><summary>why each was given up</summary><ul>{items}</ul></details>"
    return table


def cost(content: Content) -> str:
    """Return what each family took."""
    rows = []
    for family in content.families:
        one = family.cost
        share = one.epochs / one.all_epochs if one.all_epochs else 0.0
        hours = [f"{hours:.2f}" for hours in (one.hours, one.cpu_hours, one.gpu_hours)]
        texts = [f"{one.trials:,}", f"{one.epochs:,}", f"{100 * share:.0f} %", *hours]
        cells = "".join(f'<td class="number">{text}</td>' for text in (*texts, one.crashes))
        rows.append(f"<tr><td>{escape(_name(family.model))}</td>{cells}</tr>")
    return _table(
        ("", "trials", "epochs", "of all epochs", "hours", "CPU hours", "GPU hours", "crashes"),
        rows,
    )


def _mean_over(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    labels = dict.fromkeys(label for part in parts for label in part)
    return {
        label: statistics.fmean(part[label] for part in parts if label in part) for label in labels
    }


def _name(model: str) -> str:
    return NAMES.get(model, model)


def _mean(scores: Scores | None) -> str:
    if scores is None:
        return '<span class="soft">-</span>'
    spread = f' <span class="soft">± {100 * scores.std:.1f}</span>' if len(scores.folds) > 1 else ""
    return f"{100 * scores.mean:.1f}{spread}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f"<th>{escape(one)}</th>" for one in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
