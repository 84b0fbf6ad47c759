"""What the orders example is made of, for examples/run."""
import base64
import json
import os
import secrets
from pathlib import Path
from types import SimpleNamespace

DATABASES = {"orders": "postgresql", "payment": "postgresql"}
OPTIONS = [
    ("payment-delay-ms", 900, "how long a payment takes, so that one sees it"),
    ("expire-after-ms", 30000, "how long an order may wait for its payment"),
    ("members", "off", "on: users register and log in, and an order is its user's"),
    ("token-lifetime-s", 3600, "with members: how long a login is good"),
]
CHOICES = {"members", "token-lifetime-s"}  # change what it is made of; see chosen()
SERVICES = [
    ("payment", "examples/orders/payment",
     ["--database={database[payment]}", "--broker={broker}",
      "--payment-delay-ms={options[payment_delay_ms]}"]),
    ("order", "examples/orders/order",
     ["--database={database[orders]}", "--broker={broker}",
      "--expire-after-ms={options[expire_after_ms]}"]),
]
ROUTES = """
# The hub's stream: the gateway makes it from the topic, and asks the service for the snapshot.
- path: /orders/{{id}}/stream
  stream:
    topic: order.status-changed.v1
    key: "{{id}}"
    snapshot: {address[order]}/orders/{{id}}
    event: /type
    version: /version
    final: [completed, failed, cancelled, timed_out]
# The service's own stream: the gateway passes it on as it comes.
- path: /orders/{{id}}/stream/direct
  upstream: {address[order]}
- path: /wallet/**
  upstream: {address[payment]}
- path: /orders/**
  upstream: {address[order]}
- path: /items
  upstream: {address[order]}
- path: /auth/config
  upstream: {address[order]}
- path: /pages/orders
  upstream: {address[order]}
"""
HOME = "order"  # the service that has the page
PAGE = "place orders, cancel them, and watch them move"
COMMANDS = """
curl -d '{{"user_id": 7, "items": [{{"item_id": 1, "quantity": 2}}]}}' {gateway}/orders
curl -N {gateway}/orders/1/stream
"""

# --- with --members on ------------------------------------------------------------------------

MEMBERS_GATEWAY = """
token:
  key_files: ["{data}/token.jwk"]
  audience: orders
  cookie: session
  subject_header: X-Authenticated-User-Id
"""
MEMBERS_COMMANDS = """
curl -d '{{"user_ci_number": "1", "username": "Ann", "user_email": "ann@example.org", "password": "secret-1"}}' \\
    {gateway}/auth/register
curl -i -d '{{"email": "ann@example.org", "password": "secret-1"}}' {gateway}/auth/login
curl -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: 1' -d '{{"amount": 5000}}' {gateway}/wallet/charge
curl -H "Authorization: Bearer $TOKEN" -d '{{"items": [{{"item_id": 1, "quantity": 2}}]}}' {gateway}/orders
curl -H "Authorization: Bearer $TOKEN" -N {gateway}/orders/1/stream
"""


def make_token_key(data: Path, known: dict) -> None:
    """The secret that the member service signs with and the gateway checks by, made once."""
    try:
        descriptor = os.open(data / "token.jwk", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    with os.fdopen(descriptor, "w") as file:
        json.dump({"kty": "oct", "k": secret}, file)


def with_token(routes: str) -> str:
    """The same routes, where all that is a user's wants a token."""
    for path in ("/orders/{{id}}/stream", "/orders/{{id}}/stream/direct", "/wallet/**", "/orders/**"):
        routes = routes.replace(f"- path: {path}\n", f"- path: {path}\n  token: required\n")
    return routes.replace("- path: /auth/config\n  upstream: {address[order]}",
                          "- path: /auth/**\n  upstream: {address[member]}")


def chosen(options: dict) -> SimpleNamespace | None:
    """What it is made of with these options; None: as it stands above."""
    if options["members"] not in ("on", "off"):
        raise SystemExit(f"examples/run: --members takes on or off, not '{options['members']}'")
    if options["members"] == "off":
        return None
    services = [(name, path, [*arguments, "--members=on"]) for name, path, arguments in SERVICES]
    member = ("member", "examples/orders/member",
              ["--database={database[member]}", "--token-key={data}/token.jwk",
               "--token-lifetime-s={options[token_lifetime_s]}"])
    return SimpleNamespace(
        DATABASES={"member": "postgresql", **DATABASES}, SERVICES=[member, *services],
        GATEWAY=MEMBERS_GATEWAY, ROUTES=with_token(ROUTES), HOME=HOME, PAGE=PAGE,
        COMMANDS=MEMBERS_COMMANDS, prepare=make_token_key)
