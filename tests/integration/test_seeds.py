"""docs/seeds*.md name tests as proof; none of them may be one that does not exist."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.process import ROOT

PAGES = sorted((ROOT / "docs").glob("seeds*.md"))
FILE = r"`((?:[a-z]+/)?test_\w+\.(?:py|c))"
WHOLE = re.compile(FILE + r"::(\w+)`")  # `test_x.py::test_name`
LISTED = re.compile(FILE + r"`: ((?:\w+(?:\.\.\.)?(?:, )?)+)")  # `test_x.py`: name, name_begins_...
ALONE = re.compile(FILE + "[`:]")
WHERE = {".py": ("tests/integration", "def test_"), ".c": ("tests/unit", "START_TEST(")}


def named(text: str) -> list[tuple[str, str]]:
    """(file, name) of each test on a page; a name may be a beginning, and then ends with `...`."""
    found = [(path, name.removeprefix("test_") if path.endswith(".py") else name)
             for path, name in WHOLE.findall(text)]
    return found + [(path, name) for path, names in LISTED.findall(text)
                    for name in names.split(", ") if name]


def definitions(path: str) -> str:
    folder, begin = WHERE[Path(path).suffix]
    file = ROOT / folder / path
    text = re.sub(r"START_TEST\(\s+", "START_TEST(", file.read_text()) if file.is_file() else ""
    return "\n".join(re.findall(re.escape(begin) + r"(\w+)", text)) + "\n"


def missing(text: str) -> list[str]:
    """The tests and files that a page names and nobody wrote."""
    found = [f"{path}::{name}" for path, name in named(text)
             if "\n" + (name.removesuffix("...") if name.endswith("...") else name + "\n")
             not in "\n" + definitions(path)]
    return found + [path for path in ALONE.findall(text) if not definitions(path).strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_test_that_a_page_names_exists(page: Path) -> None:
    assert missing(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_on_a_page_looks_like_a_test_and_is_not_looked_up(page: Path) -> None:
    text = page.read_text()
    assert len(WHOLE.findall(text)) == text.count("::")


def test_each_page_has_its_rows_and_the_index_links_to_it() -> None:
    index = (ROOT / "docs/seeds.md").read_text()
    linked = re.findall(r"\]\((seeds-\w+\.md)\)", index)
    assert linked == [page.name for page in sorted(PAGES, key=lambda page: index.find(page.name))
                      if page.name != "seeds.md"]
    for name in linked:
        assert len(named((ROOT / "docs" / name).read_text())) >= 10, name


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("`test_seeds.py::test_a_test_that_is_not_there_is_found`,"
                   " `test_seeds.py`: a_test_that_..., a_test_that_is_not_there_is_found |") == []
    assert missing("`test_seeds.py::test_that_nobody_wrote`, `test_seeds.py`: a_test, each_such_... |"
                   " `lib/test_nothing.c`") == [
        "test_seeds.py::that_nobody_wrote", "test_seeds.py::a_test", "test_seeds.py::each_such_...",
        "lib/test_nothing.c"]
