"""Each example's openapi.yaml, held against the running example by schemathesis, which is fetched
into a cache folder when these tests run for the first time."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable, ContextManager

import pytest
from harness.example import run_example
from harness.process import ROOT

VERSION = "4.32.5"
EXAMPLES = ["users", "payments"]
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance",
          "response_schema_conformance"]
TOKENS = {"payments": "token-of-7"}


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


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_request_gets_an_answer_that_is_not_documented(
        schemathesis: Path, tmp_path: Path, name: str) -> None:
    with run_example(name, tmp_path / "data") as running:
        token = [f"--header=Authorization: Bearer {TOKENS[name]}"] if name in TOKENS else []
        done = subprocess.run(
            [schemathesis, "run", ROOT / "examples" / name / "openapi.yaml", "--url",
             running.gateway, f"--checks={','.join(CHECKS)}", "--max-examples=8", "--max-time=15",
             "--seed=1", "--phases=coverage,fuzzing", "--exclude-path-regex=/stream$", "--request-timeout=20",
             "--no-color", "--generation-database=none", "--warnings=off", *token],
            capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout
