"""Many rude clients and a bad service at once: the gateway outlives them and keeps nothing of them."""
from __future__ import annotations

import json
import random
import socket
import threading

from harness.gateway import Gateway, Upstream, answer, stream_route
from harness.http import call
from harness.waiting import wait_until

CLIENTS, ROUNDS = 24, 100
PATHS = ["/events", "/big", "/junk", "/echo", "/orders/1", "/orders/{}/stream", "/owned/{}?u=a",
         "/owned/{}?u=b", "/a%2fb", "/orders/x/stream"]
JUNK = [b"garbage", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloEXTRA",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 101 X\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"]


def misbehave(upstream: Upstream, chance: random.Random) -> None:
    """Give the service bad habits: junk, half answers, errors, answers that are no JSON."""
    def events(handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for number in range(chance.randint(0, 30)):
            data = b"data: %d\n\n" % number
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if chance.random() < 0.5:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    def junk(handler) -> None:
        handler.wfile.write(chance.choice(JUNK))
        handler.close_connection = True

    def flaky(handler) -> None:
        state = json.dumps({"type": "step", "version": 1}).encode()
        status, body = chance.choice([(500, b""), (200, b"not json"), (404, b""), (200, state)])
        answer(handler, status, body)

    upstream.behaviours.update({
        "/events": events, "/junk": junk, "/orders/4": flaky,
        "/big": lambda handler: answer(handler, 200, b"x" * chance.randint(0, 2_000_000))})


def request(chance: random.Random, ids: list[str]) -> bytes:
    """A request, often a good one."""
    method = chance.choice(["GET"] * 5 + ["POST", "HEAD", "PUT"])
    body = b"x" * chance.choice([0, 10, 200_000]) if method in ("POST", "PUT") else b""
    head = (f"{method} {chance.choice(PATHS).format(chance.randint(0, 4))} "
            f"HTTP/1.{chance.choice('1110')}\r\nHost: a\r\nAccept: text/event-stream\r\n")
    if chance.random() < 0.5:
        head += f"Last-Event-ID: {chance.choice(ids)}\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    data = bytearray(head.encode() + b"\r\n" + body)
    if chance.random() < 0.2:
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(min(len(data), 300))] = chance.randrange(256)
    return bytes(data[:chance.randrange(len(data))] if chance.random() < 0.2 else data)


def be_rude(gateway: Gateway, seed: int, ids: list[str]) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        try:
            with socket.create_connection(gateway.address, timeout=0.1) as connection:
                for _ in range(chance.randint(1, 3)):
                    connection.sendall(request(chance, ids))
                for _ in range(chance.choice([0, 0, 1, 20])):
                    data = connection.recv(chance.choice([100, 65536]))
                    ids.extend(line[4:].decode("latin-1") for line in data.split(b"\n")
                               if line.startswith(b"id: "))
                if chance.random() < 0.3:  # goes with a reset, as a process that was killed
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          b"\x01\x00\x00\x00\x00\x00\x00\x00")
        except OSError:
            pass


def test_rude_clients_and_a_bad_service_leave_nothing_behind(
        open_gateway, upstream: Upstream) -> None:
    chance = random.Random(1)
    misbehave(upstream, chance)
    upstream.orders.update({str(key): {"type": "step", "version": 0} for key in range(4)})
    owned = {**stream_route(upstream, owner="{query.u}"), "path": "/owned/{id}"}
    gateway = open_gateway(
        [stream_route(upstream), owned, {"path": "/**", "upstream": upstream.url}],
        heartbeat_ms=50, replay_events=20, stream_queue_size_max=5000, stream_stall_ms=300,
        snapshot_timeout_ms=500, upstream_timeout_ms=500, connections_max=100)
    ids = ["1-2", "ffffffff-0-0-0"]
    threads = [threading.Thread(target=be_rude, args=(gateway, seed, ids))
               for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    version = 1
    while any(thread.is_alive() for thread in threads):
        version += 1
        gateway.publish(str(version % 5), {
            "type": chance.choice(["step", "step", "step", "completed"]), "version": version,
            "filler": "x" * chance.choice([10, 3000])})
    wait_until(lambda: all(gateway.stats()[name] == 0 for name in
                           ("streams", "proxied", "queued", "connections")),
               f"everything is gone: {gateway.stats()}")
    assert call("GET", gateway.url + "/orders/1").status == 200
