"""What the gateway makes of requests: good, odd and hostile ones, on bare sockets."""
from __future__ import annotations

import json
import socket

import pytest
from harness.gateway import Upstream, answer, read_all
from harness.http import call
from harness.sse import read_head
from harness.waiting import wait_until

HOSTILE = {
    "both lengths": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                    b"Content-Length: 4\r\n\r\nabcd", 400),
    "empty length": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
    "signed length": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd", 400),
    "list of lengths": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd", 400),
    "other coding": (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
    "coding in a field's blank": (b"POST /echo HTTP/1.1\r\nHost: a\r\n"
                                  b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "coding in HTTP/1.0": (b"POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           b"0\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "another host": (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "WebSocket": (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\n", 501),
    "long line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000 + b"\r\n\r\n", 431),
    "many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    "chunk size with LF": (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           b"4\nabcd\r\n0\r\n\r\n", 400),
    "chunk with a tail": (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          b"4\r\nabcdXX0\r\n\r\n", 400),
    "dots": (b"GET /a/../b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "encoded dots": (b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "no UTF-8": (b"GET /a/%ff%fe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "overlong UTF-8": (b"GET /a/%c0%ae HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "bytes of Latin-1": (b"GET /caf\xe9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "encoded line end": (b"GET /a%0d%0ab HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "half an escape": (b"GET /a%2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    "expectation": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
}


@pytest.fixture
def gateway(open_gateway, upstream: Upstream):
    return open_gateway([{"path": "/**", "upstream": upstream.url}])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_with_its_reason_and_ends_the_connection(
        gateway, upstream: Upstream, name: str) -> None:
    request, status = HOSTILE[name]
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    answered = gateway.send_raw(request + smuggled)
    head, _, body = answered.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answered
    assert json.loads(body)["error"], answered
    assert answered.count(b"Content-Length: ") == 1, "a second request was read out of the first"
    assert not any(path == "/smuggled" for _, path, _ in upstream.requests)


def test_pipelined_requests_are_answered_in_order(gateway, upstream: Upstream) -> None:
    upstream.orders.update({str(number): {"n": number} for number in range(20)})
    with gateway.connect() as connection:
        connection.sendall(b"".join(b"GET /orders/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number
                                    for number in range(20)))
        file = connection.makefile("rb")
        for number in range(20):
            status, headers = read_head(file)
            assert status == 200
            assert json.loads(file.read(int(headers["content-length"])))["n"] == number


def test_a_head_may_come_byte_by_byte(gateway, upstream: Upstream) -> None:
    upstream.orders["1"] = {"n": 1}
    with gateway.connect() as connection:
        for byte in b"GET /orders/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_expect_100_continue_is_answered_before_the_body(gateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                           b"Expect: 100-continue\r\n\r\n")
        file = connection.makefile("rb")
        assert read_head(file)[0] == 100
        connection.sendall(b"hello")
        assert read_head(file)[0] == 200
        assert file.read(5) == b"hello"


def test_http_1_0_gets_its_answer_until_the_connection_closes(gateway, upstream: Upstream) -> None:
    def in_chunks(handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")
    upstream.behaviours["/chunks"] = in_chunks
    answered = gateway.send_raw(b"GET /chunks HTTP/1.0\r\n\r\n")
    head, _, body = answered.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"hello"


def test_head_has_the_length_and_no_body(gateway, upstream: Upstream) -> None:
    upstream.orders["1"] = {"n": 1}
    with gateway.connect() as connection:
        for _ in range(2):  # twice: the connection is still in step
            connection.sendall(b"HEAD /orders/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            file = connection.makefile("rb")
            status, headers = read_head(file)
            assert (status, headers["content-length"]) == (200, "8")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_bodies_go_both_ways(gateway, framing: str) -> None:
    body = bytes(range(256)) * 20000
    with gateway.connect() as connection:
        if framing == "length":
            head = b"Content-Length: %d\r\n\r\n" % len(body)
            sent = head + body
        else:
            pieces = [body[i:i + 70000] for i in range(0, len(body), 70000)]
            sent = b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
                b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + sent)
        assert read_all(connection).partition(b"\r\n\r\n")[2] == body


def test_a_connection_over_the_limit_is_told_so(open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([{"path": "/**", "upstream": upstream.url}], connections_max=3)
    with gateway.connect(), gateway.connect(), gateway.connect():
        gateway.wait_stat("connections", 3)
        refused = gateway.send_raw(b"")
        assert refused.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in refused
    wait_until(lambda: gateway.stats()["connections"] == 0, "the connections are gone")
    assert call("GET", gateway.url + "/orders/1").status == 404
    assert gateway.stats()["refused_connections"] == 1


def test_a_path_without_a_route_is_404_with_a_reason(open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([{"path": "/orders/{id}", "upstream": upstream.url}])
    refused = call("GET", gateway.url + "/nothing")
    assert (refused.status, list(refused.body)) == (404, ["error"])
    assert call("GET", gateway.url + "/orders/a%2Fb").status == 400
    assert call("GET", gateway.url + "/orders/a%00b").status == 400
    assert upstream.requests == []


def test_a_client_that_sends_only_half_a_request_is_no_request(gateway, upstream: Upstream) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    wait_until(lambda: gateway.stats()["proxied"] == 0, "the request is given up")


def test_many_requests_on_one_connection_leave_nothing_behind(gateway, upstream: Upstream) -> None:
    upstream.behaviours["/empty"] = lambda handler: answer(handler, 204, headers={"X": "y"})
    with gateway.connect() as connection:
        file = connection.makefile("rb")
        for _ in range(300):
            connection.sendall(b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_head(file)[0] == 204
    assert gateway.stats()["proxy_answered"] == 300
