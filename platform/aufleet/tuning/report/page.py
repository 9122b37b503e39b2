"""The report as one HTML file that opens anywhere, also without a network."""

from html import escape
from pathlib import Path

from aufleet.data.html_page import html_page
from aufleet.tuning.judge import ENDED
from aufleet.tuning.report import figures, tables
from aufleet.tuning.report.content import Content, Family
from aufleet.tuning.report.importance import importances
from aufleet.tuning.report.published import NAMES, Published, table_for

_AXES = 6
"""Settings that parallel coordinates show."""


def render(content: Content) -> str:
    """Return the page."""
    published = table_for(content.labels, dataset=content.experiment.dataset)
    sections = [
        _header(content),
        _leaderboards(content),
        _section(
            "Ablation",
            "The rows of the paper's table; F1 in percent, mean over folds. What is published "
            "stands beside it, never as a target.",
            tables.ablation(content),
        ),
        _per_label(content, published),
        _section(
            "Accuracy and AUC",
            "Of each family's winner, in percent, mean over folds.",
            tables.accuracy_and_auc(content, published),
        ),
        _section(
            "Landmarks",
            "Mean distance over the inter-ocular distance, of each family's winner.",
            tables.landmarks(content, published),
        ),
        _curves(content),
        _settings(content),
        _rungs(content),
        _section(
            "Cost",
            "Hours that trials held their resources, added up. All epochs: what every "
            "configuration would have taken with all its folds.",
            tables.cost(content),
        ),
    ]
    title = f"{content.experiment.name}: report"
    style = Path(__file__).with_name("page.css").read_text()
    return html_page(title, style=style, body=f"{''.join(sections)}{_footer()}")


def _header(content: Content) -> str:
    rows = content.board.rows
    counts = {
        status: sum(row.status == status for row in rows)
        for status in ("finished", "stopped", "failed")
    }
    winner = content.board.winner
    best = f"{100 * winner.validation.mean:.1f}" if winner and winner.validation else "-"
    gpu = sum(one.cost.gpu_hours for one in content.families)
    cpu = sum(one.cost.cpu_hours for one in content.families)
    tiles = {
        "configurations": f"{len(rows):,}",
        "trained on all folds": f"{counts['finished']:,}",
        "given up early": f"{counts['stopped']:,}",
        "failed": f"{counts['failed']:,}",
        "best mean F1, %": best,
        ("GPU hours" if gpu else "CPU hours"): f"{gpu or cpu:.2f}",
    }
    told = "".join(
        f"<div class='tile'><b>{value}</b><span>{name}</span></div>"
        for name, value in tiles.items()
    )
    task = "action units" if content.experiment.task == "au" else "palsy grades"
    paper = f"<p>{escape(content.experiment.paper)}</p>" if content.experiment.paper else ""
    note = ""
    if content.experiment.shuffle_labels:
        note = '<p class="note">Trained on shuffled labels: a check, not a result.</p>'
    return (
        f"<header><h1>{escape(content.experiment.name)}</h1>"
        f"<p>{task} on <code>{escape(content.experiment.dataset)}</code></p>{paper}"
        f"<div class='tiles'>{told}</div>{note}</header>"
    )


def _leaderboards(content: Content) -> str:
    parts = []
    for family in content.families:
        table = tables.leaderboard(family, shuffled=content.shuffled.get(family.model))
        parts.append(f"<h3>{escape(_name(family))}</h3><div class='card'>{table}</div>")
    name = content.experiment.name
    control = (
        ""
        if content.shuffled or content.experiment.shuffle_labels
        else " To see what shuffled labels give, add <code>control: true</code> to the file, or "
        f"run it once more with <code>--set name={escape(name)}-shuffled --set "
        "shuffle_labels=true</code>."
    )
    return (
        "<section><h2>Leaderboard</h2><p>Macro F1 in percent on the validation subjects, mean and "
        "spread over folds, the best first. The thin mark is the best constant answer: always or "
        f"never.{control}</p>{''.join(parts)}</section>"
    )


