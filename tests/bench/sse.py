"""Live streams: one event to every stream, beside nchan and a server with one write() for each.

CPU is the server's own for one delivery; memory is how its PSS grows with each idle stream.
"""
from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nchan
from common import PROGRAMS, SLUICE, Process, Rows, load_text, note, print_table, running

CONFIG = """\
broker: local:{folder}/log.db
gateway:
  listen: ["127.0.0.1:0"]
  heartbeat: 1h
  connections_max: 19000
  routes:
    - path: /watch/{{key}}
      stream:
        topic: bench
        key: "{{key}}"
    - path: /publish/{{topic}}
      publish:
        topics: [bench]
      token: none
console:
  listen: 127.0.0.1:0
"""


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[tuple[Process, str, str, str]]:
    config = folder / "bench.yaml"
    config.write_text(CONFIG.format(folder=folder))
    with running(SLUICE, "gateway", "--config", config, wait_ready=True) as process:
        port = process.ready["gateway"].rsplit(":", 1)[1]
        yield process, port, "/watch/all", "/publish/bench?key=all&type=Moved"


@contextlib.contextmanager
def floor(folder: Path) -> Iterator[tuple[Process, str, str, str]]:
    del folder
    with running(PROGRAMS / "stream_floor", wait_ready=True) as process:
        yield process, process.ready["port"], "/sub", "/pub"


def measure(server, streams: int, seconds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name, \
            server(Path(name)) as (process, port, stream_path, publish_path):
        before_kib = process.pss_kib()
        client = subprocess.Popen(
            [PROGRAMS / "stream_load", port, str(streams), stream_path, publish_path, str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        opened = json.loads(client.stdout.readline())
        figures = {"bytes_a_stream": (process.pss_kib() - before_kib) * 1024 / streams,
                   "opened_per_s": opened["per_s"]}
        cpu_s = process.cpu_s()
        client.stdin.write("go\n")
        client.stdin.flush()
        result = json.loads(client.stdout.readline())
        figures["cpu_us"] = (process.cpu_s() - cpu_s) / result["deliveries"] * 1e6
        figures["per_s"] = result["per_s"]
        figures["peak_mib"] = process.peak_mib()
        client.stdin.close()
        client.wait()
    return figures


def run(options, addresses: dict[str, str]) -> None:
    del addresses
    servers = {"floor": floor, "gateway": gateway}
    if nchan.is_there():
        servers["nchan"] = nchan.server
    rounds = []
    for number in range(options.rounds):
        note(f"sse, round {number + 1} of {options.rounds}")
        figures: dict[str, float] = {}
        for kind, server in servers.items():
            result = measure(server, options.streams, options.seconds)
            note(f"{kind}: {result['cpu_us']:.2f} us, {result['bytes_a_stream']:.0f} bytes,"
                 f" {load_text()}")
            figures |= {f"{kind}_{name}": value for name, value in result.items()}
        for kind in servers.keys() - {"floor"}:
            figures[f"{kind}_of_floor"] = figures[f"{kind}_cpu_us"] / figures["floor_cpu_us"]
        rounds.append(figures)
    rows: Rows = [("gateway_of_floor", "**gateway / floor, CPU a delivery**", "", 2),
                  ("nchan_of_floor", "nchan / floor, CPU a delivery", "", 2)]
    for name, title, unit, digits in (("cpu_us", "CPU a delivery", "us", 2),
                                      ("per_s", "deliveries", "1/s", 0),
                                      ("bytes_a_stream", "memory of an idle stream", "bytes", 0),
                                      ("opened_per_s", "streams opened", "1/s", 0),
                                      ("peak_mib", "memory (RSS, most)", "MiB", 0)):
        rows += [(f"{kind}_{name}", f"{kind}, {title}", unit, digits)
                 for kind in ("gateway", "nchan", "floor")]
    print_table(f"## Fan-out to {options.streams:,} streams ({options.rounds} rounds of"
                f" {options.seconds} s; at the end {load_text()})", rounds, rows)
