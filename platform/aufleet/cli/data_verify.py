"""`aufleet data verify`: is every byte of a data set as it was published?"""

import typer

from aufleet.cli.data_progress import objects_bar
from aufleet.cli.output import console, errors, print_json


def verify_command(
    uri: str = typer.Argument(help="URI of a data set, or NAME/VERSION below the root."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Read every object that the manifest names and check its digest; exit code 1 on damage.

    Example: aufleet data verify bp4d/1
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.data.verify import named_objects, verify_dataset

    dataset = open_dataset(uri)
    named, withdrawn = named_objects(dataset), dataset.withdrawn_keys()
    total = sum(one.size_bytes for one in named)
    with objects_bar("verifying", total=total) as advance:
        damages = verify_dataset(dataset, progress=advance)
    if as_json:
        print_json(
            {
                "uri": dataset.uri,
                "objects": len(named),
                "size_bytes": total,
                "damaged": [str(damage) for damage in damages],
                "withdrawn": sorted(withdrawn),
            }
        )
    else:
        for damage in damages:
            errors.print(f"[bold red]damaged[/] {damage}", soft_wrap=True)
        whole = f"{len(named) - len(damages)} of {len(named)} objects are whole"
        console.print(f"{whole}, {total / 1e6:.1f} MB read")
        if withdrawn:
            console.print(f"deleted because subjects withdrew: {len(withdrawn)}")
    if damages:
        raise typer.Exit(1)