def _per_label(content: Content, published: Published | None) -> str:
    what = "unit" if content.experiment.task == "au" else "grade"
    return _section(
        f"F1 per {what}",
        "Each family's winner, in percent, mean over folds. The papers' scores are from other "
        "data: they say how hard a label is, and are no target.",
        tables.per_label(content, published),
    )


def _curves(content: Content) -> str:
    parts = []
    for family in content.families:
        winner = family.winner
        figure = figures.learning_curves(family.curves, winner=winner.config_id if winner else None)
        parts.append(
            f"<figure class='card'><figcaption>{escape(_name(family))}</figcaption>"
            f"{figure}</figure>"
        )
    return (
        "<section><h2>Learning curves</h2><p>Validation F1 after each epoch, the mean of the folds "
        "that a configuration has begun. <i class='key winner'></i> winner "
        "<i class='key other'></i> ran to its end <i class='key stopped'></i> given up</p>"
        f"<div class='figures'>{''.join(parts)}</div></section>"
    )


def _settings(content: Content) -> str:
    parts = [_family_settings(family) for family in content.families]
    if not any(parts):
        return ""
    return (
        "<section><h2>Settings</h2><p>Each line is a configuration, the best in the strongest "
        "colour. Importance: the share of the spread between configurations that a setting "
        "explains on its own. Where configurations were given up early, both go by the first "
        f"rung, which all have reached.</p>{''.join(parts)}</section>"
    )


def _comparable(family: Family) -> tuple[str, dict[str, float]]:
    """Return what scores are, and those that all configurations can be compared by.

    With early stopping only the best have a score at the end; all have one at the first rung.
    """
    epochs = {one.epoch for one in family.rungs if one.epoch != ENDED}
    if epochs and family.stops:
        first = min(epochs)
        rows = [one for one in family.rungs if one.epoch == first]
        found = {one.member.config_id: one.standing.mean for one in rows}
        return f"F1 at epoch {first}", found
    rows = [row for row in family.rows if row.validation]
    return "F1", {row.config_id: row.validation.mean for row in rows if row.validation}


def _family_settings(family: Family) -> str:
    name, found = _comparable(family)
    known = [row for row in family.rows if row.config_id in found and not row.row]
    points = [
        {
            key: value
            for key, value in row.hyperparameters.items()
            if key not in ("initialize_from", "seed")
        }
        for row in known
    ]
    scores = [found[row.config_id] for row in known]
    keys = sorted({key for point in points for key in point})
    varied = [key for key in keys if len({str(point.get(key)) for point in points}) > 1]
    if len(known) < 2 or not varied:
        return ""
    shares = importances(points, scores)
    first = [key for key in shares if key in varied] or varied
    figure = figures.parallel_coordinates(points, scores, keys=first[:_AXES], name=name)
    table = (
        figures.bars(shares)
        if shares
        else '<p class="soft">Too few configurations to tell importance.</p>'
    )
    return (
        f"<h3>{escape(_name(family))}</h3><div class='pair'><div class='card'>{figure}</div>"
        f"<div class='card'>{table}</div></div>"
    )


def _rungs(content: Content) -> str:
    parts = [
        f"<h3>{escape(_name(family))}</h3><div class='card'>{tables.rungs(family)}</div>"
        for family in content.families
        if family.rungs and content.experiment.early_stopping.kind in ("asha", "median")
    ]
    if not parts:
        return ""
    return (
        "<section><h2>Rungs</h2><p>Where configurations were compared, by their means over the "
        f"same folds at the same epoch.</p>{''.join(parts)}</section>"
    )


def _section(title: str, text: str, body: str) -> str:
    if not body:
        return ""
    head = f"<h2>{escape(title)}</h2><p>{escape(text)}</p>"
    return f"<section>{head}<div class='card'>{body}</div></section>"


def _footer() -> str:
    import aufleet

    return (
        f"<footer>aufleet {aufleet.__version__}. Research use only; not a medical device.</footer>"
    )


def _name(family: Family) -> str:
    return NAMES.get(family.model, family.model)
