"""docs/seeds*.md name tests as proof; none of them may be one that does not exist."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.process import ROOT

PAGES = sorted((ROOT / "docs").glob("seeds*.md"))
NAMED = re.compile(r"`((?:[a-z]+/)?test_\w+\.(?:py|c))::(\w+)`")
WHERE = {".py": ("tests/integration", "def {}("), ".c": ("tests/unit", "START_TEST({})")}


def missing(text: str) -> list[str]:
    """The tests that a page names and nobody wrote."""
    found = []
    for path, name in NAMED.findall(text):
        folder, definition = WHERE[Path(path).suffix]
        file = ROOT / folder / path
        if not file.is_file() or definition.format(name) not in file.read_text():
            found.append(f"{path}::{name}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_test_that_a_page_names_exists(page: Path) -> None:
    assert missing(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_on_a_page_looks_like_a_test_and_is_not_looked_up(page: Path) -> None:
    text = page.read_text()
    assert len(NAMED.findall(text)) == text.count("::")


def test_each_page_has_its_rows_and_the_index_links_to_it() -> None:
    index = (ROOT / "docs/seeds.md").read_text()
    linked = re.findall(r"\]\((seeds-\w+\.md)\)", index)
    assert linked == [page.name for page in sorted(PAGES, key=lambda page: index.find(page.name))
                      if page.name != "seeds.md"]
    for name in linked:
        assert len(NAMED.findall((ROOT / "docs" / name).read_text())) >= 10, name


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("`test_seeds.py::test_a_test_that_is_not_there_is_found`") == []
    assert missing("`test_seeds.py::test_that_nobody_wrote`, `lib/test_nothing.c::at_all`") == [
        "test_seeds.py::test_that_nobody_wrote", "lib/test_nothing.c::at_all"]
