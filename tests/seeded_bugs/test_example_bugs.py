"""The process tests behind docs/seeds*.md find the mistakes that services of their kind make.

`# expect-fail: integration:FILE::TEST [PROGRAM ...]` in a patch: FILE is in tests/integration. A
folder like the build is made in which each PROGRAM is linked with the mistake, and with
SLUICE_BUILD naming it the test must fail; with the build as it is it must pass. Without a PROGRAM
those are replaced that are made of the changed files themselves, as services of the examples are;
`libsluice` is the library that all of them share.

Each takes as long as its test, and often as long as that waits for what never comes. So a few are
tried in `make test`, and all of them in `make drill` (SLUICE_EXAMPLE_BUGS=all).
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from harness.process import BUILD
from mistake import Build
from test_seeded_bugs import PATCHES, ROOT, expectations

IN_EVERY_TEST = {"quantity-taken-below-one", "registration-overwrites-a-user",
                 "payment-of-another-buyer-taken"}
SECONDS_MAX = 600
DEADLINE = "20"  # seconds, for whatever the mistake keeps from coming
LIBRARY = "libsluice"


def cases() -> list:
    is_all = os.environ.get("SLUICE_EXAMPLE_BUGS") == "all"
    return [pytest.param(patch, test, id=f"{patch.stem}-{test.split()[0].partition('::')[2]}")
            for patch in PATCHES for program, test in expectations(patch)
            if program == "integration" and (is_all or patch.stem in IN_EVERY_TEST)]


def like(build: Path, folder: Path, replaced: dict[str, Path]) -> Path:
    """A folder like the build, but for what is replaced: links, and copies of the services, which
    look for the library beside themselves."""
    folder.mkdir()
    for each in build.iterdir():
        (folder / each.name).symlink_to(each)
    for path in build.glob("examples/*/*"):
        if path.is_file() and os.access(path, os.X_OK):
            replaced = {str(path.relative_to(build)): path, **replaced}
    for folders in ("examples", *{str(Path(name).parent) for name in replaced}):
        make_own(build, folder, folders)
    for name, made in replaced.items():
        (folder / name).unlink()
        shutil.copy(made, folder / name)
    return folder


def make_own(build: Path, folder: Path, name: str) -> None:
    """A folder of the build's, whose files are still links."""
    for parent in [*reversed(Path(name).parents), Path(name)]:
        own = folder / parent
        if own.is_symlink():
            own.unlink()
            own.mkdir()
            for each in (build / parent).iterdir():
                (own / each.name).symlink_to(each)


def linked(build: Build, program: str, patch: Path, folder: Path) -> tuple[str, Path]:
    """The name in the build, and what is put in its place."""
    folder.mkdir()
    if program != LIBRARY:
        is_all = not program.startswith("examples/")
        return program, build.with_mistake(program, patch, folder, is_all=is_all)
    (whole_name,) = [path.name for path in BUILD.glob(f"{LIBRARY}.so.*.*.*") if path.is_file()]
    return f"{LIBRARY}.so.0", build.with_mistake(whole_name, patch, folder)


def run_test(build: Path, test: str, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith(("PYTEST_", "SLUICE_EXAMPLE_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
         f"tests/integration/{test}"], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=SECONDS_MAX,
        env={**inherited, **environment, "SLUICE_BUILD": str(build)})


@cache
def whole(test: str) -> str:
    done = run_test(BUILD, test)
    assert done.returncode == 0, f"{test} fails on the build as it is:\n{done.stdout[-6000:]}"
    return done.stdout


@pytest.mark.parametrize("patch, test", cases())
def test_the_process_test_fails_with_the_mistake_put_in_and_passes_without(
        tmp_path: Path, patch: Path, test: str) -> None:
    name, *programs = test.split()
    if not re.search(r"\d+ passed", whole(name)):
        pytest.skip(f"{name} cannot run here")
    build = Build(ROOT, BUILD)
    replaced = dict(linked(build, program, patch, tmp_path / f"program-{number}")
                    for number, program in enumerate(programs or build.made_of(patch)))
    broken = run_test(like(BUILD, tmp_path / "build", replaced), name,
                      SLUICE_TEST_DEADLINE=DEADLINE)
    shutil.rmtree(tmp_path / "build")  # many programs
    assert broken.returncode == 1 and re.search(r"\d+ failed", broken.stdout), \
        f"{name} does not fail with {patch.stem} put in:\n{broken.stdout[-6000:]}"


def test_every_mistake_still_fits_the_code() -> None:
    """Most of them are tried in `make drill` only, and would be found out of date there."""
    unfit = []
    for patch in PATCHES:
        done = subprocess.run(["patch", "-p1", "--dry-run", "--force", "--input", patch], cwd=ROOT,
                              capture_output=True, text=True)
        unfit += [] if done.returncode == 0 else [f"{patch.stem}: {done.stdout.strip()}"]
    assert "\n".join(unfit) == ""
