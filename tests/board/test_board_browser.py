"""The board's page in a real browser: Chromium (Debian: apt-get install chromium), driven by Playwright."""

import pytest

from bench.board.make import make
from tests.board.synthetic import FLOOR, few_resamples, write_board
from tests.support.browser import DESKTOP, chromium, visits

PHONE = {"width": 390, "height": 844}
RESULTS = "Made up images, Model a: faithfulness, predicted class, protocol clean v1"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    root = tmp_path_factory.mktemp("board")
    write_board(root, {f"m{i:02d}": 0.4 * i for i in range(6)} | {FLOOR: -1.0})
    with few_resamples():
        return make([f"folder={root}"])


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, board):
    with visits(browser, board) as visit:
        yield visit


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_does_not_scroll_sideways_and_methods_stay_in_sight(visit, viewport):
    page = visit(viewport)
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    table = page.locator(f"table[aria-label='{RESULTS}']")
    region = table.locator("xpath=..")
    region.evaluate("e => (e.scrollLeft = e.scrollWidth)")
    name = table.locator("tbody th").first.bounding_box()
    assert name["x"] >= region.bounding_box()["x"] - 1
    assert 80 < name["width"] < viewport["width"] / 2


def test_sorting_keeps_ranks_and_letters_beside_the_number(visit):
    page = visit()
    table = page.locator(f"table[aria-label='{RESULTS}']")
    table.locator("thead button", has_text="srg").click()
    cells = table.locator("tbody tr td:nth-child(2)")
    values = [float(cell.get_attribute("data-value")) for cell in cells.all()]
    assert values == sorted(values, reverse=True)
    standings = cells.locator(".standing").all_inner_texts()
    assert len(standings) == len(values)
    assert all(any(letter.isalpha() for letter in text) for text in standings)


def test_the_filter_hides_models_and_families(visit):
    page = visit()
    views = page.locator(".view:visible")
    assert views.count() == 8
    page.locator("#filter select[name=model]").select_option("model_b")
    assert views.count() == 4
    assert "Model b" in views.first.locator("h3").inner_text()
    assert page.locator("#filtered").inner_text() == "4 of 8 tables of results"
    page.locator("#filter select[name=family]").select_option("gradient")
    rows = views.first.locator("tbody tr:visible th").all_inner_texts()
    assert len(rows) == 3  # two methods of the family, and the floor
    page.locator("#filter select[name=model]").select_option("")
    page.locator("#filter select[name=family]").select_option("")
    assert views.count() == 8


def test_a_method_is_compared_with_every_other(visit):
    page = visit()
    pair = page.locator("#pair")
    assert pair.is_visible()
    pair.locator("select[name=method]").select_option("m05")
    rows = page.locator("#pair-shown tbody tr")
    assert rows.count() == 6
    differences = [
        float(text) for text in page.locator("#pair-shown tbody td:nth-child(2)").all_inner_texts()
    ]
    assert differences == sorted(differences, reverse=True)
    said = dict(zip(rows.locator("th").all_inner_texts(), differences, strict=True))
    pair.locator("select[name=method]").select_option("m00")
    again = dict(
        zip(
            page.locator("#pair-shown tbody th").all_inner_texts(),
            map(float, page.locator("#pair-shown tbody td:nth-child(2)").all_inner_texts()),
            strict=True,
        )
    )
    assert again["m05"] == -said["m00"]


def test_a_link_to_a_method_opens_it(visit):
    page = visit(anchor="#method-m02")
    section = page.locator("#method-m02")
    assert section.evaluate("e => e.open")
    assert section.locator("img").count() == 4
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    page.locator(f"table[aria-label='{RESULTS}'] tbody th a", has_text="m03").click()
    assert page.locator("#method-m03").evaluate("e => e.open")


@pytest.mark.parametrize(("viewport", "color_scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_axe_finds_nothing(visit, viewport, color_scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing"
    )
    page = visit(viewport, color_scheme=color_scheme)
    page.locator("#method-m02 summary").click()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
