"""What the users example is made of, for examples/run."""

DATABASES = {"users": "postgresql", "coupons": "postgresql"}
OPTIONS = [("poison-name", "", "users of this name get no coupon, however often it is tried")]
SERVICES = [
    ("users", "examples/users/users", ["--database={database[users]}"]),
    ("coupons", "examples/users/coupons",
     ["--database={database[coupons]}", "--broker={broker}",
      "--poison-name={options[poison_name]}"]),
]
ROUTES = """
- path: /coupons/{{id}}/stream
  stream:
    topic: coupon.issued.v1
    key: "{{id}}"
    snapshot: {address[coupons]}/coupons/{{id}}/status
    event: /type
    version: /version
    final: [issued]
- path: /coupons/**
  upstream: {address[coupons]}
- path: /users/**
  upstream: {address[users]}
- path: /listeners
  upstream: {address[users]}
- path: /pages/users
  upstream: {address[users]}
"""
HOME = "users"  # the service that has the page
PAGE = "register a user, and see the coupon come"
COMMANDS = """
curl -d '{{"userId": "rudaks2", "userName": "Rudak"}}' {gateway}/users
curl -N {gateway}/coupons/rudaks2/stream
"""
