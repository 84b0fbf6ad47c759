"""Each patch in this folder puts one usual mistake into the code; the test that it names must fail.

The first line of a patch is `# expect-fail: PROGRAM:TEST`, a unit test program and one of its tests:
`gateway/hub:removal_is_conditional_on_identity`. The program is linked with the mistake in it beside
the build of the flavour dev (see mistake.py), and run both ways.
"""
from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest
from mistake import Build

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted(Path(__file__).parent.glob("*.patch"))
NEEDS_A_SERVER = 77
TIMEOUT_SECONDS = 30  # of a test in support/unit.h


@pytest.fixture(scope="session")
def build(once: None) -> Build:
    return Build(ROOT, ROOT / "build-dev")


@pytest.fixture(scope="session")
def once(run_lock) -> None:
    """The flavour dev is built."""
    with run_lock("build-dev"):
        done = subprocess.run(["tools/flavour", "dev", "build"], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-3000:]


def expectation(patch: Path) -> tuple[str, str]:
    """The program and the test."""
    first = patch.read_text().split("\n", 1)[0]
    assert first.startswith("# expect-fail: "), f"{patch.name} does not name its test"
    program, _, test = first.removeprefix("# expect-fail: ").strip().partition(":")
    layer, _, module = program.partition("/")
    return f"tests/unit/{layer}/test_{layer}_{module}", test


@pytest.fixture
def unit_test(request) -> Callable[[Path, str, float], str]:
    """unit_test(program, test, seconds): what the program says of its test."""
    def run(program: Path, test: str, seconds: float, **environment: str) -> str:
        done = subprocess.run([program], cwd=ROOT / "build-dev", text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, env={
                                  **os.environ, **environment, "CK_RUN_CASE": test,
                                  "CK_TIMEOUT_MULTIPLIER": str(seconds / TIMEOUT_SECONDS)})
        if done.returncode != NEEDS_A_SERVER:
            return done.stdout
        if environment:
            pytest.skip(done.stdout.strip())
        return run(program, test, seconds, **request.getfixturevalue("unit_environment"))
    return run


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_the_named_test_fails_with_the_mistake_put_in_and_passes_without(
        build, unit_test, tmp_path, patch):
    program, test = expectation(patch)
    start = time.monotonic()
    whole = unit_test(build.folder / program, test, TIMEOUT_SECONDS)
    seconds = time.monotonic() - start
    assert "Checks: 1," in whole, f"{test} is no test of {program}:\n{whole}"
    assert "Checks: 1, Failures: 0, Errors: 0" in whole, whole[-3000:]

    # Many a mistake makes a test wait for what never comes.
    broken = unit_test(build.with_mistake(program, patch, tmp_path), test, max(3, 10 * seconds))
    assert "Checks: 1, Failures: 0, Errors: 0" not in broken, \
        f"{test} passes with {patch.stem} put in"
    assert "Checks: 1," in broken, broken[-3000:]
