#!/usr/bin/env python3
"""Hold the rules of the house, and fail the build where one is broken.

The rules are few, and each is a number or a table: which layer may include which, which libraries
belong to which layer, how long a file and a function may be, which calls are banned,
how big a file in the repository may be, and that every function which another file can call says
what it does where it is declared.

usage: tidy.py [--root DIR]     prints one line a finding; exit status 1 if there is any
"""
from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
TRACKED_BYTES_MAX = 256 * 1024

# layer -> the layers it may include, besides itself and base
LAYERS: dict[str, set[str]] = {
    "base": set(),
    "wire": set(),
    "event": {"wire"},
    "flow": {"event"},
    "http": {"wire"},
    "sqlite": set(),
    "broker": {"event", "wire", "sqlite"},
    "store": {"event", "flow", "wire", "sqlite"},
    "lib": {"event", "flow", "store", "broker"},
    "relay": {"event", "flow", "store", "broker"},
    "gateway": {"event", "wire", "http", "broker"},
    "console": {"http", "store"},
    "cli": {"wire", "event", "flow", "http", "broker", "store", "lib", "relay", "gateway", "console"},
}

# library header -> the layers that may include it
LIBRARIES: dict[str, set[str]] = {
    "uv.h": {"base", "http", "broker", "lib", "relay", "gateway", "console", "cli"},
    "sqlite3.h": {"sqlite", "store", "broker"},
    "sqlite3ext.h": {"store"},
    "jansson.h": {"wire", "event", "console", "cli"},
    "yaml.h": {"cli"},
    "libpq-fe.h": {"store"},
    "mysql.h": {"store"},
    "librdkafka/rdkafka.h": {"broker"},
    **{f"openssl/{name}.h": {"gateway"} for name in (
        "bio", "core_names", "crypto", "err", "evp", "hmac", "param_build", "pem")},
    "pthread.h": {"base", "cli", "lib"},
}

BANNED = {
    "strcpy": "sl_buffer_append", "strcat": "sl_buffer_append", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "strtok": "sl_text_split", "strtol": "sl_parse_i64",
    "strtoul": "sl_parse_u64", "strtoll": "sl_parse_i64", "strtoull": "sl_parse_u64",
    "atoi": "sl_parse_i64", "atol": "sl_parse_i64", "atof": "sl_parse_i64", "gets": "fgets",
    "alloca": "sl_allocate", "usleep": "a timer of the loop",
    "malloc": "sl_allocate", "calloc": "sl_allocate", "realloc": "sl_reallocate",
    "strdup": "sl_copy_text", "strndup": "sl_copy_text", "free": "sl_free",
    "rand": "sl_random_bytes", "srand": "sl_random_bytes", "system": "posix_spawn",
}
MEMORY_CALLS = {"malloc", "calloc", "realloc", "free"}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
CALL = re.compile(r"\b(" + "|".join(BANNED) + r")\s*\(")
DEFINITION = re.compile(r"^[A-Za-z_].*\)\s*$|^[A-Za-z_].*,\s*$|^[A-Za-z_][^;=]*\)\s*\{\s*$")
EXPORTED = re.compile(r"^(?!static|typedef|#|extern \"C\")[A-Za-z_][\w\s\*]*?\b((?:sl|sluice)_\w+)\s*\(")


class Findings:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, path: Path, number: int, text: str) -> None:
        self.lines.append(f"{path}:{number}: {text}")


def code_only(text: str) -> list[str]:
    """The lines with comments and string contents blanked, so that patterns meet code only."""
    def blank(match: re.Match[str]) -> str:
        found = match.group(0)
        if found.startswith(("/*", "//")):
            return re.sub(r"[^\n]", " ", found)
        return found[0] + re.sub(r"[^\n]", " ", found[1:-1]) + found[-1]
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.S).split("\n")


