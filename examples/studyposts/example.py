"""What the studyposts example is made of, for examples/run."""
import base64
import json
import os
import secrets
from pathlib import Path

DATABASES = {"posts": "mariadb", "indexer": "postgresql"}
NEEDS = ["opensearch"]
OPTIONS = [("clock", "", "a file with a local date-time: the posts' time stands still there"),
           ("index", "study_posts", "the name of the index in OpenSearch")]


def write_secretly(file: Path, text: str) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)


def prepare(data: Path, known: dict) -> None:
    """One secret that signs tokens and judges them; kept, so that a restart signs nobody out."""
    if not (data / "token.secret").exists():
        write_secretly(data / "token.secret", secrets.token_urlsafe(32))
    secret = (data / "token.secret").read_bytes()
    key = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    write_secretly(data / "token.jwk", json.dumps({"kty": "oct", "alg": "HS256", "k": key}))


SERVICES = [
    ("posts", "examples/studyposts/posts",
     ["--database={database[posts]}", "--broker={broker}", "--token-secret={data}/token.secret",
      "--clock={options[clock]}"]),
    ("search", "examples/studyposts/search",
     ["--database={database[indexer]}", "--broker={broker}", "--search={search}",
      "--index={options[index]}"]),
]
GATEWAY = """
token:
  key_files: ["{data}/token.jwk"]
  audience: studyposts
  cookie: studyposts
"""
ROUTES = """
- path: /api/notifications/subscribe
  stream:
    topic: notification-live
    key: "{{token.sub}}"
    snapshot: {address[posts]}/api/notifications/snapshot
    event: /event
    version: /version
- path: /api/users/{{user}}/notifications
  subject: "{{user}}"
  stream:
    topic: notification-live
    key: "{{user}}"
    snapshot: {address[posts]}/api/notifications/snapshot
    event: /event
    version: /version
- path: /api/posts/search
  token: optional
  upstream: {address[search]}
- path: /api/admin/failed-post-syncs
  token: optional
  upstream: {address[search]}
- path: /api/**
  token: optional
  upstream: {address[posts]}
- path: /pages/studyposts
  upstream: {address[posts]}
"""
HOME = "posts"
PAGE = "two tabs: one posts and approves, the other applies and is told live"
COMMANDS = """
curl -d '{{"nickname": "ann"}}' {gateway}/api/auth/dev        # data.accessToken is $TOKEN below
curl -H "Authorization: Bearer $TOKEN" -d '{{"title": "C by heart", "description": "We read.",
  "maxMembers": 2, "deadline": "2099-01-01T00:00:00"}}' {gateway}/api/posts
curl -H "Authorization: Bearer $TOKEN" '{gateway}/api/posts/search?keyword=heart'
curl -N -H "Authorization: Bearer $TOKEN" {gateway}/api/notifications/subscribe
"""
