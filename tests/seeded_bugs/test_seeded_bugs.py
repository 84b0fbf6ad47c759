"""Each patch in this folder puts one usual mistake into the code; the test that it names must fail.

The first line of a patch is `# expect-fail: NAME`: a unit test of meson (`hub`), or a test function
of a unit test program (`hub:removal_is_conditional_on_identity`), whose name must then be among the
failures. The patches are applied one after the other to a copy of the tree, which is built once.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted(Path(__file__).parent.glob("*.patch"))


def run(*command: object, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CK_VERBOSITY": "normal"}
    return subprocess.run([str(part) for part in command], cwd=folder, text=True, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seeded") / "tree"
    shutil.copytree(ROOT, folder, symlinks=True,
                    ignore=shutil.ignore_patterns("build", "build-*", ".git", "__pycache__"))
    done = run("meson", "setup", "build", "-Dbuildtype=debug", "-Doptimization=0", folder=folder)
    assert done.returncode == 0, done.stdout
    done = run("ninja", "-C", "build", folder=folder)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


def expectation(patch: Path) -> tuple[str, str]:
    first = patch.read_text().split("\n", 1)[0]
    assert first.startswith("# expect-fail: "), f"{patch.name} does not name its test"
    test, _, function = first.removeprefix("# expect-fail: ").strip().partition(":")
    return test, function


def unit_test(folder: Path, test: str) -> subprocess.CompletedProcess:
    return run("meson", "test", "-C", "build", "--print-errorlogs", test, folder=folder)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_the_named_test_fails_with_the_mistake_put_in_and_passes_without(copy, patch):
    test, function = expectation(patch)
    done = run("patch", "-p1", "--input", patch, folder=copy)
    assert done.returncode == 0, f"{patch.name} no longer fits the code:\n{done.stdout}"
    try:
        broken = unit_test(copy, test)
    finally:
        undone = run("patch", "-p1", "--reverse", "--input", patch, folder=copy)
        assert undone.returncode == 0, undone.stdout
    assert "FAILED:" not in broken.stdout.split("Summary")[0] or "ninja" not in broken.stdout, \
        f"{patch.name} does not compile:\n{broken.stdout[-3000:]}"
    assert broken.returncode != 0, f"{test} passes with {patch.stem} put in"
    assert function in broken.stdout, f"{function} is not what failed:\n{broken.stdout[-3000:]}"
    whole = unit_test(copy, test)
    assert whole.returncode == 0, whole.stdout[-3000:]
