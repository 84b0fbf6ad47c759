"""Tokens: who may open a stream, pass through, or resume, and what each is told who may not."""
from __future__ import annotations

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.gateway import Gateway, Upstream, answer, stream_route
from harness.http import Answer, call
from harness.sse import Refused, Stream
from harness.waiting import wait_until

SECRET = "a secret of thirty-two bytes, or more"
TOKEN = {"secret": SECRET, "audience": "shop", "cookie": "session"}
NONE, OPTIONAL, REQUIRED = 1, 2, 3  # enum sl_token_mode


def make_token(subject: str | None = "ann", *, seconds: float = 600, key: str | bytes = SECRET,
               algorithm: str = "HS256", **claims) -> str:
    body = {"aud": "shop", "exp": int(time.time() + seconds), **claims}
    if subject is not None:
        body["sub"] = subject
    return jwt.encode({name: value for name, value in body.items() if value is not None}, key,
                      algorithm)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"theme=dark; session={token}"}


@pytest.fixture(scope="module")
def rsa_key() -> tuple[bytes, str]:
    """A private key, and its public one in PEM."""
    key = rsa.generate_private_key(65537, 2048)
    return (key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption()),
            key.public_key().public_bytes(serialization.Encoding.PEM,
                                          serialization.PublicFormat.SubjectPublicKeyInfo).decode())


@pytest.fixture
def open_streams(open_gateway, upstream: Upstream):
    """A gateway whose streams are those of the user in the path."""
    def open_one(config: dict | None = None, token: dict | None = None, **changes) -> Gateway:
        route = stream_route(upstream, path="/users/{user}/orders/{id}/stream", subject="{user}",
                             **changes)
        return open_gateway([route], token={**TOKEN, **(token or {})},
                            **{"heartbeat_ms": 1000, **(config or {})})
    return open_one


def publish(upstream: Upstream, gateway: Gateway, version: int, kind: str = "paid") -> None:
    state = {"type": kind, "version": version}
    upstream.orders["7"] = state
    gateway.publish("7", state)


def url(gateway: Gateway, user: str = "ann") -> str:
    return f"{gateway.url}/users/{user}/orders/7/stream"


@pytest.mark.parametrize("by", [bearer, cookie])
def test_a_stream_is_opened_and_resumed_with_a_token_and_upstreams_hear_whose_it_is(
        open_streams, upstream: Upstream, by) -> None:
    gateway = open_streams()
    publish(upstream, gateway, 1)
    with Stream(url(gateway), headers=by(make_token())) as stream:
        first = next(iter(stream))
        assert json.loads(first.data)["version"] == 1
    publish(upstream, gateway, 2)
    with Stream(url(gateway), first.id, headers=by(make_token())) as stream:
        assert json.loads(next(iter(stream)).data)["version"] == 2
    assert [headers["sluice-subject"] for _, _, headers in upstream.requests] == ["ann", "ann"]


def test_a_token_that_is_not_good_is_401_and_says_why_and_not_what_it_was(
        open_streams, upstream: Upstream, rsa_key) -> None:
    _, public = rsa_key
    gateway = open_streams(token={"issuer": "login"})
    publish(upstream, gateway, 1)
    good = make_token(iss="login")
    header, body, signature = good.split(".")
    cases = {
        "": "a token is needed",
        "nonsense": "no signed JWT",
        make_token(iss="login", seconds=-60): "expired",
        make_token(iss="login", exp=None): "no end",
        make_token(iss="login", aud="other"): "aud",
        make_token(iss="login", nbf=int(time.time()) + 600): "not good yet",
        make_token(): "issuer",
        make_token(iss="login", key=SECRET + "x"): "signature is wrong",
        jwt.encode({"sub": "ann", "aud": "shop", "iss": "login", "exp": 9e9}, None, "none"):
            "not known here",
        make_token(iss="login", algorithm="HS512"): "not known here",
        f"{header}.{body}.{signature[:-3]}": "signature is wrong",
        f"{header}.{body}.": "signature is wrong",
        f"{header}.{body}": "no signed JWT",
        good + "A" * 12000: "",
    }
    for token, reason in cases.items():
        refused = call("GET", url(gateway), headers=bearer(token) if token else {})
        if len(token) > 12000:
            assert refused.status in (401, 431)
            continue
        assert refused.status == 401, token
        assert reason in refused.body["error"], (refused.body, reason)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert ("invalid_token" in refused.headers["www-authenticate"]) == bool(token)
        assert not token or token not in str(refused)
    assert upstream.requests == []
    assert call("GET", url(gateway) + f"?access_token={good}&token={good}").status == 401
    log = gateway.log.read_text()
    assert all(token not in log for token in cases if len(token) > 20) and body not in log
    with Stream(url(gateway), headers=bearer(good)) as stream:
        assert next(iter(stream)).name == "paid"


