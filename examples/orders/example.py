"""What the orders example is made of, for examples/run."""

DATABASES = {"orders": "postgresql", "payment": "postgresql"}
OPTIONS = [
    ("payment-delay-ms", 900, "how long a payment takes, so that one sees it"),
    ("expire-after-ms", 30000, "how long an order may wait for its payment"),
]
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
- path: /pages/orders
  upstream: {address[order]}
"""
HOME = "order"  # the service that has the page
PAGE = "place orders, cancel them, and watch them move"
COMMANDS = """
curl -d '{{"user_id": 7, "items": [{{"item_id": 1, "quantity": 2}}]}}' {gateway}/orders
curl -N {gateway}/orders/1/stream
"""
