"""What the payments example is made of, for examples/run."""
from pathlib import Path

DATABASES = {"pay": "mariadb", "shop": "postgresql"}
OPTIONS = [("rollback-handler", "task", "how a rollback is handled: no-task, detached or task")]
TOKENS = "".join(f"token-of-{user} {user}\n" for user in range(1, 1001))


def prepare(data: Path, known: dict) -> None:
    (data / "tokens").write_text(TOKENS)


SERVICES = [
    ("pay", "examples/payments/pay",
     ["--database={database[pay]}", "--broker={broker}", "--tokens={data}/tokens",
      "--rollback-handler={options[rollback_handler]}"]),
    ("shop", "examples/payments/shop", ["--database={database[shop]}", "--broker={broker}"]),
]
ROUTES = """
- path: /v1/pays/orders/{{id}}/stream
  stream:
    topic: payment.state-changed.v1
    key: "{{id}}"
    snapshot: {address[pay]}/v1/pays/orders/{{id}}
    event: /state
    version: /version
    final: [SUCCESS, FAILED]
- path: /v1/orders/{{id}}/stream
  stream:
    topic: order.state-changed.v1
    key: "{{id}}"
    snapshot: {address[shop]}/v1/orders/{{id}}
    event: /state
    version: /version
    final: [FAILED]
- path: /v1/orders/**
  upstream: {address[shop]}
- path: /v1/products/**
  upstream: {address[shop]}
- path: /v1/**
  upstream: {address[pay]}
- path: /pages/payments
  upstream: {address[pay]}
"""
HOME = "pay"  # the service that has the page
PAGE = "order, pay with points, and see it succeed or be refused"
COMMANDS = """
curl -d '{{"userId": 7, "productId": 1, "quantity": 2}}' {gateway}/v1/orders
curl -d '{{"orderId": 1, "userId": 7, "price": 200}}' {gateway}/v1/pays/orders
curl -d '{{"orderId": 1}}' -H 'Authorization: Bearer token-of-7' {gateway}/v1/pays/points
curl -N {gateway}/v1/pays/orders/1/stream
"""
