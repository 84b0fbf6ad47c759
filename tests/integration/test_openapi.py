"""Each example's OpenAPI files, held against the running example by schemathesis, which is fetched
into a cache folder when these tests run for the first time.

Each endpoint is asked by all kinds of good and bad requests, and in sequences that hand on the ids
of what was made: no answer may be a 5xx, or one whose status, texts or fields are not in the file.
"""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Callable, ContextManager, NamedTuple

import pytest
from harness.example import Example, run_example
from harness.members import PASSWORD, applicant
from harness.process import ROOT

VERSION = "4.32.5"
# Left out: that whatever is good by its form must be granted (a key may be used, a seat be taken),
# and that what is under a thing that was just made must be there, too.
LEFT_OUT = "positive_data_acceptance,ensure_resource_availability"
STREAMS = "(/stream|/stream/direct|/subscribe|/users/.*/notifications)$"  # they do not end


class Api(NamedTuple):
    example: str
    file: str
    options: list[str]
    token: Callable[[Example], str | None]


def member_token(running: Example) -> str:
    somebody = applicant()
    assert running.post("/auth/register", somebody).status == 201
    answer = running.post("/auth/login", {"email": somebody["user_email"], "password": PASSWORD})
    return answer.headers["authorization"].removeprefix("Bearer ")


def user_token(running: Example) -> str:
    answer = running.post("/api/auth/dev", {"nickname": "ann"})
    return answer.body["data"]["accessToken"]


APIS = {
    "users": Api("users", "openapi.yaml", [], lambda _: None),
    "payments": Api("payments", "openapi.yaml", [], lambda _: "token-of-7"),
    "orders": Api("orders", "openapi.yaml", ["--payment-delay-ms=0"], lambda _: None),
    "orders with members": Api("orders", "openapi-members.yaml",
                               ["--members=on", "--payment-delay-ms=0"], member_token),
    "studyposts": Api("studyposts", "openapi.yaml", [], user_token),
}


# Routes as the services have them: "GET /orders/#" or {"GET", "/api/posts/{id}", 0, ...}.
ROUTE = re.compile(r'"(GET|POST|PATCH|DELETE)(?: (/[^"]*)"|", "(/[^"]*)", [01],)')


def routes(example: str) -> set[tuple[str, str]]:
    found = {route for source in (ROOT / "examples" / example).glob("*.c")
             for route in ROUTE.findall(source.read_text())}
    return {(method, re.sub(r"[#*]|\{\w+\}", "{}", path or other)) for method, path, other in found
            if not path.startswith("/pages/") and not other.startswith("/pages/")}  # the page once more, behind a gateway for all


def documented(example: str) -> set[tuple[str, str]]:
    found = set()
    for file in (ROOT / "examples" / example).glob("openapi*.yaml"):
        path = ""
        for line in file.read_text().splitlines():
            if re.fullmatch(r"  /.*:", line):
                path = re.sub(r"\{\w+\}", "{}", line.strip(" :"))
            elif method := re.fullmatch(r"    (get|post|patch|delete):", line):
                found.add((method[1].upper(), path))
    return found


@pytest.fixture(scope="session")
def schemathesis(run_lock: Callable[[str], ContextManager[None]]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / f"sluice-schemathesis-{VERSION}"
    with run_lock("schemathesis"):
        if not (folder / "done").exists():
            for command in (["/usr/bin/python3", "-m", "venv", "--clear", folder],
                            [folder / "bin/pip", "install", "--quiet",
                             "--disable-pip-version-check", f"schemathesis=={VERSION}"]):
                try:
                    subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
                except subprocess.SubprocessError as error:
                    pytest.skip(f"schemathesis cannot be fetched: {error}: "
                                + str(error.stderr or error.stdout or "").strip()[-300:])
            (folder / "done").touch()
    return folder / "bin/st"


@pytest.mark.parametrize("example", sorted({api.example for api in APIS.values()}))
def test_every_route_of_the_services_is_documented(example: str) -> None:
    assert routes(example)
    assert routes(example) - documented(example) == set()


@pytest.mark.parametrize("name", APIS)
def test_no_request_gets_an_answer_that_is_not_documented(
        schemathesis: Path, tmp_path: Path, name: str) -> None:
    api = APIS[name]
    with run_example(api.example, tmp_path / "data", *api.options) as running:
        token = api.token(running)
        done = subprocess.run(
            [schemathesis, "run", ROOT / "examples" / api.example / api.file, "--url",
             running.gateway, "--checks=all", f"--exclude-checks={LEFT_OUT}", "--max-examples=6",
             "--seed=1", "--phases=coverage,fuzzing,stateful", f"--exclude-path-regex={STREAMS}",
             "--request-timeout=60", "--suppress-health-check=all", "--no-color",
             "--generation-database=none", "--warnings=off",
             *([f"--header=Authorization: Bearer {token}"] if token else [])],
            capture_output=True, text=True, timeout=900, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout
