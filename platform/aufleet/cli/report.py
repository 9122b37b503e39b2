"""`aufleet report`: what a search found, as one HTML page."""

from pathlib import Path

import typer

from aufleet.cli.leaderboard import experiment_store
from aufleet.cli.output import console, print_json


def command(
    experiment: str = typer.Argument(help="Name or URI of an experiment."),
    out: Path | None = typer.Option(
        None, "--out", help="Where to write the page; default: NAME-report.html."
    ),
    curves: Path | None = typer.Option(
        None, "--curves", help="Also write the learning curves, for `aufleet tune --simulate`."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Write the report of an experiment: one HTML page that needs no network and no script.

    Leaderboards beside the best constant answer, F1 per unit beside the papers, learning curves,
    settings and their importance, rungs and cost. It can be asked for while the search runs. A copy
    lies in the store, under report/index.html of the experiment.

    Example: aufleet report demo

    Example: aufleet report bp4d-search --out docs/search.html
    """
    from aufleet.tuning.curves import record, write_curves
    from aufleet.tuning.ledger import Ledger
    from aufleet.tuning.report import read_content, render

    store = experiment_store(experiment)
    content = read_content(store)
    page = render(content)
    file = out or Path(f"{content.experiment.name}-report.html")
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(page, encoding="utf-8")
    unfinished.replace(file)
    store.write("report/index.html", page.encode())
    if curves is not None:
        trials = Ledger(store).trials()
        write_curves(record(trials, folds=content.experiment.folds), curves)
    if as_json:
        print_json({"page": str(file), "stored": store.uri_of("report/index.html")})
    else:
        console.print(f"{file} is written; open it in a browser", soft_wrap=True)
