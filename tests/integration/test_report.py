"""The report in a real browser: it opens, shows its parts, and fits a phone."""

import json
import shutil

import pytest
from searching.made_up import make_up
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.storage import open_store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report written by `aufleet report`."""
    folder = tmp_path_factory.mktemp("report")
    store, _ = make_up(open_store(str(folder / "root")))
    out = folder / "new" / "page.html"
    result = CliRunner().invoke(app, ["report", store.uri, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert store.read("report/index.html") == out.read_bytes()
    assert answer == {"page": str(out), "stored": store.uri_of("report/index.html")}
    return out


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that the system has."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install the package chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as one:
        browser = one.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_without_a_network_and_fits_the_screen(page_file, browser, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(page_file.as_uri())
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    titles = page.locator("h2").all_text_contents()
    assert titles == [
        "Leaderboard", "F1 per unit", "Accuracy and AUC", "Landmarks", "Learning curves",
        "Settings", "Rungs", "Cost",
    ]  # fmt: skip
    assert page.locator("svg.curves polyline").count() >= 30
    for box in (one.bounding_box() for one in page.locator("svg.figure").all()):
        assert box["width"] > 200, "a figure that can be read"
        assert box["height"] > 100
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(paper.removeprefix("rgb(").split(",")[0])
    assert (red > 128) == (scheme == "light")
    page.locator("summary").first.click()
    assert page.locator("details[open] tr.stopped").first.is_visible()
    context.close()
