"""The HTML report in a real headless Chromium: filters, console, requests, downloads, small screens."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import a_record
from PIL import Image

from sfbench.report.page import MOST_RECORDS, Beside, page
from sfbench.report.site import site
from sfbench.store.album import Album, Shown
from sfbench.values.records import Reading, Record

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium: nox -s browser has it")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the path"
)
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-quic",
)  # fmt: skip


def record(model: str, side: int, dtype: str, speed: float) -> Record:
    readings = [
        Reading(metric="throughput.core", unit="images/s", value=speed, low=speed - 1, high=speed + 1),
        Reading(metric="latency.p50", unit="s", value=1 / speed, low=0.9 / speed, high=1.1 / speed),
        Reading(metric="latency.p90", unit="s", value=1.2 / speed),
        Reading(metric="memory.weights", unit="bytes", value=1 << 24),
        Reading(metric="memory.host_above_loaded", unit="bytes", value=1 << 25),
    ]  # fmt: skip
    name = f"{model}-{side}-{dtype}"
    return a_record(
        readings,
        identity=name,
        case_key=name,
        case={"model": model, "resolution": side, "dtype": dtype, "measure": ["speed", "memory"]},
        machine="m",
        provenance={"machine": {"cpu": "x", "versions": {"torch": "2"}}},
    )


RECORDS = [
    record(model, side, dtype, speed)
    for model, speed in (("</script><b>evil", 40.0), ("other", 10.0))
    for side in (32, 64)
    for dtype in ("fp32", "bf16")
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "report.html").write_text(
        page(RECORDS, Beside(options={}), "A report"), encoding="utf-8"
    )
    for name, text in site(RECORDS, Beside(options={}), {}, "A board"):
        (folder / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "site" / name).write_text(text, encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (*SWITCHES, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(switch)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    opened = webdriver.Chrome(options=options, service=service)
    opened.folder = folder
    yield opened
    opened.quit()


@pytest.fixture(autouse=True)
def report(browser: Any) -> None:
    """Open the report afresh."""
    browser.get((browser.folder / "report.html").as_uri())


def sideways(browser: Any) -> int:
    return int(
        browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    )


def visible(browser: Any) -> list[tuple[str, str, str]]:
    rows = browser.find_elements("css selector", "tr[data-row]")
    names = ("data-model", "data-px", "data-dtype")
    return [tuple(row.get_attribute(n) for n in names) for row in rows if row.is_displayed()]


def test_filters_leave_what_was_chosen_and_say_how_much(browser: Any) -> None:
    assert len(visible(browser)) == 8
    box = 'fieldset[data-filter="{}"] input[value="{}"]'
    browser.find_element("css selector", box.format("dtype", "bf16")).click()
    browser.find_element("css selector", box.format("px", "64")).click()
    assert {row[1:] for row in visible(browser)} == {("32", "fp32")}
    assert browser.find_element("id", "count").text == "2 of 8 rows"
    browser.find_element("css selector", "button[type=reset]").click()
    time.sleep(0.1)
    assert len(visible(browser)) == 8


def test_the_keyboard_reaches_a_filter(browser: Any) -> None:
    browser.execute_script("document.querySelector('.filters input').focus()")
    browser.switch_to.active_element.send_keys(" ")
    assert len(visible(browser)) == 4
    browser.switch_to.active_element.send_keys(" ")
    assert len(visible(browser)) == 8


def test_nothing_is_asked_of_the_network_and_the_console_is_silent(browser: Any) -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.startswith("file:") for url in asked)
    assert [url for url in asked if url.startswith(("http", "ws", "ftp"))] == []


def test_what_a_record_says_is_text(browser: Any) -> None:
    assert browser.find_elements("css selector", "main b") == []
    assert "</script><b>evil" in browser.find_element("css selector", "tbody th").text


def test_the_data_can_be_taken_away(browser: Any) -> None:
    browser.find_element("id", "csv").click()
    target = Path(browser.folder) / "sfbench.csv"
    for _ in range(50):
        if target.is_file():
            break
        time.sleep(0.1)
    lines = target.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("model,resolution,width,batch")
    assert len(lines) == 1 + sum(len(record.readings) for record in RECORDS)


def drawn(browser: Any) -> list[Any]:
    """Wait until the figures in sight are drawn by the script; return them."""
    for _ in range(100):
        found = browser.find_elements("css selector", "[data-figure] svg.marks")
        if found:
            return list(found)
        time.sleep(0.1)
    return []


def test_figures_tell_their_numbers_and_the_command_where_scripts_run(browser: Any) -> None:
    browser.set_window_size(1280, 1600)
    assert drawn(browser)
    tip = browser.find_element("css selector", ".tip")
    for _ in range(20):  # the view answers once it has been drawn a second time
        browser.execute_script(
            "const mark = document.querySelector('[data-figure] .mark-symbol path');"
            "const box = mark.getBoundingClientRect();"
            "for (const kind of ['mouseover', 'mousemove', 'pointermove', 'pointerover'])"
            " mark.dispatchEvent(new PointerEvent(kind, {bubbles: true, clientX: box.x + 4, clientY: box.y + 4}))"
        )
        if tip.is_displayed():
            break
        time.sleep(0.2)
    assert tip.is_displayed()
    assert "ms per image" in tip.text
    assert "sfbench run --model" in tip.text
    assert browser.get_log("browser") == []


def test_filters_act_on_the_figures(browser: Any) -> None:
    browser.set_window_size(1280, 1600)
    assert drawn(browser)
    marks = (
        "return document.querySelectorAll('[data-figure=\"0\"] .mark-symbol.role-mark path').length"
    )
    before = browser.execute_script(marks)
    browser.find_element(
        "css selector", 'fieldset[data-filter="model"] input[value="other"]'
    ).click()
    time.sleep(0.5)
    assert 0 < browser.execute_script(marks) < before


def test_a_column_sorts_by_its_values_from_the_keyboard(browser: Any) -> None:
    def rates() -> list[float]:
        cells = browser.find_elements(
            "css selector", "table.matrix:first-of-type td[data-label='images/s']"
        )
        return [float(cell.get_attribute("data-sort")) for cell in cells][:4]

    header = next(
        one
        for one in browser.find_elements("css selector", "table.matrix thead button")
        if one.text.startswith("images/s")
    )
    header.send_keys(" ")
    assert rates() == sorted(rates())
    assert header.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    header.send_keys(" ")
    assert rates() == sorted(rates(), reverse=True)


def test_a_link_from_a_row_opens_its_case(browser: Any) -> None:
    browser.find_element("css selector", "table.matrix tbody th a").click()
    opened = browser.find_elements("css selector", "details.case[open]")
    assert len(opened) == 1
    assert "sfbench run" in opened[0].text


def test_on_a_phone_rows_are_cards_with_the_names_of_their_numbers(browser: Any) -> None:
    browser.set_window_size(500, 900)
    cell = browser.find_element("css selector", "table.matrix td[data-label='images/s']")
    named = browser.execute_script(
        "return getComputedStyle(arguments[0], '::before').content", cell
    )
    assert named == '"images/s"'
    assert browser.execute_script("return getComputedStyle(arguments[0]).display", cell) == "flex"
    ends = browser.execute_script(
        "return [...document.querySelectorAll('table.matrix td')].filter((one) => one.offsetParent)"
        ".map((one) => one.getBoundingClientRect().right)"
    )
    assert max(ends) <= browser.execute_script("return innerWidth")


def test_the_first_screen_answers(browser: Any) -> None:
    """The question, the verdict and a figure are in sight before anything is scrolled."""
    browser.set_window_size(1400, 1000)
    inside = browser.execute_script(
        "return ['h1', '.verdicts', '.made', '[data-figure]']"
        ".map((name) => document.querySelector(name).getBoundingClientRect().top)"
    )
    assert max(inside) < 1000
    assert "Which is better" in browser.find_element("css selector", "h1").text


def test_without_scripts_everything_can_be_read(browser: Any) -> None:
    browser.set_window_size(1280, 900)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((browser.folder / "report.html").as_uri())
        assert len(visible(browser)) == 8
        figure = browser.find_element("css selector", "[data-figure] svg")
        assert figure.is_displayed()
        assert browser.find_element("css selector", "td.more, th.more").is_displayed()
        assert browser.find_element("css selector", "td small.interval").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(width: int, browser: Any) -> None:
    browser.set_window_size(width, 900)
    assert sideways(browser) <= 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_site_leads_from_page_to_page_and_never_scrolls_sideways(
    width: int, browser: Any
) -> None:
    browser.set_window_size(width, 900)
    browser.get((browser.folder / "site" / "index.html").as_uri())
    assert browser.find_element("css selector", "h1").text == "A board"
    assert sideways(browser) <= 0
    browser.find_element("link text", "other").click()
    assert browser.find_element("css selector", "h1").text == "other"
    assert sideways(browser) <= 0
    browser.find_element("link text", "All models").click()
    browser.find_element("link text", "The whole report").click()
    assert len(visible(browser)) == 8
    assert browser.get_log("browser") == []


def test_nothing_is_cut_off_in_print(browser: Any) -> None:
    browser.set_window_size(1047, 720)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        ends = browser.execute_script(
            "return [...document.querySelectorAll('#results table, .card figure svg:not(svg svg)')]"
            ".map((one) => one.getBoundingClientRect().right)"
        )
        assert ends
        assert max(ends) <= 1047
        heights = browser.execute_script(
            "return [...document.querySelectorAll('details.case pre code, td small.interval')]"
            ".map((one) => one.checkVisibility() ? one.getBoundingClientRect().height : 0)"
        )
        assert heights
        assert min(heights) > 0
        assert not browser.find_element("css selector", ".filters").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_what_is_seen_is_also_told(browser: Any) -> None:
    """Pictures and figures have words, headers belong to columns or rows, scrolled parts to the keyboard."""
    find = browser.find_elements
    assert all(one.get_attribute("alt") for one in find("css selector", "img"))
    drawings = find("css selector", "figure[role=img]")
    assert drawings
    assert all(one.get_attribute("aria-label") for one in drawings)
    assert all(one.get_attribute("scope") for one in find("css selector", "th"))
    assert all(one.get_attribute("tabindex") == "0" for one in find("css selector", ".scroll"))
    for one in find("css selector", "[aria-labelledby]"):
        assert find("id", one.get_attribute("aria-labelledby"))


def test_a_large_page_is_small_and_painted_soon(browser: Any) -> None:
    """As many records as a page takes, and pictures to the limit: under 5 MB, under 1 s."""
    noise = np.random.default_rng(0)
    records = [
        record(f"model{number % 20}", 8 + number // 20, "fp32", 5.0 + number)
        for number in range(MOST_RECORDS)
    ]
    shown = []
    for number in range(20):
        folder = browser.folder / "pictures" / str(number)
        folder.mkdir(parents=True)
        pixels = noise.integers(0, 255, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "samples.png")
        one = Shown(kind="samples", path=folder / "samples.png", caption="noise", how={})
        subject = {"model": f"model{number}", "resolution": 32, "options": {}, "seed": 0}
        shown.append(Album(subject=subject, pictures=(one,)))
    path = browser.folder / "large.html"
    path.write_text(page(records, Beside(options={}, albums=shown), "Large"), encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    browser.get(path.as_uri())
    painted = browser.execute_script(
        "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    assert painted < 1000
    assert len(visible(browser)) == MOST_RECORDS