def test_rs256_is_taken_with_its_public_key_which_is_no_secret(
        open_streams, upstream: Upstream, rsa_key) -> None:
    private, public = rsa_key
    gateway = open_streams(token={"secret": None, "key": public})
    publish(upstream, gateway, 1)
    with Stream(url(gateway), headers=bearer(
            make_token(key=private, algorithm="RS256"))) as stream:
        assert next(iter(stream)).name == "paid"
    import base64
    import hashlib
    import hmac
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in
             ({"alg": "HS256"}, {"sub": "ann", "aud": "shop", "exp": int(time.time()) + 600})]
    mac = hmac.new(public.encode(), b".".join(parts), hashlib.sha256).digest()
    forged = b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    for token in (forged, make_token()):
        assert call("GET", url(gateway), headers=bearer(token)).status == 401


def test_anothers_stream_is_refused_at_the_opening_and_at_each_resume(
        open_streams, upstream: Upstream) -> None:
    gateway = open_streams()
    publish(upstream, gateway, 1)
    with Stream(url(gateway), headers=bearer(make_token())) as stream:
        position = next(iter(stream)).id
    asked = len(upstream.requests)
    for headers in (bearer(make_token("eve")), bearer(make_token(None)), cookie(make_token("eve"))):
        for last_id in (None, position):
            with pytest.raises(Refused) as refused:
                Stream(url(gateway), last_id, headers=headers)
            assert refused.value.status == 403
    with pytest.raises(Refused) as refused:
        Stream(url(gateway), position)
    assert refused.value.status == 401
    assert len(upstream.requests) == asked, "the service was asked for somebody who may not"
    assert gateway.stats()["refused_subject"] == 6


def test_the_services_refusal_is_passed_on_at_each_resume(
        open_gateway, upstream: Upstream) -> None:
    """No `subject`: the service decides by the field that says whose token it is."""
    gateway = open_gateway([stream_route(upstream, token=REQUIRED)], token=TOKEN)
    publish(upstream, gateway, 1)

    def decide(handler) -> None:
        is_anns = handler.headers["Sluice-Subject"] == "ann"
        answer(handler, 200 if is_anns else 403, json.dumps(upstream.orders["7"]).encode())
    upstream.behaviours["/orders/7"] = decide
    path = f"{gateway.url}/orders/7/stream"
    with Stream(path, headers=bearer(make_token())) as stream:
        position = next(iter(stream)).id
    for headers in (bearer(make_token("eve")),
                    {**bearer(make_token("eve")), "Sluice-Subject": "ann"}):
        with pytest.raises(Refused) as refused:
            Stream(path, position, headers=headers)
        assert refused.value.status == 403
    publish(upstream, gateway, 2)
    with Stream(path, position, headers=bearer(make_token())) as stream:
        assert json.loads(next(iter(stream)).data)["version"] == 2


def test_a_stream_ends_with_its_token_and_goes_on_with_a_fresh_one(
        open_streams, upstream: Upstream) -> None:
    gateway = open_streams()
    publish(upstream, gateway, 1)
    token = make_token(seconds=2)
    with Stream(url(gateway), headers=cookie(token)) as stream:
        events = list(stream)
    assert [event.name for event in events] == ["paid", "expired"]
    assert "expired" in json.loads(events[-1].data)["reason"]
    position = events[-1].id
    assert position == events[0].id, "the page is where it was"
    with pytest.raises(Refused) as refused:
        Stream(url(gateway), position, headers=cookie(token))
    assert refused.value.status == 401 and "expired" in refused.value.body
    publish(upstream, gateway, 2)
    publish(upstream, gateway, 3)
    with Stream(url(gateway), position, headers=cookie(make_token())) as stream:
        rest = iter(stream)
        assert [json.loads(next(rest).data)["version"] for _ in range(2)] == [2, 3]
    stats = gateway.stats()
    assert (stats["ended_expired"], stats["resets"], stats["streams_resumed"]) == (1, 0, 1)


def test_a_stream_of_the_tokens_subject_needs_no_name_in_its_path(
        open_gateway, upstream: Upstream) -> None:
    route = stream_route(upstream, path="/mine/stream", key="{token.sub}", owner="{token.sub}",
                         snapshot=upstream.url + "/orders/{token.sub}")
    gateway = open_gateway([route], token=TOKEN)
    upstream.orders["ann"] = {"type": "paid", "version": 1}
    upstream.orders["bob"] = {"type": "late", "version": 1}
    path = gateway.url + "/mine/stream"
    with Stream(path, headers=bearer(make_token())) as anns, \
            Stream(path, headers=bearer(make_token("bob"))) as bobs:
        assert (next(iter(anns)).name, next(iter(bobs)).name) == ("paid", "late")
        assert "ann" in gateway.ask("streams") and "bob" in gateway.ask("streams")
        with Stream(path, headers=bearer(make_token())) as newer:
            assert next(iter(newer)).name == "paid"
            assert next(iter(anns)).name == "replaced"
    assert call("GET", path).status == 401


def test_an_optional_token_must_be_good_and_none_is_not_looked_at(
        open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([{"path": "/optional", "upstream": upstream.url, "token": OPTIONAL},
                            {"path": "/none", "upstream": upstream.url, "token": NONE},
                            {"path": "/needed", "upstream": upstream.url, "token": REQUIRED}],
                           token=TOKEN)
    upstream.orders.update({"optional": {"n": 1}, "none": {"n": 2}, "needed": {"n": 3}})

    def ask(path: str, headers: dict[str, str] | None = None) -> tuple[int, str | None]:
        answered = call("GET", gateway.url + path, headers=headers)
        seen = upstream.requests[-1][2].get("sluice-subject") if answered.status == 200 else None
        return answered.status, seen
    assert ask("/optional") == (200, None)
    assert ask("/optional", bearer(make_token())) == (200, "ann")
    assert ask("/optional", bearer("x.y.z")) == (401, None)
    assert ask("/none", bearer("x.y.z")) == (200, None)
    assert ask("/none", bearer(make_token())) == (200, None)
    assert ask("/needed") == (401, None)
    assert ask("/needed", bearer(make_token())) == (200, "ann")
    assert ask("/needed", {"Authorization": "Basic YTpi"}) == (401, None)


@pytest.mark.parametrize("name", ["Sluice-Subject", "sluice-subject", "Sluice_Subject",
                                  "SLUICE_SUBJECT"])
@pytest.mark.parametrize("mode", [NONE, OPTIONAL, REQUIRED])
def test_a_clients_own_word_on_whose_it_is_never_arrives(
        open_gateway, upstream: Upstream, name: str, mode: int) -> None:
    gateway = open_gateway([{"path": "/**", "upstream": upstream.url, "token": mode}], token=TOKEN)
    call("GET", gateway.url + "/echo",
         headers={name: "root", "Connection": "close, Sluice-Subject", **bearer(make_token())})
    said = {field.replace("_", "-"): value for field, value in upstream.requests[-1][2].items()}
    assert said.get("sluice-subject") == (None if mode == NONE else "ann")


def test_a_path_in_other_bytes_does_not_lead_past_a_route_that_needs_a_token(
        open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([{"path": "/private/**", "upstream": upstream.url, "token": REQUIRED},
                            {"path": "/**", "upstream": upstream.url}], token=TOKEN)
    for path in ("/private/1", "/%70rivate/1", "/%50rivate/../private/1", "//private/1",
                 "/priv%61te/1", "/./private/1", "/x/..%2fprivate/1", "\\private/1",
                 "/%5cprivate/1", "/private%2f1", "/%2fprivate/1", "/x/%252e%252e/private/1"):
        assert gateway.send_raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                                .encode()).split()[1] in (b"401", b"400"), path
    assert upstream.requests == []


def test_two_tokens_in_a_request_are_refused_since_readers_could_differ(
        open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([{"path": "/**", "upstream": upstream.url, "token": REQUIRED}],
                           token=TOKEN)
    ann, eve = make_token(), make_token("eve")
    for fields in ([f"Authorization: Bearer {ann}", f"Authorization: Bearer {eve}"],
                   [f"Cookie: session={ann}; session={eve}"],
                   [f"Cookie: session={ann}", f"Cookie: session={eve}"]):
        head = "\r\n".join(["GET /echo HTTP/1.1", "Host: a", "Connection: close", *fields])
        assert gateway.send_raw((head + "\r\n\r\n").encode()).split()[1] == b"401", fields
    assert upstream.requests == []


class Page:
    """A page that sends a request with the browser's cookie."""

    def __init__(self, gateway: Gateway, headers: dict[str, str]) -> None:
        self.gateway = gateway
        self.headers = headers

    def send(self, method: str, path: str = "/echo", **more: str) -> Answer:
        own = {name: value.replace("OWN", self.gateway.url) for name, value in more.items()}
        return call(method, self.gateway.url + path, b"{}" if method != "GET" else None,
                    {**self.headers, **{name.replace("_", "-"): value
                                        for name, value in own.items()}})


def test_with_a_cookie_what_changes_something_comes_from_a_page_of_ours(
        open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([stream_route(upstream, token=REQUIRED),
                            {"path": "/**", "upstream": upstream.url, "token": REQUIRED}],
                           token=TOKEN, origin="https://shop.example")
    upstream.orders["7"] = {"type": "paid", "version": 1}
    page = Page(gateway, cookie(make_token()))
    for method in ("POST", "PUT", "DELETE"):
        assert page.send(method, Origin="OWN").status == 200
        assert page.send(method, Origin="https://shop.example").status == 200
        assert page.send(method, Sec_Fetch_Site="same-origin").status == 200
        for foreign in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"},
                        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
                        {"Origin": "OWN", "Sec_Fetch_Site": "same-site"},
                        {"Origin": "https://shop.example.evil.example"},
                        {"Referer": "OWN"}):
            refused = page.send(method, **foreign)
            assert refused.status == 403, (method, foreign)
    assert page.send("GET", Origin="https://evil.example").status != 403, "a link may lead here"
    assert page.send("GET", "/orders/7/stream", Origin="https://evil.example").status == 403
    assert page.send("GET", "/orders/7/stream", Sec_Fetch_Site="cross-site").status == 403
    # What no page can send by accident needs no page of ours.
    assert Page(gateway, bearer(make_token())).send("POST").status == 200


def test_an_error_can_be_read_by_pages_of_origins_that_are_named(
        open_gateway, upstream: Upstream) -> None:
    gateway = open_gateway([stream_route(upstream, token=REQUIRED)], token=TOKEN,
                           origin="https://shop.example")
    refused = call("GET", gateway.url + "/orders/7/stream",
                   headers={"Origin": "https://shop.example"})
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    preflight = call("OPTIONS", gateway.url + "/orders/7/stream",
                     headers={"Origin": "https://shop.example",
                              "Access-Control-Request-Method": "GET",
                              "Access-Control-Request-Headers": "authorization"})
    assert preflight.status == 204, "a preflight comes without a token"


def test_streams_of_a_token_cost_no_more_once_they_run(open_streams, upstream: Upstream) -> None:
    gateway = open_streams()
    publish(upstream, gateway, 1)
    streams = [Stream(url(gateway), headers=bearer(make_token())) for _ in range(50)]
    try:
        wait_until(lambda: gateway.stats()["streams_opened"] == 50, "50 streams")
        publish(upstream, gateway, 2)
        for stream in streams:
            events = iter(stream)
            assert [json.loads(next(events).data)["version"] for _ in range(2)] == [1, 2]
    finally:
        for stream in streams:
            stream.close()
    gateway.wait_streams(0)
