"""Opens report pages in headless Chromium, uses each control, and fails on any fault.

Run as ``python benchmarks/check_page.py``; needs Chromium (``apt-get install
chromium``). It speaks the DevTools protocol over a pipe, so nothing else is needed.
Exits with 1 if a page fetches anything, logs an error, or a control does not work.
"""

import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from jaxinit.report.html import page
from jaxinit.verdict.judge import judged
from tests.report.synthetic import make_report, row, walk

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "a\x1b[31m\nVerdict: ok",
    "\u202eevil",
    "\ud800",
    "x&y\"'",
)

# Each is an expression that must be true, in this order.
CHECKS = (
    "window.hacked === undefined",
    "document.querySelectorAll('script').length === {scripts}",
    "visible() === {rows}",
    # filter
    "(type('{word}'), visible() === {matches})",
    "(type(''), visible() === {rows})",
    # only findings
    "(press('.problems'), visible() > 0 && visible() < {rows})",
    "(press('.problems'), visible() === {rows})",
    # fold by module, open one, unfold
    "(press('.fold'), visible() === 0 && one('tr.group') !== null)",
    "(press('tr.group button'), visible() > 0 && visible() < {rows})",
    "(press('.fold'), visible() === {rows} && one('tr.group') === null)",
    # sort up, down
    "(press('thead th:nth-child(4) button'), sorted(4, 1))",
    "(press('thead th:nth-child(4) button'), sorted(4, -1))",
    # keyboard, pointer: the detail follows
    "(key('Home'), chosen() === layer(0))",
    "(key('ArrowRight'), chosen() === layer(1))",
    "(key('End'), chosen() === layer({rows} - 1))",
    "(point(0), chosen() === layer(0))",
    "one('.detail').textContent.includes('over seeds')",
    "one('.verdict').textContent.startsWith('Verdict: ')",
    "document.documentElement.scrollWidth <= window.innerWidth",
)

HELPERS = """
const one = (s) => document.querySelector(s);
const lines = (rest) =>
  [...document.querySelectorAll('section:first-of-type tr[data-row]' + rest)];
const visible = () => lines(':not([hidden])').length;
const press = (s) => one(s).click();
const type = (text) => {
  one('input').value = text;
  one('input').dispatchEvent(new Event('input'));
};
const data = JSON.parse(one("script[type='application/json']").textContent);
const layer = (i) => data.rows[i].name;
const chosen = () => one('.detail h3').textContent;
const key = (k) =>
  one('svg.profile').dispatchEvent(new KeyboardEvent('keydown', {key: k}));
const point = (share) => {
  const box = one('svg.profile').getBoundingClientRect();
  const place = {clientX: box.left + share * box.width};
  one('svg.profile').dispatchEvent(new PointerEvent('pointermove', place));
};
const sorted = (column, sign) => {
  const values = lines('').map((r) => Number(r.cells[column - 1].dataset.value));
  const known = values.filter((x) => !Number.isNaN(x));
  return known.every((x, i) => !i || sign * (x - known[i - 1]) >= 0);
};
true
"""


class Browser:
    """Headless Chromium, spoken to over a pipe."""

    def __init__(self, program: str, profile: str) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self._process = subprocess.Popen(
            [
                *("bash", "-c", 'exec "$@" 3<&"$A" 4>&"$B"', "-", program),
                *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}"),
            ],
            pass_fds=(to_browser, from_browser),
            env={**os.environ, "A": str(to_browser), "B": str(from_browser)},
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.page(f"{domain}.enable")

    def page(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.call(method, session=self.session, **parameters)

    def call(
        self, method: str, session: str | None = None, **parameters: Any
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"id": next(self._numbers), "method": method}
        message["params"] = parameters
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def wait(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def close(self) -> None:
        self.call("Browser.close")
        self._process.wait(20)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 16)
            if not data:
                raise RuntimeError("Chromium ended")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))


def reports() -> dict[str, tuple[str, int, str, int]]:
    """Pages by name, with their rows, a word to filter by and how many it matches."""
    small = tuple(
        row(name) for name in (*HOSTILE, *(f"mlp/Dense_{i}" for i in range(6)))
    )
    moment = walk(16, 12, drift=-1.0, step=0.1)
    moment[:, 5] = -np.inf
    few = judged(make_report(small, log2_moment=moment, num_seeds=16))
    large = tuple(row(f"Block_{i // 6}/Dense_{i % 6}") for i in range(500))
    many = judged(
        make_report(
            large, log2_moment=walk(64, 500, drift=-0.05, step=0.05), num_seeds=64
        )
    )
    return {
        "12": (page({"": few}), 12, "mlp/dense", 6),
        "500": (page({"": many}), 500, "Block_7/", 6),
        "compared": (page({"own": few, "<b>he": few}), 12, "mlp/dense", 6),
    }


def check(
    browser: Browser, path: pathlib.Path, case: tuple[str, int, str, int]
) -> list[str]:
    """What is wrong with one page."""
    text, rows, word, matches = case
    path.write_text(text)
    browser.events.clear()
    browser.page("Page.navigate", url=path.as_uri())
    browser.wait("Page.loadEventFired")
    faults = [] if len(text) < 2 * 1024**2 else [f"{len(text)} bytes"]
    browser.page("Runtime.evaluate", expression=HELPERS)
    values = {"rows": rows, "word": word, "matches": matches}
    values["scripts"] = 1 + text.count('type="application/json"')
    for check in CHECKS:
        expression = check
        for key, value in values.items():
            expression = expression.replace(f"{{{key}}}", str(value))
        result = browser.page("Runtime.evaluate", expression=expression)["result"]
        if result.get("value") is not True:
            faults.append(f"{expression} gave {result.get('description', result)}")
    for event in browser.events:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if url != path.as_uri() and not url.startswith("data:"):
                faults.append(f"fetched {url}")
        if method == "Runtime.exceptionThrown":
            faults.append(str(parameters["exceptionDetails"].get("exception")))
        if method == "Log.entryAdded":
            faults.append(parameters["entry"]["text"])
    return faults


def screenshot(browser: Browser, path: pathlib.Path, width: int, scheme: str) -> None:
    browser.page(
        "Emulation.setDeviceMetricsOverride",
        **{
            "width": width,
            "height": 1200,
            "deviceScaleFactor": 1,
            "mobile": width < 600,
        },
    )
    browser.page(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    data = browser.page("Page.captureScreenshot")["data"]
    path.write_bytes(base64.b64decode(data))


def main() -> int:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("needs Chromium: apt-get install chromium")
        return 1
    bad = False
    keep = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(program, f"{folder}/profile")
        for name, case in reports().items():
            faults = check(browser, pathlib.Path(folder) / f"{name}.html", case)
            print(f"{name}: {len(case[0])} bytes, {faults or 'sound'}")
            bad = bad or bool(faults)
            if keep is not None:
                for width, scheme in ((1200, "light"), (390, "dark")):
                    shot = keep / f"{name}-{width}-{scheme}.png"
                    screenshot(browser, shot, width, scheme)
        browser.close()
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
