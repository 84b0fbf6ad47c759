"""libsluice as its users meet it: the headers by themselves, what the library exports, an install."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.process import BUILD, ROOT

pytestmark = pytest.mark.quiet  # an install may link the command anew, which others run
HEADERS = sorted((ROOT / "include/sluice").glob("*.h"))
PROGRAM = """\
#include <sluice/consumer.h>
#include <sluice/inbox.h>
#include <sluice/outbox.h>
#include <sluice/version.h>
#include <stdio.h>

int main(void)
{
    struct sluice_error error;
    sluice_database *database;
    struct sluice_event event = {0};
    char id[SLUICE_EVENT_ID_SIZE];
    event.topic = "greetings";
    event.type = "Hello";
    event.payload = "{}";
    event.payload_size = 2;
    if (sluice_database_open("sqlite:hello.db", &database, &error) != 0 ||
        sluice_begin(database, &error) != 0 ||
        sluice_publish(database, &event, id, &error) != 0 || sluice_commit(database, &error) != 0) {
        puts(error.text);
        return 1;
    }
    printf("%s %d\\n", sluice_version(), (int) sizeof(id));
    sluice_database_close(database);
    return 0;
}
"""


def run(*command: object, **options) -> str:
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
@pytest.mark.parametrize("compiler", [
    ("cc", "-xc", "-std=c99"), ("cc", "-xc", "-std=c17"), ("c++", "-xc++", "-std=c++11"),
], ids=lambda compiler: compiler[2])
def test_each_header_compiles_alone_without_a_warning(header: Path, compiler: tuple) -> None:
    run(*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
        f"-I{ROOT}/include", "-", input=f"#include <sluice/{header.name}>\n")


def declared() -> set[str]:
    text = "".join(header.read_text() for header in HEADERS)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"SLUICE_EXPORT[^;{]*?\b(sluice_\w+)\(", text))


def test_the_library_exports_what_the_headers_declare_and_nothing_else() -> None:
    lines = run("nm", "-D", "--defined-only", BUILD / "libsluice.so").splitlines()
    exported = {line.split()[2].split("@")[0] for line in lines if line.split()[1] != "A"}
    assert exported == declared()


def test_nothing_of_ours_in_the_static_library_could_clash_with_a_users_names() -> None:
    lines = run("nm", "--defined-only", "--extern-only", BUILD / "libsluice.a").splitlines()
    names = {line.split()[2] for line in lines if len(line.split()) == 3}
    assert {name for name in names if not name.startswith(("sl_", "sluice_"))} == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("install")
    run("make", "install", cwd=ROOT, env={**os.environ, "DESTDIR": str(folder)})
    return folder


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_a_program_builds_against_the_installed_library_by_pkg_config(
        installed: Path, tmp_path: Path, kind: str) -> None:
    pc = next(installed.rglob("sluice.pc"))
    environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent),
                   "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    flags = run("pkg-config", "--cflags", "--libs", *(["--static"] if kind == "static" else []),
                "sluice", env=environment).split()
    # The sysroot is put before the system's own folders, too, which are not in it.
    flags = [flag.replace(f"{installed}/usr/include", "/usr/include") for flag in flags]
    if kind == "static":
        flags = [str(pc.parent.parent / "libsluice.a") if flag == "-lsluice" else flag
                 for flag in flags]
    (tmp_path / "hello.c").write_text(PROGRAM)
    run("cc", "-o", "hello", "hello.c", *flags, cwd=tmp_path)
    out = run(tmp_path / "hello", cwd=tmp_path,
              env={**os.environ, "LD_LIBRARY_PATH": str(pc.parent.parent)})
    assert re.fullmatch(r"\d+\.\d+\.\d+ 37\n", out)


def test_the_install_has_the_command_the_headers_and_the_extension(installed: Path) -> None:
    names = {path.name for path in installed.rglob("*") if path.is_file()}
    assert {"sluice", "sluice.pc", "libsluice.a", "sluice_sqlite.so"} <= names
    assert {header.name for header in HEADERS} <= names


def test_every_public_function_and_the_command_have_a_manual_page(installed: Path) -> None:
    pages = {path.name for path in installed.rglob("man?/*")}
    assert {f"{name}.3" for name in declared()} | {"sluice.1"} <= pages
    for page in installed.rglob("man?/*"):
        text = page.read_text()
        assert text.startswith(".TH ") and ".SH NAME" in text and ".SH DESCRIPTION" in text
    consumer = next(installed.rglob("man3/sluice_consumer_run.3")).read_text()
    assert "int sluice_consumer_run(sluice_consumer *consumer, struct sluice_error *error);" \
        in consumer.replace("\\-", "-")
