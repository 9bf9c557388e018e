"""The report in a real browser: it renders, the slider walks, nothing asks the network, phones, dark rooms."""

import shutil

import pytest
from helpers.stored import make_study

from jaxreg.lab.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
QUIET = ["gpu", "quic", "background-networking", "component-update", "sync"]
ARGUMENTS = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return report([make_study(folder / "weight_regularization", draws=32)], folder / "report.html")


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=["desktop", "phone", "dark"])
def page(request, chromium, file):
    options = {
        "desktop": {"viewport": {"width": 1200, "height": 900}},
        "phone": {"viewport": {"width": 390, "height": 844}},
        "dark": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"},
    }
    context = chromium.new_context(**options[request.param])
    page = context.new_page()
    page.kind, page.requests, page.complaints = request.param, [], []
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    context.close()


def test_it_renders_without_a_word_on_the_console_or_to_the_network(page, file):
    assert page.locator(".verdict .lead").first.inner_text().startswith("Use L2 with strength 0.01: it halves the test")
    box = page.locator(".verdict figure svg").bounding_box()
    assert page.kind == "phone" or box["y"] + box["height"] <= page.viewport_size["height"]  # on the first screen
    assert page.locator(".stop svg:visible").count() == 3
    assert page.locator("svg:visible").count() > 8
    page.locator("summary").last.click()
    assert page.get_by_text("open_study(Path(").is_visible()
    assert page.requests == [file.as_uri()]
    assert page.complaints == []


def test_the_slider_walks_the_strength_and_the_pictures_change(page):
    slider = page.locator(".walk input")
    seen = []
    for place, label in enumerate(["none", "L2(0.001)", "L2(0.01)"]):
        slider.focus()
        page.keyboard.press("Home")
        for _ in range(place):
            page.keyboard.press("ArrowRight")
        assert page.locator(".walk output").inner_text() == label
        assert slider.get_attribute("aria-valuetext") == label
        assert page.locator(".stop:visible").count() == 1
        assert page.locator(".stop:visible").get_attribute("data-label") == label
        marks = page.locator(".walk svg [data-stop]")
        shown = {
            mark.get_attribute("data-stop") for mark in marks.all() if mark.get_attribute("visibility") != "hidden"
        }
        assert shown == {str(place)}
        seen.append(page.locator(".stop:visible .pictures").screenshot())
    assert len(set(seen)) == 3
    assert page.complaints == []


def test_nothing_is_wider_than_the_page(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for box in (picture.bounding_box() for picture in page.locator("figure:visible").all()):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= page.viewport_size["width"]
        assert box["width"] > 250


def test_a_click_on_a_heading_sorts_its_table_by_numbers(page):
    if page.kind == "phone":
        return  # cards have no heading
    table = page.locator("table").filter(has_text="chosen in").first
    heading = table.locator("thead button").nth(1)
    losses = []
    for order in ("ascending", "descending"):
        heading.click()
        assert table.locator("thead th").nth(1).get_attribute("aria-sort") == order
        losses.append([float(cell.inner_text()) for cell in table.locator("tbody tr td:nth-child(2)").all()])
    assert losses[0] == sorted(losses[0])
    assert losses[1] == sorted(losses[0], reverse=True)


def test_a_phone_shows_a_row_as_a_card_that_names_every_cell(page):
    cell = page.locator("td[data-column='chosen in']").first
    before = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert ("chosen in" in before) == (page.kind == "phone")


def test_pointing_at_a_row_of_the_forest_plot_tells_its_recipe_and_values(page):
    hints = page.locator(".verdict .hint title").all_text_contents()
    assert len(hints) == 4  # two recipes, two measures
    assert hints[1].startswith("L2(0.01): test cross-entropy \N{MINUS SIGN}0.")


def test_print_has_no_column_cut_and_leaves_the_calls_out(chromium, file):
    context = chromium.new_context(viewport={"width": 703, "height": 1000})  # A4 less its margins
    page = context.new_page()
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("[...document.querySelectorAll('.wide')].every(box => box.scrollWidth <= box.clientWidth + 1)")
    assert not page.get_by_text("open_study(Path(").is_visible()
    context.close()


def luminance(page, expression):
    red, green, blue = page.evaluate(
        f"(() => {{ const c = {expression}; const d = document.createElement('canvas').getContext('2d');"
        "d.fillStyle = c; d.fillRect(0, 0, 1, 1); return [...d.getImageData(0, 0, 1, 1).data].slice(0, 3); })()"
    )
    linear = [v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("what", ["p", "td", "figcaption", ".stop:not([hidden]) svg text"])
def test_text_stands_out_in_light_and_in_dark(page, what):
    paper = luminance(page, "getComputedStyle(document.body).backgroundColor")
    assert (paper < 0.05) == (page.kind == "dark")
    colour = "fill" if "svg" in what else "color"
    ink = luminance(page, f"getComputedStyle(document.querySelector('{what}')).{colour}")
    low, high = sorted((paper, ink))
    assert (high + 0.05) / (low + 0.05) > 4.5  # WCAG 2.1, level AA


def test_it_is_read_without_scripts(chromium, file):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(".stop").count() == 3
    assert all(stop.is_visible() for stop in page.locator(".stop").all())
    context.close()
