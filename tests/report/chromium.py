"""Headless Chromium, spoken to over a pipe: no package is needed for it."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")

# On a busy machine a browser takes its time; one that hangs is not waited for.
_SECONDS = 120


def program() -> str | None:
    """Where a Chromium is, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Chromium:
    """One browser with one page, which keeps a list of what goes wrong.

    Args:
      program: the executable.
      profile: an empty folder for what it stores.
    """

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self._process = subprocess.Popen(
            [
                *("bash", "-c", 'exec "$@" 3<&"$A" 4>&"$B"', "-", program),
                *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-dev-shm-usage", "--disable-background-networking"),
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
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, error, trace
        os.close(self._out)  # which ends it
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Asks the browser, or its page once there is one, and waits for the answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._events.append(answer)

    def open(self, path: Path) -> None:
        """Loads a file; what went wrong before is forgotten."""
        self._events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self._events):
            self._events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript gives, as JSON.

        Raises:
          RuntimeError: if it throws.
        """
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            raise RuntimeError(thrown.get("exception", thrown).get("description"))
        return answer["result"].get("value")

    def faults(self, path: Path) -> list[str]:
        """What was fetched, logged or thrown since this file was opened."""
        self.evaluate("1")  # what is on its way has come by then
        return [f for event in self._events if (f := _fault(event, path))]

    def resize(self, width: int, scheme: str = "light") -> None:
        """Makes the window so wide; below 600 it is a phone's."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=1200,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def screenshot(self, path: Path) -> None:
        """A picture of the page, as PNG."""
        data = self.call("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(data))

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], end - time.monotonic())
            data = os.read(self._in, 1 << 16) if ready else b""
            if not data:
                raise RuntimeError("Chromium ended" if ready else "Chromium hangs")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))


def _fault(event: dict[str, Any], path: Path) -> str | None:
    method, found = event.get("method"), event.get("params", {})
    if method == "Network.requestWillBeSent":
        url = found["request"]["url"]
        own = url == path.as_uri() or url.startswith("data:")
        return None if own else f"fetched {url}"
    if method == "Runtime.exceptionThrown":
        return f"threw {found['exceptionDetails'].get('exception')}"
    if method == "Log.entryAdded":
        return f"logged {found['entry']['text']}"
    if method == "Runtime.consoleAPICalled":
        return f"logged {[value.get('value') for value in found['args']]}"
    return None
