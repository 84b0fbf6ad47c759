"""Each patch in this folder puts one usual mistake into the code; the test that it names must fail.

The first line of a patch is `# expect-fail: PROGRAM:TEST`, a unit test program and one of its tests:
`gateway/hub:removal_is_conditional_on_identity`. The patches are applied one after the other to a copy
of the tree, which is built once.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted(Path(__file__).parent.glob("*.patch"))


def run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], cwd=folder, text=True,
                          env={**os.environ, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seeded") / "tree"
    shutil.copytree(ROOT, folder, symlinks=True,
                    ignore=shutil.ignore_patterns("build", "build-*", ".git", "__pycache__"))
    done = run("meson", "setup", "build", "-Dbuildtype=debug", "-Doptimization=0", folder=folder)
    assert done.returncode == 0, done.stdout
    build(folder)
    return folder


def build(folder: Path) -> None:
    done = run("ninja", "-C", "build", folder=folder)
    assert done.returncode == 0, done.stdout[-3000:]


def expectation(patch: Path) -> tuple[Path, str]:
    first = patch.read_text().split("\n", 1)[0]
    assert first.startswith("# expect-fail: "), f"{patch.name} does not name its test"
    program, _, test = first.removeprefix("# expect-fail: ").strip().partition(":")
    layer, _, module = program.partition("/")
    return Path(f"build/tests/unit/{layer}/test_{layer}_{module}"), test


def unit_test(folder: Path, program: Path, test: str) -> subprocess.CompletedProcess:
    return run(folder / program, folder=folder, CK_RUN_CASE=test, CK_TIMEOUT_MULTIPLIER="0.5")


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_the_named_test_fails_with_the_mistake_put_in_and_passes_without(copy, patch):
    program, test = expectation(patch)
    done = run("patch", "-p1", "--input", patch, folder=copy)
    assert done.returncode == 0, f"{patch.name} no longer fits the code:\n{done.stdout}"
    try:
        build(copy)
        broken = unit_test(copy, program, test)
    finally:
        undone = run("patch", "-p1", "--reverse", "--input", patch, folder=copy)
        assert undone.returncode == 0, undone.stdout
    assert "Checks: 1, Failures: 0, Errors: 0" not in broken.stdout, \
        f"{test} passes with {patch.stem} put in"
    assert "Checks: 1," in broken.stdout, f"{test} is no test of {program}:\n{broken.stdout}"
    build(copy)
    whole = unit_test(copy, program, test)
    assert "Checks: 1, Failures: 0, Errors: 0" in whole.stdout, whole.stdout[-3000:]
