"""Forwarding: nothing is held back, nothing is lost, nobody waits for somebody else."""
from __future__ import annotations

import socket
import threading

import pytest
from harness.gateway import Upstream, answer, read_all
from harness.http import call
from harness.sse import Stream, read_head
from harness.waiting import DEADLINE_SECONDS, wait_until


@pytest.fixture
def gateway(open_gateway, upstream: Upstream):
    return open_gateway([{"path": "/**", "upstream": upstream.url}], upstream_timeout_ms=60000)


class EventSource:
    """An upstream's event stream whose events a test sends one by one."""

    def __init__(self, upstream: Upstream, path: str) -> None:
        self.handlers: list = []
        self.is_open = threading.Event()
        self.may_end = threading.Event()
        upstream.behaviours[path] = self.serve

    def serve(self, handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        self.handlers.append(handler)
        handler.end_headers()
        self.is_open.set()
        self.may_end.wait(DEADLINE_SECONDS)

    def send(self, text: str) -> None:
        data = text.encode()
        assert self.is_open.wait(DEADLINE_SECONDS)  # the head reaches the client before this thread
        self.handlers[-1].wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def test_a_streams_head_comes_before_its_first_event_and_each_event_at_once(
        gateway, upstream: Upstream) -> None:
    source = EventSource(upstream, "/events")
    with Stream(gateway.url + "/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        events = iter(stream)
        for number in range(5):
            source.send(f"id: {number}\ndata: event {number}\n\n")
            assert next(events).data == f"event {number}"
        source.send("data: half")
        source.send(" an event\n\n")
        assert next(events).data == "half an event"
        source.may_end.set()


def test_two_hundred_open_streams_do_not_make_a_request_wait(gateway, upstream: Upstream) -> None:
    source = EventSource(upstream, "/events")
    upstream.orders["1"] = {"n": 1}
    streams = [Stream(gateway.url + "/events") for _ in range(200)]
    try:
        assert gateway.stats()["proxied"] == 200
        assert call("GET", gateway.url + "/orders/1").status == 200
    finally:
        for stream in streams:
            stream.close()
    wait_until(lambda: gateway.stats()["proxied"] == 0, "the streams are gone")
    source.may_end.set()


def test_a_client_that_goes_ends_the_upstreams_request(gateway, upstream: Upstream) -> None:
    source = EventSource(upstream, "/events")
    stream = Stream(gateway.url + "/events")
    source.is_open.wait(DEADLINE_SECONDS)
    stream.close()
    # The upstream sees the end of the connection, without having to write anything.
    assert source.handlers[0].connection.recv(1) == b""
    source.may_end.set()
    wait_until(lambda: gateway.stats()["proxy_client_gone"] == 1, "it is counted")


def test_an_upstream_that_dies_in_the_middle_is_no_clean_end(gateway, upstream: Upstream) -> None:
    def die(handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n")
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
    upstream.behaviours["/dies"] = die
    answered = gateway.send_raw(b"GET /dies HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answered.endswith(b"5\r\nhello\r\n"), answered


def test_an_upstream_that_dies_before_its_promised_length_is_no_clean_end(
        gateway, upstream: Upstream) -> None:
    def die(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"hello")
        handler.close_connection = True
    upstream.behaviours["/dies"] = die
    answered = gateway.send_raw(b"GET /dies HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Content-Length: 100" in answered and answered.endswith(b"\r\n\r\nhello")


def test_an_upstream_that_is_down_is_502_with_the_cause(open_gateway) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gateway = open_gateway([{"path": "/**",
                                 "upstream": f"http://127.0.0.1:{free.getsockname()[1]}"}])
        refused = call("GET", gateway.url + "/x")
    assert refused.status == 502
    assert "refused" in refused.body["error"]


def test_an_upstream_that_does_not_answer_is_504(open_gateway, upstream: Upstream) -> None:
    may_end = threading.Event()
    upstream.behaviours["/slow"] = lambda handler: may_end.wait(DEADLINE_SECONDS)
    gateway = open_gateway([{"path": "/**", "upstream": upstream.url}], upstream_timeout_ms=300)
    refused = call("GET", gateway.url + "/slow")
    may_end.set()
    assert refused.status == 504
    assert gateway.stats()["proxy_timed_out"] == 1


def test_a_malformed_answer_is_502(open_gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer_badly() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            connection.recv(1)
        thread = threading.Thread(target=answer_badly, daemon=True)
        thread.start()
        gateway = open_gateway([{"path": "/**",
                                 "upstream": f"http://127.0.0.1:{server.getsockname()[1]}"}])
        assert call("GET", gateway.url + "/x").status == 502
        thread.join(DEADLINE_SECONDS)


def test_fields_of_one_connection_are_not_forwarded_and_who_asks_is_said_by_us(
        gateway, upstream: Upstream) -> None:
    upstream.behaviours["/x"] = lambda handler: answer(handler, 200, b"ok", {
        "Connection": "X-Their-Hop", "X-Their-Hop": "1", "Keep-Alive": "timeout=5",
        "X-Kept": "2", "X-Accel-Buffering": "no"})
    answered = call("GET", gateway.url + "/x", headers={
        "Connection": "X-My-Hop, X-Forwarded-For", "X-My-Hop": "1", "TE": "trailers",
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6", "Proxy-Authorization": "x", "X-Mine": "kept",
        "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"})
    sent = upstream.requests[-1][2]
    assert sent["x-forwarded-for"] == "127.0.0.1"
    assert sent["x-forwarded-proto"] == "http"
    assert sent["x-forwarded-host"] == f"{gateway.address[0]}:{gateway.address[1]}"
    assert sent["host"] == f"127.0.0.1:{upstream.port}"
    assert sent["x-mine"] == "kept"
    for name in ("x-my-hop", "te", "forwarded", "x-real-ip", "proxy-authorization", "upgrade",
                 "http2-settings", "connection"):
        assert name not in sent, name
    assert answered.headers["x-kept"] == "2"
    assert answered.headers["x-accel-buffering"] == "no"
    assert "x-their-hop" not in answered.headers and "keep-alive" not in answered.headers


def test_a_prefix_stands_before_the_path(open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([{"path": "/api/**", "upstream": upstream.url + "/v3"}])
    call("GET", gateway.url + "/api/x?y=%20z")
    assert upstream.requests[-1][1] == "/v3/api/x?y=%20z"


def test_a_client_that_does_not_read_holds_the_upstream_back(gateway, upstream: Upstream) -> None:
    sent = [0]
    may_end = threading.Event()

    def flood(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        piece = b"x" * 65536
        handler.connection.settimeout(0.5)
        try:
            while sent[0] < 1 << 30:
                sent[0] += handler.connection.send(piece)
        except TimeoutError:
            pass  # held back: this is what the test waits for
        may_end.set()
        handler.close_connection = True
    upstream.behaviours["/flood"] = flood
    with gateway.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
        assert may_end.wait(DEADLINE_SECONDS)
        assert sent[0] < 64 << 20, "the gateway took more than the kernels' buffers hold"
        assert gateway.resident_bytes() < 64 << 20


def test_an_upstream_that_does_not_read_holds_the_client_back(gateway, upstream: Upstream) -> None:
    may_end = threading.Event()
    upstream.behaviours["/deaf"] = lambda handler: may_end.wait(DEADLINE_SECONDS)
    with gateway.connect() as connection:
        connection.settimeout(0.5)
        connection.sendall(b"POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n")
        taken = 0
        try:
            while taken < 1 << 30:
                taken += connection.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert taken < 64 << 20
        assert gateway.resident_bytes() < 64 << 20
    may_end.set()


def test_a_pooled_connection_that_has_died_is_replaced(gateway, upstream: Upstream) -> None:
    def answer_and_close(handler) -> None:
        answer(handler, 200, b"ok")
        handler.close_connection = True  # without saying so
    upstream.behaviours["/x"] = answer_and_close
    for _ in range(20):
        assert call("GET", gateway.url + "/x").status == 200


def test_an_answer_that_comes_before_the_bodys_end_reaches_the_client(
        gateway, upstream: Upstream) -> None:
    def refuse(handler) -> None:
        answer(handler, 413, b"too much")
        handler.close_connection = True
    upstream.behaviours["/early"] = refuse
    with gateway.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        status, headers = read_head(connection.makefile("rb"))
        assert (status, headers["content-length"]) == (413, "8")


def test_an_upstream_may_end_its_answer_by_closing(open_gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer_and_close() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
            connection.close()
        threading.Thread(target=answer_and_close, daemon=True).start()
        gateway = open_gateway([{"path": "/**",
                                 "upstream": f"http://localhost:{server.getsockname()[1]}"}])
        answered = gateway.send_raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answered.endswith(b"5\r\nhello\r\n0\r\n\r\n")


def test_a_name_that_does_not_exist_is_502(open_gateway) -> None:
    gateway = open_gateway([{"path": "/**", "upstream": "http://no-such-host.invalid:80"}])
    assert call("GET", gateway.url + "/x").status == 502


def test_running_requests_are_finished_when_the_gateway_stops(gateway, upstream: Upstream) -> None:
    may_answer = threading.Event()
    is_asked = threading.Event()

    def answer_late(handler) -> None:
        is_asked.set()
        may_answer.wait(DEADLINE_SECONDS)
        answer(handler, 200, b"late")
    upstream.behaviours["/late"] = answer_late
    with gateway.connect() as connection:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        assert is_asked.wait(DEADLINE_SECONDS)
        gateway.process.terminate()

        def is_deaf() -> bool:
            try:
                gateway.connect().close()
                return False
            except ConnectionError:
                return True
        wait_until(is_deaf, "the gateway takes no new connections")
        may_answer.set()
        assert read_all(connection).endswith(b"late")
    assert gateway.process.wait(DEADLINE_SECONDS) == 0
