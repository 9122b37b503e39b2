"""The shape of the tree: what a reader finds in 30 seconds, and what would break Python."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENTRIES = {
    "platform",
    "models",
    "protos",
    "deploy",
    "tests",
    "docs",
    "pyproject.toml",
    "constraints.txt",
    "ray_cluster.yaml",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "NOTICE",
    "Makefile",
}


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def test_root_holds_exactly_the_entries_a_reader_expects() -> None:
    entries = {path.split("/")[0] for path in _tracked()}
    assert {entry for entry in entries if not entry.startswith(".")} == ENTRIES


@pytest.mark.parametrize(
    ("folder", "package"), [("platform", "aufleet"), ("models", "aufleet_models")]
)
def test_an_import_root_holds_its_one_package_and_nothing_else(folder: str, package: str) -> None:
    # A loose module or an __init__.py there would shadow the standard library's `platform`.
    inside = {path.split("/")[1] for path in _tracked() if path.startswith(f"{folder}/")}
    assert inside == {package}
    left = {entry.name for entry in (ROOT / folder).iterdir()} - {"__pycache__"}
    assert left == {package}


def test_the_standard_library_is_not_shadowed() -> None:
    code = "import platform, uuid; assert platform.python_version(); import aufleet, aufleet_models"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)


def test_importing_aufleet_is_light() -> None:
    code = (
        "import sys, aufleet; "
        "assert not {'torch', 'numpy', 'ray', 'grpc'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_drawers() -> None:
    names = {Path(path).stem for path in _tracked() if path.endswith(".py")}
    assert not names & {"util", "utils", "helper", "helpers", "misc", "common", "manager"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_the_bare_wheel_asks_for_the_client_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    bare = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [line.split(">")[0].split("<")[0] for line in bare] == ["grpcio", "protobuf"]


def test_the_bare_wheel_runs_the_client_with_its_two_dependencies(
    wheel: Path, tmp_path: Path
) -> None:
    import google.protobuf
    import grpc
    import typing_extensions

    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    site = Path(grpc.__file__).parent.parent
    assert Path(google.protobuf.__file__).parent.parent.parent == site
    (target / "grpc").symlink_to(site / "grpc")
    (target / "google").symlink_to(site / "google")
    (target / "typing_extensions.py").symlink_to(typing_extensions.__file__)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import aufleet.client as c; "
        "print(c.__file__, c.Client.__name__, c.AsyncClient.__name__)"
    )
    # -S and -I: no site-packages, so what is not among the two dependencies is not there.
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [
        str(target / "aufleet" / "client" / "__init__.py"),
        "Client",
        "AsyncClient",
    ]


def test_the_bare_wheel_says_how_to_get_the_command_line(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); "
        "from aufleet.cli.entry import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error the command line needs more: pip install 'aufleet[all]'\n"


def test_the_cluster_file_is_accepted_by_ray() -> None:
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    validate_config(prepare_config(config))
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert any(kind["resources"].get("GPU") for kind in types.values())
