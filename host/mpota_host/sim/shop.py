"""The web server that virtual boards ask: `serve` over a folder, and the reports of the boards, in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from pathlib import Path

from aiohttp import web

from mpota_host.package.serve import application

START_S = 30.0


class Shop:
    """The web server of `serve` over a folder, and the reports that boards POST to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[dict[str, str]] = []
        self.ranges: list[str] = []
        # Answers given, by path.
        self.asked: Counter[str] = Counter()
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        if not ready.wait(START_S):
            raise RuntimeError(f"the server of {folder} did not start in {START_S} s")

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._start())
        ready.set()
        self.loop.run_forever()

    async def _start(self) -> None:
        app = application(self.folder, heard=lambda body: self.reports.append(json.loads(body)))
        app.on_response_prepare.append(self._note)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _note(self, request: web.Request, response: web.StreamResponse) -> None:
        self.asked[request.path] += 1
        if request.path.endswith(".mpota"):
            self.ranges.append(request.headers.get("Range", "bytes=0-"))

    def wait(self, code: str, timeout: float = 30) -> dict[str, str]:
        """The report with this code."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for report in self.reports:
                if report["code"] == code:
                    return report
            time.sleep(0.02)
        raise TimeoutError(f"the board sent no report {code!r} in {timeout} s; it sent {self.reports}")
