"""examples/run, which `make demo` calls: it starts all, says when they serve, and leaves nothing."""
from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import Callable

from harness.http import call
from harness.process import BUILD, ROOT, Process, children
from harness.waiting import wait_until

RUN = ROOT / "examples/run"
FREE = ["--gateway.listen=127.0.0.1:0", "--console.listen=127.0.0.1:0"]
ENVIRONMENT = {**os.environ, "SLUICE_BUILD": str(BUILD)}
Start = Callable[..., Process]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def start_run(start: Start, *options: str | Path) -> Process:
    return start([RUN, "orders", *options], env=ENVIRONMENT)


def test_the_ready_line_names_what_serves(start: Start, tmp_path: Path) -> None:
    run = start_run(start, *FREE, "--data", tmp_path / "data")
    ready = run.wait_ready()
    assert list(ready) == ["gateway", "console", "data"]
    assert ready["data"] == str(tmp_path / "data")
    assert call("GET", ready["gateway"] + "/items").status == 200
    assert "text/html" in call("GET", ready["gateway"] + "/").headers["content-type"]
    assert call("GET", ready["console"] + "/health/live").status == 200
    assert "curl -N" in run.said()


def test_the_page_of_all_examples_answers_head_like_get_without_a_body(start: Start) -> None:
    home = start([ROOT / "examples/all/home.py", "--listen=127.0.0.1:0"]).wait_ready()["http"]
    for path, status in (("/", 200), ("/nothing", 404)):
        page, head = call("GET", home + path), call("HEAD", home + path)
        assert (page.status, head.status, head.body) == (status, status, "")
        assert page.body
        for name in ("content-type", "content-length"):
            assert head.headers[name] == page.headers[name]


def test_sigterm_ends_all_of_them_with_status_0(start: Start, tmp_path: Path) -> None:
    run = start_run(start, *FREE, "--data", tmp_path / "data")
    run.wait_ready()
    parts = children(run.pid)
    assert len(parts) == 3
    assert run.end() == 0
    assert not any(is_alive(pid) for pid in parts)


def test_no_process_is_left_when_it_is_killed(start: Start, tmp_path: Path) -> None:
    run = start_run(start, *FREE, "--data", tmp_path / "data")
    run.wait_ready()
    parts = children(run.pid)
    run.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in parts), "its parts end too")


def test_an_order_survives_a_restart_on_the_same_folder(start: Start, tmp_path: Path) -> None:
    first = start_run(start, *FREE, "--data", tmp_path / "data", "--payment-delay-ms=60000")
    gateway = first.wait_ready()["gateway"]
    call("POST", gateway + "/orders", {"user_id": 7, "items": [{"item_id": 1, "quantity": 2}]})
    wait_until(lambda: call("GET", gateway + "/orders/1").body["type"] == "payment_requested",
               "the payment is asked for")
    assert first.end() == 0
    second = start_run(start, *FREE, "--data", tmp_path / "data", "--payment-delay-ms=0")
    gateway = second.wait_ready()["gateway"]
    assert call("GET", gateway + "/orders/1").body["type"] == "payment_requested"


def test_a_temporary_folder_is_removed_at_the_end(start: Start) -> None:
    run = start_run(start, *FREE)
    data = Path(run.wait_ready()["data"])
    assert (data / "orders.db").is_file()
    assert run.end() == 0
    assert not data.exists()


def test_a_part_that_dies_ends_the_run_with_a_word_about_it(start: Start, tmp_path: Path) -> None:
    run = start_run(start, *FREE, "--data", tmp_path / "data")
    run.wait_ready()
    payment = next(pid for pid in children(run.pid)
                   if b"/payment" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(payment, signal.SIGKILL)
    assert run.wait_end() == 1
    assert "the payment service ended by itself with status -9" in run.said()


def test_a_port_that_is_taken_is_named(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start_run(start, f"--gateway.listen=127.0.0.1:{port}",
                        "--console.listen=127.0.0.1:0", "--data", tmp_path / "data")
        assert run.wait_end() == 1
    assert re.search(rf"127\.0\.0\.1:{port}\b.*in use|in use.*\b{port}\b", run.said()), run.said()


def test_a_data_folder_that_cannot_be_written_is_named(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = start_run(start, *FREE, "--data", tmp_path / "file" / "data")
    assert run.wait_end() == 1
    assert f"cannot write to --data {tmp_path}/file/data: Not a directory" in run.said()


def test_an_example_that_is_not_there_is_said_with_those_that_are(start: Start) -> None:
    other = start([RUN, "nothing"])
    assert other.wait_end() == 2
    assert "there is no example 'nothing'; there are: all, orders, " in other.said()
