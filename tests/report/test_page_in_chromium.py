"""Pages in a real browser: each control works, nothing is fetched, nothing is logged.

Where there is no Chromium these tests are left out, and the summary of the run says so.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.chromium import Chromium, program
from tests.report.pages import cases

HERE = Path(__file__).parent
GALLERY = sorted((HERE.parents[1] / "docs" / "gallery").glob("*.html"))
CASES = cases()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    found = program()
    assert found is not None, "needs Chromium: apt-get install chromium"
    with Chromium(found, tmp_path_factory.mktemp("profile")) as started:
        yield started


def use(browser: Chromium, path: Path, expected: dict[str, object]) -> list[str]:
    """What is wrong with a page that is used."""
    browser.open(path)
    browser.evaluate((HERE / "use_page.js").read_text())
    faults: list[str] = browser.evaluate(f"usePage({json.dumps(expected)})")
    return faults + browser.faults(path)


@pytest.mark.parametrize("name", CASES)
def test_each_control_works_and_nothing_is_fetched_or_logged(browser, tmp_path, name):
    path = tmp_path / "page.html"
    path.write_text(CASES[name].text)
    browser.resize(1200)

    assert use(browser, path, CASES[name].expected()) == []
    browser.resize(390, "dark")
    browser.open(path)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_stored_pages_fetch_and_log_nothing(browser, path):
    browser.open(path)

    assert browser.faults(path) == []
    assert browser.evaluate("document.querySelectorAll('svg path, svg g').length") > 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("</main>", "<img src='a.png'></main>"),
        ("</main>", "</main><script>console.error('oh')</script>"),
        ("</main>", "</main><script>throw new Error('oh')</script>"),
        ('more.addEventListener("change"', 'more.addEventListener("input"'),
        ("groups.push(line);", ""),
        ("up ? less : -less", "less"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(browser, tmp_path, fault, said):
    case = CASES["12 rows"]
    assert fault in case.text
    path = tmp_path / "page.html"
    path.write_text(case.text.replace(fault, said))

    assert use(browser, path, case.expected())
