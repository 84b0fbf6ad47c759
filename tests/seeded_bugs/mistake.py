"""Link a unit test program with a mistake in it, beside a build that stays as it is.

What a patch changes is put, patched, into a folder; of the build's own commands those that read it
are run again with that folder in front, and the program is linked with what they made. The build is
only read, so that any number of mistakes can be made side by side, and one takes about as long as the
compiler needs for one file.
"""
from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

PATCHED_FILE = re.compile(r"^\+\+\+ b/(\S+)", re.M)


class Unfit(Exception):
    """The patch does not fit the code, or the code with it does not compile."""


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Unfit(f"{' '.join(command[:8])} ...\n{done.stdout[-3000:]}")
    return done.stdout


def words_of(line: str) -> list[str]:
    """A command of the build, without the cache of the compiler before it."""
    words = shlex.split(line)
    return words[1:] if Path(words[0]).name == "ccache" else words


class Build:
    """A finished build of the tree."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder

    def path(self, word: str) -> Path:
        """A file that a command names, which runs in the build's folder."""
        return (self.folder / word).resolve()

    @cached_property
    def read_by(self) -> dict[str, set[Path]]:
        """object -> the files that the compiler read for it"""
        found: dict[str, set[Path]] = {}
        for line in run(["ninja", "-t", "deps"], self.folder).splitlines():
            if line.startswith("    "):
                if not line.startswith("    /"):
                    found[name].add(self.path(line.strip()))
            elif ":" in line:
                name = line.split(":")[0]
                found[name] = set()
        return found

    def made_of(self, patch: Path) -> list[str]:
        """The programs that have what the patch changes among their own files."""
        changed = {(self.root / name).resolve() for name in PATCHED_FILE.findall(patch.read_text())}
        return sorted({output.partition(".p/")[0] for output, read in self.read_by.items()
                       if read & changed})

    def with_mistake(self, program: str, patch: Path, folder: Path, *, is_all: bool = True) -> Path:
        """The program, linked in `folder` with the patch applied: to all that it is made of, or to
        its own files, where what else the patch changes is in a shared library."""
        changed = self.apply(patch, folder)
        replaced: dict[str, str] = {}
        *commands, link = [words_of(line) for line in
                           run(["ninja", "-t", "commands", program], self.folder).splitlines()]
        for command in commands:
            if "-c" in command:
                if not is_all and f" {program}.p/" not in " ".join(command):
                    continue
                self.compile(command, changed, replaced, folder)
            elif any(str(file) in " ".join(command) for file in changed):
                self.generate(command, changed, folder)
        if not replaced:
            raise Unfit(f"{program} is made of none of the files that {patch.name} changes")
        return self.link(link, replaced, folder)

    def apply(self, patch: Path, folder: Path) -> dict[Path, Path]:
        """original -> its patched copy"""
        changed = {}
        for name in PATCHED_FILE.findall(patch.read_text()):
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / name, copy)
            changed[(self.root / name).resolve()] = copy
        run(["patch", "-p1", "--force", "--input", str(patch)], folder)
        return changed

    def compile(self, command: list[str], changed: dict[Path, Path], replaced: dict[str, str],
                folder: Path) -> None:
        output, source = command[command.index("-o") + 1], self.path(command[-1])
        if source not in changed and not self.read_by.get(output, set()) & set(changed):
            return
        if Path(command[0]).name == "ccache":
            command = command[1:]  # its first word must be the compiler
        made = folder / f"{len(replaced)}.o"
        includes = [f"-I{folder / name}" for name in ("src", "include", "tests")]
        options = command[1:command.index("-MD")]
        run([command[0], *includes, *options, "-w", "-o", str(made), "-c",
             str(changed.get(source, source))], self.folder)
        replaced[output] = str(made)

    def generate(self, command: list[str], changed: dict[Path, Path], folder: Path) -> None:
        """A source that a script makes of a changed file: all but options name files."""
        for index, word in enumerate(command):
            for file, copy in changed.items():
                word = word.replace(str(file), str(copy))
            command[index] = word
        output = next(word for word in command if word.endswith(".c"))
        made = folder / "generated" / output
        made.parent.mkdir(parents=True, exist_ok=True)
        run([str(made) if word == output else word for word in command], self.folder)
        changed[self.path(output)] = made

    def link(self, command: list[str], replaced: dict[str, str], folder: Path) -> Path:
        """In front of the libraries, so that the linker takes these objects and not theirs."""
        made = folder / "program"
        command = [replaced.get(word, word) for word in command]
        command[command.index("-o") + 1] = str(made)
        in_libraries = [file for file in replaced.values() if file not in command]
        run([command[0], *in_libraries, *command[1:], "-Wl,--allow-multiple-definition"],
            self.folder)
        return made