def check_includes(path: Path, layer: str, lines: list[str], findings: Findings) -> None:
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, name = match.groups()
        first = name.split("/")[0]
        if quote == '"' and first in LAYERS:
            if first not in {layer, "base"} | LAYERS[layer]:
                findings.add(path, number, f"layer {layer} may not include {first} ({name})")
        elif quote == "<" and name in LIBRARIES and layer not in LIBRARIES[name]:
            allowed = ", ".join(sorted(LIBRARIES[name]))
            findings.add(path, number, f"<{name}> belongs to {allowed}, not to {layer}")
        elif quote == '"' and "/" not in name:
            findings.add(path, number, f'write the layer in the include: "{layer}/{name}"')


def check_example_includes(path: Path, lines: list[str], findings: Findings) -> None:
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match and match.group(2).split("/")[0] in LAYERS:
            findings.add(path, number, f"an example uses the public headers only ({match.group(2)})")


def check_calls(path: Path, layer: str, code: list[str], findings: Findings) -> None:
    for number, line in enumerate(code, 1):
        for match in CALL.finditer(line):
            name = match.group(1)
            if layer == "base" and path.stem == "memory" and name in MEMORY_CALLS:
                continue
            findings.add(path, number, f"{name} is banned: use {BANNED[name]}")


def check_sizes(path: Path, text: str, code: list[str], findings: Findings) -> None:
    lines = text.split("\n")
    if len(lines) - 1 > FILE_LINES_MAX:
        findings.add(path, len(lines) - 1, f"{len(lines) - 1} lines; a file has at most "
                     f"{FILE_LINES_MAX}: split it by concept")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            findings.add(path, number, f"{len(line)} columns; at most {COLUMNS_MAX}")
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            findings.add(path, number, "no TODO in the tree: file an issue or do it")
    if path.suffix != ".c":
        return
    start = None
    for number, line in enumerate(code, 1):
        if line.startswith("{") and number > 1 and not code[number - 2].rstrip().endswith("="):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start + 1 > FUNCTION_LINES_MAX:
                findings.add(path, start, f"a function of {number - start + 1} lines; at most "
                             f"{FUNCTION_LINES_MAX}")
            start = None


def check_documented(path: Path, text: str, findings: Findings) -> None:
    """A declaration in a header is preceded by a comment that ends on the line above it."""
    if path.suffix != ".h":
        return
    lines = text.split("\n")
    code = code_only(text)
    for index, line in enumerate(code):
        match = EXPORTED.match(line)
        if not match or "(" not in line or "(*" in line.split(match.group(1))[0]:
            continue
        above = index - 1
        while above >= 0 and re.match(r"^\s*(SLUICE_\w+|__attribute__.*|SL_\w+.*)$", lines[above]):
            above -= 1
        if above < 0 or not lines[above].rstrip().endswith("*/"):
            findings.add(path, index + 1, f"{match.group(1)} has no documentation above it")
    if not re.search(r"^/\*", text) and "/*" not in "\n".join(lines[:6]):
        findings.add(path, 1, "the head of a header says what the module is")


def check_tracked(root: Path, findings: Findings) -> None:
    """Nothing that a program has made gets into the repository by accident."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return  # a released archive
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = root / name
        if not path.is_symlink() and path.is_file() and path.stat().st_size > TRACKED_BYTES_MAX:
            findings.add(Path(name), 1, f"{path.stat().st_size} bytes; a file in the repository has "
                         f"at most {TRACKED_BYTES_MAX}: make it when it is needed")


def check_tree(root: Path) -> list[str]:
    findings = Findings()
    check_tracked(root, findings)
    for base in ("src", "include", "examples", "tests"):
        for path in sorted((root / base).rglob("*.[ch]")):
            relative = path.relative_to(root)
            text = path.read_text(encoding="utf-8")
            lines, code = text.split("\n"), code_only(text)
            check_sizes(relative, text, code, findings)
            if base == "src":
                layer = relative.parts[1]
                if layer not in LAYERS:
                    findings.add(relative, 1, f"{layer} is no layer of the house")
                    continue
                check_includes(relative, layer, lines, findings)
                check_calls(relative, layer, code, findings)
                check_documented(relative, text, findings)
            elif base == "include":
                check_documented(relative, text, findings)
            elif base == "examples":
                check_example_includes(relative, lines, findings)
    return findings.lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    lines = check_tree(parser.parse_args().root)
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
