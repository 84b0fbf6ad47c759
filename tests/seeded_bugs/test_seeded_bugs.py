"""Each patch in this folder puts one usual mistake into the code; the test that it names must fail.

The first lines of a patch are `# expect-fail: PROGRAM:TEST`, a unit test program and one of its tests:
`gateway/hub:removal_is_conditional_on_identity`; or `# expect-fail: simulation:PROGRAM STEPS`, which
must find the mistake within so many steps. (For `drill:` and `integration:` see test_drill_bugs.py
and test_example_bugs.py.) The program is linked with the mistake in it beside the
build of the flavour dev (see mistake.py), and run both ways.
"""
from __future__ import annotations

import os
import subprocess
import time
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Callable

import pytest
from mistake import Build

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted(Path(__file__).parent.glob("*.patch"))
ELSEWHERE = ("drill", "integration")  # test_drill_bugs.py, test_example_bugs.py
NEEDS_A_SERVER = 77
MARK = "# expect-fail: "
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


def expectations(patch: Path) -> list[tuple[str, str]]:
    """Each program and its test."""
    found = []
    for line in takewhile(lambda line: line.startswith(MARK), patch.read_text().split("\n")):
        program, _, test = line.removeprefix(MARK).strip().partition(":")
        found.append((program, test))
    assert found, f"{patch.name} does not name its test"
    return found


def cases(is_simulation: bool) -> list:
    return [pytest.param(patch, program, test, id=f"{patch.stem}-{program.split('/')[-1]}")
            for patch in PATCHES for program, test in expectations(patch)
            if program not in ELSEWHERE and (program == "simulation") == is_simulation]


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


@pytest.mark.parametrize("patch, program, test", cases(is_simulation=False))
def test_the_named_test_fails_with_the_mistake_put_in_and_passes_without(
        build, unit_test, tmp_path, patch, program, test):
    layer, _, module = program.partition("/")
    program = f"tests/unit/{layer}/test_{layer}_{module}"
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


@cache
def simulate(program: Path, steps: str) -> subprocess.CompletedProcess:
    return subprocess.run([program, steps, "1", "whole"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120)


@pytest.mark.parametrize("patch, program, test", cases(is_simulation=True))
def test_the_simulation_finds_the_mistake_and_nothing_without_it(
        build, tmp_path, patch, program, test):
    name, steps = test.split()
    name = f"tests/simulation/{name}"
    whole = simulate(build.folder / name, steps)
    assert whole.returncode == 0, whole.stdout
    broken = simulate(build.with_mistake(name, patch, tmp_path), steps)
    assert broken.returncode == 1 and "replay" in broken.stdout, \
        f"{name} finds nothing with {patch.stem} put in:\n{broken.stdout}"
