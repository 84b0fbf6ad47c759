"""The console: figures that are true, health that is measured, changes that are guarded, its page."""
from __future__ import annotations

import http.client
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from harness.browser import open_browser
from harness.command import Database
from harness.http import call
from harness.process import Process, program
from harness.sse import Stream
from harness.waiting import wait_until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

Start = Callable[..., Process]
OURS = {"X-Sluice-Console": "1"}
SAMPLE = re.compile(r'^([a-z_]+)(?:\{([a-z_]+="(?:[^"\\\n]|\\[\\n"])*"'
                    r'(?:,[a-z_]+="(?:[^"\\\n]|\\[\\n"])*")*)\})? (-?[0-9.]+)$')

CONFIG = """\
database: {database}
broker: local:{data}/log.db
gateway:
  listen: 127.0.0.1:0
  routes:
    - path: /things/{{key}}/stream
      stream: {{topic: things, key: "{{key}}"}}
console:
  listen: 127.0.0.1:0
"""


class Running:
    """A whole sluice with one database."""

    def __init__(self, start: Start, folder: Path) -> None:
        self.database = Database(folder / "app.db")
        config = folder / "app.yaml"
        config.write_text(CONFIG.format(database=self.database.url, data=folder))
        self.command = [program("sluice"), "run", "--config", config]
        self.start_one = start
        self.start()

    def start(self, *options: str) -> None:
        self.process = self.start_one([*self.command, *options])
        ready = self.process.wait_ready()
        self.gateway, self.console = ready["gateway"], ready["console"]
        wait_until(lambda: self.get("/health/ready").status == 200, "it is ready")

    def get(self, path: str, headers: dict | None = None):
        return call("GET", self.console + path, headers=headers)

    def post(self, path: str, body: dict, headers: dict | None = None):
        return call("POST", self.console + path, body, OURS if headers is None else headers)

    def state(self) -> dict:
        return self.get("/api/state").body

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels; the format is checked on the way."""
        answer = self.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        family, seen, samples = None, set(), {}
        for line in answer.body.splitlines():
            if line.startswith("# HELP "):
                family = line.split()[2]
                assert family not in seen, f"{family} is there twice"
                seen.add(family)
            elif line.startswith("# TYPE "):
                assert line.split()[2] == family
            else:
                match = SAMPLE.match(line)
                assert match, line
                assert re.sub("_(bucket|sum|count)$", "", match[1]) in (
                    family, re.sub("_(bucket|sum|count)$", "", family)), (family, line)
                samples[line.rsplit(" ", 1)[0]] = float(match[3])
        return samples


@pytest.fixture
def running(start: Start, tmp_path: Path) -> Running:
    return Running(start, tmp_path)


def test_metrics_count_what_happens(running: Running) -> None:
    url = running.database.url
    running.database.hold('k"\\\n', stage="payment")
    with Stream(running.gateway + "/things/k/stream") as stream:
        running.database.publish("things", "k", "{}")
        next(iter(stream))
        name = f'relay_publish_total{{database="{url}",sink="local",result="ok"}}'
        wait_until(lambda: running.metrics().get(f'outbox_position{{database="{url}"}}') == 1 and
                   running.metrics().get(name) == 1, "one event is counted")
        samples = running.metrics()
        assert samples["gateway_streams"] == 1 and samples["gateway_events_delivered_total"] == 1
    assert samples[f'outbox_unsent_events{{database="{url}"}}'] == 0
    assert samples[f'outbox_oldest_unsent_age_seconds{{database="{url}"}}'] == 0
    assert samples[f'dead_letters{{database="{url}",stage="payment"}}'] == 1
    assert samples[f'relay_parked_keys{{database="{url}",stage="payment"}}'] == 1
    assert samples[f'relay_breaker_state{{database="{url}",sink="local"}}'] == 0
    assert samples[f'relay_commit_to_ack_seconds_count{{database="{url}"}}'] == 1
    assert samples[f'relay_commit_to_ack_seconds_bucket{{database="{url}",le="+Inf"}}'] == 1
    assert 'gateway_streams_ended_total{reason="client"}' in samples


def test_ready_is_measured_progress(running: Running) -> None:
    """The process runs, and unsent events stay where they are: that is not ready."""
    running.process.end()
    running.start("--relay.on_poison=halt", "--console.ready_age_max=1s")
    running.database.hold("other")
    assert running.get("/health/ready").status == 200, "dead letters are no outage"

    def reasons() -> str:
        return " ".join(running.get("/health/ready").body["reasons"])

    running.database.publish("no such topic", "k")
    wait_until(lambda: "relay of sqlite:" in reasons(), "the relay has halted")
    running.database.publish("things", "k")
    wait_until(lambda: "the oldest unsent event is" in reasons(), "its age is told")
    assert "the position has not moved for" in reasons()
    assert running.metrics()[
        f'outbox_oldest_unsent_age_seconds{{database="{running.database.url}"}}'] > 1


def test_an_outage_is_told_by_readiness_and_not_by_liveness(
        start: Start, tmp_path: Path) -> None:
    running = Running(start, tmp_path)
    log = tmp_path / "log.db"
    with closing(sqlite3.connect(log, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        running.database.publish("things", "k", "{}")
        wait_until(lambda: running.get("/health/ready").status == 503, "the outage is told", 60)
        reasons = " ".join(running.get("/health/ready").body["reasons"])
        assert "does not answer; it is tried again" in reasons
        assert running.get("/health/live").status == 200
        other.execute("ROLLBACK")
    wait_until(lambda: running.get("/health/ready").status == 200, "it recovers by itself", 60)


def test_state_holds_what_the_page_shows(running: Running) -> None:
    held = running.database.hold("k1", reason="the wallet is missing")
    running.database.hold("k1", "WAITING")
    wait_until(lambda: running.state()["databases"][0]["parked"], "the dead letters are seen")
    state = running.state()
    [parked] = state["databases"][0]["parked"]
    assert (parked["key"], parked["events"], parked["id"], parked["reason"], parked["attempts"]) == (
        "k1", 2, held, "the wallet is missing", 3)
    assert [relay["state"] for relay in state["relays"]] == ["idle"]
    assert state["gateway"]["streams"] == 0 and state["not_ready"] == []
    shown = running.get(f"/api/dead-letters?id={held}").body["dead_letters"]
    assert [event["payload"] for event in shown] == [{"a": 1}]


def test_redrive_and_drop(running: Running) -> None:
    name = running.database.url
    running.database.hold("k1", stage="payment")
    running.database.hold("k1", "WAITING", stage="payment")
    alone = running.database.hold(None, stage="payment")
    body = {"database": name, "stage": "payment", "topic": "orders", "key": "k1"}
    assert running.post("/api/redrive", body).body == {"events": 1}
    assert running.database.held()[:2] == [("k1", "RETRYING"), ("k1", "WAITING")]
    assert running.post("/api/redrive", body).body == {"events": 0}
    body = {"database": name, "stage": "payment", "id": alone}
    assert running.post("/api/drop", body).body == {"events": 1}
    assert len(running.database.held()) == 2


@pytest.mark.parametrize("body, status, wanted", [
    ({}, 400, "must name database and stage"),
    ({"database": "x", "stage": "relay"}, 400, "either topic and key, or id"),
    ({"database": "x", "stage": "relay", "key": "k"}, 400, "either topic and key, or id"),
    ({"database": 7, "stage": "relay", "id": "x"}, 400, "must be a JSON object with the texts"),
    ({"database": "x", "stage": "relay", "id": "x"}, 404, "there is no database 'x' here"),
    (b"[", 400, "must be a JSON object"), (b"x" * 20000, 413, ""),
])
def test_changes_say_what_is_wrong(running: Running, body, status: int, wanted: str) -> None:
    answer = running.post("/api/redrive", body)
    assert (answer.status, wanted in str(answer.body)) == (status, True), answer


def test_only_the_page_itself_may_change_something(running: Running) -> None:
    running.database.hold("k1")
    body = {"database": running.database.url, "stage": "relay", "topic": "orders", "key": "k1"}
    port = urlsplit(running.console).port
    for headers, wanted in [
            ({}, "X-Sluice-Console: 1"),
            ({"X-Sluice-Console": "0"}, "X-Sluice-Console: 1"),
            ({**OURS, "Origin": "http://evil.example"}, "another origin"),
            ({**OURS, "Origin": "null"}, "another origin"),
            ({**OURS, "Origin": f"http://127.0.0.1:{port + 1}"}, "another origin"),
            ({**OURS, "Sec-Fetch-Site": "cross-site"}, "another site"),
            ({**OURS, "Host": f"evil.example:{port}"}, "listens on this machine only")]:
        answer = running.post("/api/drop", body, headers)
        assert (answer.status, wanted in answer.body["error"]) == (403, True), (headers, answer)
    assert running.database.held() == [("k1", "FAILED_PERMANENTLY")]
    good = {**OURS, "Origin": running.console, "Sec-Fetch-Site": "same-origin"}
    assert running.post("/api/drop", body, good).body == {"events": 1}


def test_a_foreign_name_for_this_machine_reads_nothing(running: Running) -> None:
    for path in ("/", "/api/state"):
        assert running.get(path, {"Host": "evil.example"}).status == 403
        assert running.get(path, {"Host": "localhost"}).status == 200
    assert running.get("/metrics", {"Host": "evil.example"}).status == 200


def test_paths_methods_and_the_page_s_headers(running: Running) -> None:
    for method, path, status in [("GET", "/none", 404), ("GET", "/api/redrive", 405),
                                 ("DELETE", "/", 405), ("POST", "/none", 405),
                                 ("GET", "/api/dead-letters?id=x", 400), ("HEAD", "/", 200)]:
        answer = call(method, running.console + path, headers=OURS)
        assert answer.status == status, (method, path, answer)
    page = running.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"(src|href)=\"https?:", page.body)


def test_a_client_that_goes_while_it_is_waited_for_harms_nothing(running: Running) -> None:
    parts = urlsplit(running.console)
    for _ in range(20):
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        connection.request("GET", "/api/dead-letters?id=00000000-0000-7000-8000-000000000000")
        connection.close()
    assert running.get("/health/live").status == 200


@pytest.fixture
def browser(tmp_path: Path) -> Iterator:
    browser = open_browser(tmp_path / "profile")
    yield browser
    browser.quit()


def problems(browser) -> list[dict]:
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_page_fits_three_widths(running: Running, browser, width: int) -> None:
    running.database.hold("a-key-with-a-rather-long-name-" * 4, reason="some reason " * 20)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.get(running.console + "/")
    wait_until(lambda: browser.find_element(By.ID, "health").text == "ready", "the page is live")
    wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, "#stuck-table tbody tr"), "the row")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    age = browser.find_element(By.CSS_SELECTOR, ".age")
    assert age.text.replace("\n", "") == "0.0s"
    assert float(age.value_of_css_property("font-size")[:-2]) >= 80
    assert problems(browser) == []


def test_dead_letters_are_redriven_and_dropped_by_keyboard(running: Running, browser) -> None:
    running.database.hold("k1", stage="payment")
    running.database.hold("k2", stage="payment")
    browser.get(running.console + "/")

    def rows() -> dict[str, str]:
        return dict(browser.execute_script(
            "return [...document.querySelectorAll('#stuck-table tbody tr')].map((row) =>"
            " [row.item.key, row.item.state])"))

    def press(key: str, action: str) -> None:
        button = browser.find_element(By.CSS_SELECTOR, f'button[aria-label="{action} {key}"]')
        browser.execute_script("arguments[0].focus()", button)
        browser.switch_to.active_element.send_keys(Keys.ENTER)

    wait_until(lambda: set(rows()) == {"k1", "k2"}, "both keys are shown")
    press("k1", "Look")
    wait_until(lambda: '"a": 1' in browser.find_element(By.ID, "detail-text").text, "the payload")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    press("k1", "Redrive")
    wait_until(lambda: rows().get("k1") == "RETRYING", "the first key retries")
    press("k2", "Drop")
    dialog = browser.find_element(By.ID, "confirm")
    wait_until(dialog.is_displayed, "it asks first")
    assert browser.switch_to.active_element.get_attribute("id") == "confirm-no"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert rows().get("k2") == "FAILED_PERMANENTLY"
    press("k2", "Drop")
    wait_until(dialog.is_displayed, "it asks again")
    browser.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    wait_until(lambda: set(rows()) == {"k1"}, "the second key is gone")
    assert ("k2", "FAILED_PERMANENTLY") not in running.database.held()
    assert problems(browser) == []


def test_the_page_tells_when_nobody_answers(running: Running, browser) -> None:
    browser.get(running.console + "/")
    wait_until(lambda: browser.find_element(By.ID, "health").text == "ready", "the page is live")
    assert running.process.end() == 0
    wait_until(lambda: "no answer for" in browser.find_element(By.ID, "health").text, "it tells")
