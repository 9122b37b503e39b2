"""The page of `aufleet data inspect --html` in a real browser."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from painted_importer import painted
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.data.importers.contract import Unusable
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.storage import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

NUM_SUBJECTS, NUM_FRAMES = 7, 5
SPEC = DatasetSpec(
    name="faces", version="1", units=(1, 2, 12), source="<script>alert(1)</script>", seed=0
)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def dataset_uri(local_store: Store) -> str:
    """Seven subjects: AU1 in every second frame, AU2 with it, AU12 never coded; graded."""
    lost = [Unusable(subject="S0", sequence="T1", frame=9, reason="no face found")]
    publish_dataset(
        ((f"S{number}", records_of(f"S{number}")) for number in range(NUM_SUBJECTS)),
        spec=SPEC,
        store=local_store,
        unusable=lost,
    )
    return local_store.uri_of(SPEC.prefix)


def records_of(subject: str) -> list[FrameRecord]:
    points = np.full((68, 2), 100, dtype=np.float32)
    return [
        replace(
            painted(subject, frame, red=40 * (frame % 5)),
            units=(frame % 2, frame % 2, 9),
            intensities=(3 * (frame % 2), 5 * (frame % 2), 0),
            landmarks_68=points,
            house_brackmann=4,
            grade=2,
            side="left",
            exercise="smile",
        )
        for frame in range(NUM_FRAMES)
    ]


@pytest.fixture
def file(dataset_uri: str, tmp_path: Path) -> Path:
    """The page."""
    file = tmp_path / "pages" / "faces.html"
    done = CliRunner().invoke(app, ["data", "inspect", dataset_uri, "--html", str(file)])
    assert done.exit_code == 0, done.output
    return file


@pytest.fixture
def page(browser: "Browser", file: Path) -> "Iterator[Page]":
    """The page, opened; it asks for nothing else and complains of nothing."""
    said: list[str] = []
    asked: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def test_it_opens_and_every_picture_loads_with_its_landmarks(page) -> None:
    assert page.title() == "faces 1"
    widths = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert widths == [200] * 24
    points = page.eval_on_selector_all(
        ".face svg", "all => all.map(one => one.querySelectorAll('circle').length)"
    )
    assert points == [68] * 24
    assert page.locator(".face svg").first.is_visible()
    page.locator("#points").uncheck()
    assert not page.locator(".face svg").first.is_visible()


def test_it_says_what_the_data_set_holds(page) -> None:
    tiles = page.locator(".tile").all_inner_texts()
    assert tiles[:2] == [f"{NUM_SUBJECTS}\nsubjects", f"{NUM_SUBJECTS * NUM_FRAMES}\nframes"]
    # The source is shown as text and runs nothing.
    assert "<script>alert(1)</script>" in page.locator("header").inner_text()
    text = page.locator("body").inner_text()
    assert "never coded" in text
    assert "no face found" in text
    heat = page.locator("table.heat tbody tr").all_inner_texts()
    assert [row.split() for row in heat] == [
        ["AU1", "·", "100", "·"],
        ["AU2", "100", "·", "·"],
        ["AU12", "·", "·", "·"],
    ]
    for word in ("medium", "left", "smile", "test of fold 3"):
        assert word in text


def test_it_is_dark_where_the_reader_likes_it_dark(page) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(map(int, colour[4:-1].split(",")))
    assert brightness["light"] > 600
    assert brightness["dark"] < 150


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_a_telephone_and_a_desk(page, width) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_for_its_owner_and_written_whole(file: Path) -> None:
    assert file.stat().st_mode & 0o077 == 0
    assert [one.name for one in file.parent.iterdir()] == ["faces.html"]
    assert file.read_text().rstrip().endswith("</html>")


def test_a_page_that_cannot_be_written_is_one_error(dataset_uri: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")

    done = CliRunner().invoke(
        app, ["data", "inspect", dataset_uri, "--html", str(tmp_path / "taken" / "page.html")]
    )

    assert "cannot be written" in str(done.exception)
