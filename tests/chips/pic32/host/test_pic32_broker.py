"""The MQTT trigger of a PIC32MZW1 at a real broker: mosquitto where there is one, else amqtt; both interpreters."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from amqtt.broker import Broker
from amqtt.client import MQTTClient

from mpota_host.bench.line.serial import micropython
from mpota_host.chips.pic32 import demo, hexfile, packer
from mpota_host.chips.pic32.sim import machine
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sources import CHECKOUT as ROOT
from mpota_host.sources import port_environment
from tests.chips.pic32.host.test_pic32_https import DONE, B, pem, serve

TOPIC = "lamps/ota"


class Brokers:
    """A broker on `port` of this machine, and somebody who publishes; `loop` runs in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.process: subprocess.Popen[bytes] | None = None
        self.broker: Broker | None = None
        if shutil.which("mosquitto"):
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.port = s.getsockname()[1]
            self.process = subprocess.Popen(["mosquitto", "-p", str(self.port)], stderr=subprocess.DEVNULL)
            self._wait()
        else:
            self.port = self.do(self._start())

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(20)

    async def _start(self) -> int:
        anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listener = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
        self.broker = Broker({"listeners": listener, "plugins": anonymous})
        await self.broker.start()
        server = self.broker._servers["default"].instance
        return int(server.sockets[0].getsockname()[1])

    def _wait(self) -> None:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("mosquitto does not answer")

    async def _publish(self, body: bytes) -> None:
        client = MQTTClient(config={"auto_reconnect": False})
        await client.connect(f"mqtt://127.0.0.1:{self.port}/")
        await client.publish(TOPIC, body)
        await client.disconnect()

    def publish(self, body: bytes) -> None:
        self.do(self._publish(body))

    def close(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)
        elif self.broker:
            self.do(self.broker.shutdown())
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture(scope="module")
def broker() -> Iterator[Brokers]:
    found = Brokers()
    yield found
    found.close()


def told(broker: Brokers, program: str, given: dict[str, object], body: bytes) -> list[Any]:
    """What a board tells that gets this message once it listens."""
    env = port_environment()
    command = [program, "tests/chips/pic32/host/pic32_mqtt.py", json.dumps({**given, "port": broker.port})]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as board:
        assert board.stdout
        first = board.stdout.readline()
        assert first == b"subscribed\n", first + board.stdout.read()
        broker.publish(body)
        lines = board.stdout.read().decode().splitlines()
    assert board.returncode == 0, lines
    found: list[Any] = json.loads(lines[-1])
    return found


@pytest.mark.parametrize("interpreter", ["cpython", "unix port"])
def test_a_message_at_a_broker_brings_an_update(broker: Brokers, interpreter: str, tmp_path: Path) -> None:
    program = sys.executable if interpreter == "cpython" else micropython()
    key = pem()
    armed = [["a.bin", "f8", "2"], ["image1.bin", "FE", "3"]]
    with serve({}, None, tmp_path / "manifest.json", key) as server:
        given: dict[str, object] = {"url": server.url("/manifest.json"), "key": packer.public(key).hex()}
        assert told(broker, program, given, b"check") == [DONE, None, armed, 0xF0]
        # The entry itself as the message: no manifest is asked for.
        options = packer.Options(hexfile.slot_of("3.7"), key=key, number=3, base=server.url(""), product="demo")
        entry = packer.entry("app.bin", B, options)
        assert told(broker, program, given, json.dumps(entry).encode()) == [DONE[2:], None, armed, 0xF0]


def test_a_board_as_it_is_shipped_waits_for_the_message(broker: Brokers, tmp_path: Path) -> None:
    shelf = demo.serve(tmp_path / "shelf")
    url = f"http://127.0.0.1:{shelf.server_address[1]}"
    data = machine.image(1, 50_001)
    key = pem()
    options = packer.Options(hexfile.slot_of("3.7"), key=key, number=7, base=url, product="lamp")
    (tmp_path / "shelf" / "new.bin").write_bytes(data)
    text = packer.manifest(tmp_path / "none", packer.entry("new.bin", data, options))[0]
    (tmp_path / "shelf" / "manifest.json").write_bytes(text)
    link = {"host": "127.0.0.1", "port": broker.port, "topic": TOPIC}
    settings = {"product": "lamp", "layout": "pic32", "service": url + "/manifest.json", "period_ms": 0, "mqtt": link}
    settings["service_key"] = packer.public(key).hex()
    # What is nonsense is as good as absent.
    settings |= {"auto_update": "often", "last_entry": 5}
    path = create_for("pic32", tmp_path / "b.bin", machine.image(0, 40_001), mpota_files(settings, layout="pic32"))
    try:
        with VirtualBoard(path) as board:
            console = demo.Listener(board.port)
            console.until("keeps the factory image")
            for _ in range(20):
                # Nobody tells from outside when a board has subscribed.
                broker.publish(b"check")
                try:
                    console.until("database entry", 2)
                    break
                except TimeoutError:
                    continue
            console.until("programs image1.bin")
            console.until("confirmed")
            console.close()
    finally:
        shelf.shutdown()
        shelf.server_close()
