"""tools/tidy.py, checked: each rule of the house is broken once, and each is found."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness.process import ROOT

GOOD_HEADER = "/* wire/good.h - a module. */\n\n/**\n * Does it.\n */\nint sl_good(void);\n"
LONG_FUNCTION = "static void long_one(void)\n{\n" + "    ;\n" * 69 + "}\n"

BREACHES = {
    "a layer that includes one above it": (
        "src/wire/a.c", '#include "store/store.h"\n', "layer wire may not include store"),
    "siblings that include each other": (
        "src/relay/a.c", '#include "gateway/gateway.h"\n', "layer relay may not include gateway"),
    "a library outside of its layer": (
        "src/flow/a.c", "#include <sqlite3.h>\n", "<sqlite3.h> belongs to"),
    "an include without its layer": (
        "src/wire/a.c", '#include "good.h"\n', "write the layer in the include"),
    "an example that reaches inside": (
        "examples/a.c", '#include "base/memory.h"\n', "an example uses the public headers only"),
    "a folder that is no layer": ("src/utils/a.c", "int x;\n", "utils is no layer of the house"),
    "a banned call": ("src/wire/a.c", "int x(void)\n{\n    return atoi(y);\n}\n", "atoi is banned"),
    "a function without its documentation": (
        "src/wire/a.h", "/* wire/a.h */\n\nint sl_undocumented(void);\n",
        "sl_undocumented has no documentation above it"),
    "a file that is too long": ("src/wire/a.c", "int x;\n" * 601, "601 lines; a file has at most 600"),
    "a function that is too long": ("src/wire/a.c", LONG_FUNCTION, "a function of 71 lines"),
    "a line that is too long": ("src/wire/a.c", "int " + "x" * 97 + ";\n", "102 columns; at most 100"),
    "a thing put off": ("src/wire/a.c", "/* " + "TO" + "DO: later */\n", "no TODO in the tree"),
}


def tidy(root: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "tools/tidy.py", "--root", root],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", BREACHES)
def test_a_broken_rule_is_found_and_named(tmp_path: Path, name: str) -> None:
    path, text, finding = BREACHES[name]
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    done = tidy(tmp_path)
    assert done.returncode == 1
    assert finding in done.stdout and done.stdout.startswith(path)


def test_a_tree_that_keeps_the_rules_is_left_in_peace(tmp_path: Path) -> None:
    (tmp_path / "src/wire").mkdir(parents=True)
    (tmp_path / "src/wire/good.h").write_text(GOOD_HEADER)
    (tmp_path / "src/wire/good.c").write_text(
        '#include "wire/good.h"\n\n/* atoi(x) in a comment, and "strcpy(" in a text, are no calls. */\n'
        'const char *text = "strcpy(";\n')
    assert (tidy(tmp_path).returncode, tidy(tmp_path).stdout) == (0, "")


def test_a_big_file_is_found_if_it_is_in_the_repository(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(bytes(256 * 1024 + 1))
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert tidy(tmp_path).returncode == 0
    subprocess.run(["git", "-C", tmp_path, "add", "events.db"], check=True)
    done = tidy(tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("events.db:1: 262145 bytes; a file in the repository has")
