#!/usr/bin/env python3
"""Turn files into one C source with a named byte array each.

usage: embed.py OUTPUT.c NAME=FILE ...

Each NAME becomes `const unsigned char NAME[]` (with a NUL after the last byte) and
`const size_t NAME_size` (without that NUL).
"""
import sys


def main() -> None:
    output, *pairs = sys.argv[1:]
    lines = ["/* Made by tools/embed.py; do not edit. */", "#include <stddef.h>"]
    for pair in pairs:
        name, path = pair.split("=", 1)
        with open(path, "rb") as file:
            data = file.read()
        lines.append(f"extern const unsigned char {name}[];")
        lines.append(f"extern const size_t {name}_size;")
        lines.append(f"const unsigned char {name}[] = {{")
        for start in range(0, len(data), 20):
            lines.append("    " + "".join(f"{byte}," for byte in data[start:start + 20]))
        lines.append("    0};")
        lines.append(f"const size_t {name}_size = {len(data)};")
    with open(output, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
