"""The launch report in a real browser: fits a phone, prints, loads nothing, can be used by keyboard, has contrast."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.report.launch import launch_page, render_launch
from tests.experiments.judge.launch_examples import example

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
# Every visible text, with its colour and the first opaque ground behind it.
TEXTS = """() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const ground = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const light = colour => {
    const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map(part => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.textContent.trim() || !parent.getClientRects().length) continue;
    const text = light(parse(getComputedStyle(parent).color).slice(0, 3));
    const pair = [text, light(ground(parent))].sort((a, b) => b - a);
    found.push([node.textContent.trim().slice(0, 40), (pair[0] + 0.05) / (pair[1] + 0.05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    try:
        playwright = importlib.import_module("playwright.sync_api")
    except ImportError:
        pytest.skip("playwright is not installed (extra `browser`)")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page = launch_page(example("better", unsubscribes="undecided"), "static_segments", "dr", f"tactful {'x' * 300}")
    path.write_text(render_launch(page))
    return path


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_has_to_be_scrolled_sideways(browser: Any, report: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = (
        "els => els.filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
    )
    assert page.eval_on_selector_all("main *", beyond) == []
    page.close()


def test_the_answer_is_on_the_first_screen_of_a_phone(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(report.as_uri())
    box = page.locator(".say").bounding_box()
    assert box["y"] + box["height"] < 740
    page.close()


def test_nothing_is_fetched_and_nothing_fails(browser: Any, report: Path) -> None:
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(report.as_uri())
    assert asked == [report.as_uri()]
    assert said == []
    page.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_every_text_has_contrast(browser: Any, report: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(report.as_uri())
    found = page.evaluate(TEXTS)
    assert len(found) > 100
    assert [text for text, ratio in found if ratio < 4.5] == []
    page.close()


def test_the_keyboard_reaches_the_answer_and_the_contents(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#answer")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#difference"
    page.close()


def test_tables_stay_tables_for_those_who_listen(browser: Any, report: Path) -> None:
    """On a phone rows are laid out as cards; their roles are said, so that they are still rows and headers."""
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(report.as_uri())
    assert page.get_by_role("rowheader", name="Unsubscribe rate").count() >= 1
    assert page.get_by_role("columnheader", name="verdict").count() >= 1
    page.close()


def test_it_prints_on_few_pages(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    printed = page.pdf(format="A4", prefer_css_page_size=True, print_background=True)
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 8
    page.close()
