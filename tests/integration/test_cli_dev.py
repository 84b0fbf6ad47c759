"""sluice dev: nothing to set up, an event on its way within a second, and nothing left behind."""
from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.browser import open_browser
from harness.command import FREE
from harness.http import call
from harness.process import Process, program
from harness.sse import Stream
from harness.waiting import wait_until
from selenium.webdriver.common.by import By

Start = Callable[..., Process]


@pytest.fixture
def dev(start: Start) -> Process:
    process = start([program("sluice"), "dev", *FREE])
    process.urls = process.wait_ready()
    return process


def publish(url: str, text: bytes, query: str = "key=hello&type=greeting") -> dict:
    answer = call("POST", f"{url}/publish?{query}", text)
    assert answer.status == 202, answer
    return answer.body


def test_it_says_what_to_open_and_what_to_paste(dev: Process) -> None:
    gateway = dev.urls["gateway"]
    wait_until(lambda: "Ctrl-C" in dev.said(), "the text is there")
    for line in [f"open      {gateway}/", f"console   {dev.urls['console']}/",
                 f"curl -N {gateway}/items/hello/stream",
                 f"curl -d 'good morning' '{gateway}/publish?key=hello&type=greeting'"]:
        assert line in dev.said()


def test_what_is_published_comes_back_on_the_stream(dev: Process) -> None:
    gateway = dev.urls["gateway"]
    with Stream(gateway + "/items/hello/stream") as stream:
        messages = iter(stream)
        assert json.loads(next(messages).data) == {
            "key": "hello", "type": "nothing_yet", "version": 0}
        assert publish(gateway, b"good morning")["version"] == 1
        first = next(messages)
        assert json.loads(first.data) == {
            "text": "good morning", "key": "hello", "type": "greeting", "version": 1}
        publish(gateway, b'{"mood": "fine"}')
        assert json.loads(next(messages).data)["mood"] == "fine"
        publish(gateway, b"[1]", "key=hello")
        third = json.loads(next(messages).data)
        assert (third["data"], third["type"]) == ([1], "message")
    trace = call("GET", gateway + "/trace?key=hello&version=1").body
    assert 0 < trace["begun_ms"] <= trace["committed_ms"] <= trace["logged_ms"]
    with Stream(gateway + "/items/hello/stream", last_event_id=first.id) as stream:
        messages = iter(stream)
        assert [json.loads(next(messages).data)["version"] for _ in range(2)] == [2, 3]


def test_the_example_order_moves_and_its_stream_ends(dev: Process) -> None:
    gateway = dev.urls["gateway"]
    key = wait_until(lambda: call("GET", gateway + "/orders/current").body["key"], "an order")
    with Stream(f"{gateway}/orders/{key}/stream") as stream:
        names = [message.name for message in stream]
    expected = ["order_accepted", "payment_requested", "completed", "end"]
    assert names == expected[-len(names):] and len(names) >= 2


def test_wrong_requests_are_told_what_is_right(dev: Process) -> None:
    gateway = dev.urls["gateway"]
    for method, path, status, wanted in [
            ("GET", "/publish", 405, "use POST"), ("POST", "/items/hello", 405, "use GET here"),
            ("POST", "/publish?key=%00", 400, "key and type must be texts"),
            ("POST", "/publish?key=", 400, "key and type must be texts"),
            ("GET", "/trace", 400, "/trace?key=hello&version=1"),
            ("GET", "/trace?key=x&version=1", 404, "the last 512 events are traced"),
            ("GET", "/none", 404, "the page is at /")]:
        answer = call(method, gateway + path)
        assert (answer.status, wanted in answer.body["error"]) == (status, True), answer
    assert call("POST", gateway + "/publish", b"x" * 70000).status == 413


def test_the_number_of_keys_is_bounded(dev: Process) -> None:
    gateway = dev.urls["gateway"]
    statuses = [call("POST", f"{gateway}/publish?key=k{i}", b"x").status for i in range(1001)]
    assert statuses[0] == 202 and statuses[-1] == 429
    assert set(statuses) == {202, 429}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_and_leaves_nothing(start: Start, tmp_path: Path, number: int) -> None:
    process = start([program("sluice"), "dev", *FREE], env={"TMPDIR": str(tmp_path)})
    ready = process.wait_ready()
    data = Path(ready["data"])
    assert data.parent == tmp_path and (data / "sluice.db").exists()
    with Stream(ready["gateway"] + "/items/hello/stream") as stream:
        process.popen.send_signal(number)
        assert process.wait_end() == 0
        assert [message.name for message in stream][-1] == "draining"
    assert list(tmp_path.glob("sluice-dev-*")) == []
    assert process.popen.stdout.read() == ""


def test_data_that_is_kept_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    for version in (1, 2):
        process = start([program("sluice"), "dev", *FREE, "--data", tmp_path / "play"])
        ready = process.wait_ready()
        assert ready["data"] == str(tmp_path / "play")
        assert publish(ready["gateway"], b"x")["version"] == version
        item = ready["gateway"] + "/items/hello"
        wait_until(lambda: call("GET", item).body["version"] == version, "it is in the log")
        assert process.end() == 0
    assert (tmp_path / "play/sluice.db").exists()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator:
    browser = open_browser(tmp_path / "profile")
    yield browser
    browser.quit()


def test_the_page_shows_the_way_of_an_event(dev: Process, browser) -> None:
    def text(selector: str) -> str:
        return browser.find_element(By.CSS_SELECTOR, selector).text

    browser.get(dev.urls["gateway"] + "/")
    wait_until(lambda: "live on" in text("#live"), "the page is live")
    browser.find_element(By.CSS_SELECTOR, "#publish button").click()
    wait_until(lambda: "ms" in text("#at-browser .time"), "the event has reached the page")
    for station in ("commit", "log", "browser"):
        element = browser.find_element(By.ID, f"at-{station}")
        assert "passed" in element.get_attribute("class")
        assert "ms" in element.find_element(By.CSS_SELECTOR, ".time").text
    wait_until(lambda: "good morning" in text("#events"), "the event is listed")
    wait_until(lambda: "order-" in text("#past"), "an example order has come to its end")
    assert browser.find_element(By.ID, "console").get_attribute("href") == (
        dev.urls["console"] + "/")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
