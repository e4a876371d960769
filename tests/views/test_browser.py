"""The page in a real browser: Chromium (Debian: apt-get install chromium), driven by Playwright."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.support.browser import DESKTOP, chromium, visits

PHONE = {"width": 360, "height": 740}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, small_report):
    with visits(browser, small_report) as visit:
        yield visit


def column(page, table: str, heading: str) -> tuple[list[str], list[float]]:
    """The methods and the numbers of a column, from the top."""
    rows = page.locator(f"table[aria-label='{table}']")
    index = rows.locator("thead tr").last.locator("th").all_inner_texts().index(heading)
    methods = rows.locator("tbody th").all_inner_texts()
    numbers = rows.locator(f"tbody tr td:nth-child({index + 1})")
    return methods, [float(n.get_attribute("data-value")) for n in numbers.all()]


def test_the_page_opens_without_a_network_and_is_not_blank(visit):
    page = visit()
    assert page.title().startswith("Explanation methods")
    pixels = np.asarray(Image.open(BytesIO(page.screenshot())).convert("L"))
    assert pixels.std() > 10
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_tables_are_sorted_by_mouse_and_by_keyboard(visit):
    page = visit()
    heading = page.locator("table[aria-label='Segmentation'] thead button", has_text="mAP").first
    methods, before = column(page, "Segmentation", "mAP ↑")
    heading.click()
    sorted_methods, descending = column(page, "Segmentation", "mAP ↑")
    assert descending == sorted(before, reverse=True)  # more is better, so the best comes first
    assert sorted_methods == [methods[before.index(value)] for value in descending]  # rows stay whole
    assert heading.locator("xpath=..").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")  # the heading has the focus
    assert column(page, "Segmentation", "mAP ↑")[1] == sorted(before)
    positive = page.locator("table[aria-label='Perturbation AUC'] thead button", has_text="Positive").first
    positive.focus()
    page.keyboard.press("Space")
    numbers = column(page, "Perturbation AUC", "Positive test, most relevant first ↓")[1]
    assert numbers == sorted(numbers)  # less is better
    page.locator("table[aria-label='Segmentation'] thead button", has_text="method").click()
    assert column(page, "Segmentation", "mAP ↑")[0] == sorted(methods, key=str.lower)
    assert heading.locator("xpath=..").get_attribute("aria-sort") is None


def test_empty_entries_stay_at_the_end(visit):
    page = visit()
    table = page.locator("table[aria-label='Segmentation']")
    published = table.locator("thead button", has_text="mAP").last
    for _ in range(2):
        published.click()
        assert table.locator("tbody tr").last.locator("td").last.inner_text() == "–"
        assert table.locator("tbody tr").first.locator("td").last.inner_text() != "–"


def gallery(page, task: str):
    return page.locator(".gallery").filter(has=page.locator(f"#gallery-{task}"))


def first_sample(page, task: str):
    """The first sample of a gallery, after its group was opened."""
    group = gallery(page, task).locator(".group").first
    group.locator("summary").click()
    return group.locator(".sample").first


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_table_shows_that_it_goes_on_while_it_can_be_scrolled(visit, viewport):
    page = visit(viewport)
    for frame in page.locator(".frame").all():
        scroll, hint = frame.locator(".scroll"), frame.locator(".hint")

        def edges(frame=frame) -> list[str]:
            return [side for side in ("left", "right") if frame.get_attribute(f"data-{side}") is not None]

        is_wide = scroll.evaluate("e => e.scrollWidth > e.clientWidth + 1")
        assert hint.is_visible() == is_wide
        assert edges() == (["right"] if is_wide else [])
        shadow = "(e, part) => getComputedStyle(e, part).backgroundImage"
        assert ("gradient" in frame.evaluate(shadow, "::after")) == is_wide
        if is_wide:
            scroll.evaluate("e => (e.scrollLeft = e.scrollWidth)")
            page.wait_for_function("e => !e.hasAttribute('data-right')", arg=frame.element_handle())
            assert edges() == ["left"]
            assert "gradient" not in frame.evaluate(shadow, "::after")
    if viewport == PHONE:
        assert page.locator(".frame[data-left]").count() >= 3  # tables are wider than a phone


def test_the_gallery_is_folded_and_in_the_navigation(visit):
    page = visit()
    gallery_height = "document.querySelector('[aria-labelledby=gallery]').offsetHeight"
    folded = page.evaluate(gallery_height)
    assert not page.locator(".sample").first.is_visible()
    page.evaluate("document.querySelectorAll('.group').forEach((group) => (group.open = true))")
    assert page.evaluate(gallery_height) > 3 * folded
    page.locator("nav a", has_text="Token F1").last.click()
    assert page.evaluate("location.hash") == "#gallery-token_f1"


def test_the_gallery_is_narrowed_to_a_method_and_a_class(visit):
    page = visit()
    shown = gallery(page, "segmentation")
    by_method, by_class = shown.locator("select").all()
    samples, tiles = shown.locator(".sample:visible"), shown.locator(".tiles button:visible")

    def captions() -> list[str]:
        return [tile.get_attribute("data-caption") for tile in tiles.all()]

    by_method.select_option(label="GradCAM")
    all_samples = samples.count()  # the groups open
    assert all_samples == shown.locator(".sample").count() > 2
    assert len(captions()) == 2 * all_samples
    assert all(caption.startswith("GradCAM for") for caption in captions())
    panes = samples.first.locator(".pane figcaption").all_inner_texts()
    assert panes == captions()[:2]
    name = by_class.locator("option").nth(1).inner_text()
    by_class.select_option(label=name)
    assert 0 < samples.count() < all_samples
    assert all(caption.startswith(f"GradCAM for {name}") for caption in captions())
    assert shown.locator("output").inner_text() == f"{samples.count()} of {all_samples} samples"
    by_method.select_option(label="rollout")  # whose maps are the same for every class
    assert samples.count() == len(captions()) > 0
    by_method.select_option(index=0)
    by_class.select_option(index=0)
    assert samples.count() == all_samples
    assert len(captions()) == shown.locator(".tiles button").count()


def test_what_stands_below_a_chart_can_be_read_on_a_phone(visit):
    page = visit(PHONE)
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    for part in page.locator(".drawing figcaption, .drawing .legend-list, .notes").all():
        assert part.evaluate(size) >= 16
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]


def test_the_gallery_compares_two_maps_by_mouse_and_by_keyboard(visit):
    page = visit()
    sample = first_sample(page, "segmentation")
    tiles, panes = sample.locator(".tiles button"), sample.locator(".pane")

    def pressed() -> list[str]:
        return [
            t.get_attribute("data-caption") for t in tiles.all() if t.get_attribute("aria-pressed") == "true"
        ]

    def shown() -> list[str]:
        return panes.locator("figcaption").all_inner_texts()

    captions = [tile.get_attribute("data-caption") for tile in tiles.all()]
    assert shown() == pressed() == captions[:2]
    tiles.nth(2).click()
    assert shown() == [captions[2], captions[1]]
    tiles.nth(3).focus()
    page.keyboard.press("Enter")
    assert shown() == [captions[2], captions[3]]
    assert pressed() == captions[2:4]
    tiles.nth(3).click()  # shown already
    assert shown() == [captions[2], captions[3]]
    picture = panes.nth(1).locator("img")
    assert picture.get_attribute("src") == tiles.nth(3).locator("img").get_attribute("src")
    assert picture.bounding_box()["width"] > 2 * tiles.nth(3).locator("img").bounding_box()["width"]
    assert picture.get_attribute("alt").startswith("relevance by")


def test_the_gallery_shows_words_with_the_rationale(visit):
    page = visit()
    panes = first_sample(page, "token_f1").locator(".pane")
    texts = panes.locator(".words").all_inner_texts()
    assert len(texts) == 2
    assert texts[0].split() == texts[1].split()
    assert panes.nth(0).locator("u.rationale").count() > 0
    shades = panes.nth(0).locator(".words span").evaluate_all("all => all.map((e) => e.style.background)")
    assert len(set(shades)) > 3


def test_light_and_dark_follow_the_system_and_the_button(visit):
    def ground(page) -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return np.mean([int(c) for c in colour.strip("rgb()").split(",")])

    dark, light = visit(color_scheme="dark"), visit(color_scheme="light")
    assert ground(dark) < 50
    assert ground(light) > 200
    light.locator("#theme").click()  # from the system's to light
    assert ground(light) > 200
    light.locator("#theme").click()
    assert ground(light) < 50
    assert "dark" in light.locator("#theme").inner_text()
    light.reload()
    assert ground(light) < 50  # the choice is kept
    # Axes and text of the figures have the colour of the text of the page.
    text = "getComputedStyle(document.querySelector('.panels svg text')).fill"
    assert dark.evaluate(text) != visit(color_scheme="light").evaluate(text)


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_does_not_scroll_sideways(visit, viewport):
    page = visit(viewport)
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    # The methods stay in sight, in whole words, while the rest of a table scrolls.
    table = page.locator("table[aria-label='Perturbation AUC']")
    width = table.locator("tbody th").first.bounding_box()["width"]
    assert 80 < width < viewport["width"] / 2


def test_the_first_tab_leads_to_the_content(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(("viewport", "color_scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_axe_finds_nothing(visit, viewport, color_scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing"
    )
    page = visit(viewport, color_scheme=color_scheme)
    page.locator("#cells ~ details summary").first.click()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
