"""docs/seeds*.md name tests as proof, and the mistakes that these were seen to find: both must exist,
and go together."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.process import ROOT

PAGES = sorted((ROOT / "docs").glob("seeds*.md"))
TABLES = [page for page in PAGES if page.name != "seeds.md"]
FILE = r"`((?:[a-z]+/)?test_\w+\.(?:py|c))"
WHOLE = re.compile(FILE + r"::(\w+)`")  # `test_x.py::test_name`
LISTED = re.compile(FILE + r"`: ((?:\w+(?:\.\.\.)?(?:, )?)+)")  # `test_x.py`: name, name_begins_...
ALONE = re.compile(FILE + "[`:]")
MISTAKES = ROOT / "tests/seeded_bugs"
EXPECTED = re.compile(r"^# expect-fail: (\S+?):(\S+)", re.M)
ANYWHERE = ("simulation", "drill")  # these judge whole runs, by every promise
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


def rows(page: Path) -> list[list[str]]:
    """The cells of each row of its tables, without their heads."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line, following in zip(lines, [*lines[1:], ""])
            if not line.startswith("| ---") and not following.startswith("| ---")]


def finders(mistake: str) -> list[tuple[str, str]]:
    """(file, name) of each test that a patch says must fail, as a page names it."""
    found = []
    for program, test in EXPECTED.findall((MISTAKES / f"{mistake}.patch").read_text()):
        if program == "integration":
            file, _, test = test.partition("::")
            found.append((file, test.removeprefix("test_")))
        elif program in ANYWHERE:
            found.append((program, ""))
        else:
            layer, _, module = program.partition("/")
            found.append((f"{layer}/test_{module}.c", test))
    return found


def is_shown_by(row: str, finder: tuple[str, str]) -> bool:
    file, test = finder
    if file in ANYWHERE:
        return True
    whole = [name.removesuffix("...") for path, name in named(row) if path == file]
    return any(test == name or (name.endswith("_") and test.startswith(name)) for name in whole) \
        or file in ALONE.findall(WHOLE.sub("", LISTED.sub("", row)))


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_each_row_names_a_mistake_that_its_test_was_seen_to_find_or_says_why_none(page: Path) -> None:
    wrong = []
    for row in rows(page):
        mistakes = re.findall(r"`([a-z0-9-]+)`", row[-1])
        unknown = [name for name in mistakes if not (MISTAKES / f"{name}.patch").is_file()]
        if len(row) != 4 or unknown:
            wrong.append(f"{row[0]}: {len(row)} cells, there is no {unknown}")
        elif not mistakes and not re.match(r"none: \w+ \w+ \w+", row[-1]):
            wrong.append(f"{row[0]}: neither a mistake nor a reason")
        elif mistakes and not any(is_shown_by(row[2], finder)
                                  for name in mistakes for finder in finders(name)):
            wrong.append(f"{row[0]}: its tests are not those of {mistakes}")
    assert "\n".join(wrong) == ""


def test_each_mistake_that_a_process_test_finds_stands_in_a_row() -> None:
    text = "".join(page.read_text() for page in TABLES)
    assert [patch.stem for patch in sorted(MISTAKES.glob("*.patch"))
            if "# expect-fail: integration:" in patch.read_text()
            and f"`{patch.stem}`" not in text] == []


def test_a_mistake_of_another_row_is_found() -> None:
    finder = ("test_users_flows.py", "a_registration_never_overwrites_a_user")
    assert finders("registration-overwrites-a-user") == [finder]
    assert is_shown_by("`test_users_flows.py::test_a_registration_never_overwrites_a_user`", finder)
    assert is_shown_by("`test_users_flows.py`: a_registration_never_..., another", finder)
    assert is_shown_by("`test_users_flows.py`; more", finder)
    assert not is_shown_by("`test_users_flows.py::test_an_unknown_user_path_or_method_is_told`",
                           finder)
    assert not is_shown_by("`test_naive.py`: a_registration_never_...", finder)


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("`test_seeds.py::test_a_test_that_is_not_there_is_found`,"
                   " `test_seeds.py`: a_test_that_..., a_test_that_is_not_there_is_found |") == []
    assert missing("`test_seeds.py::test_that_nobody_wrote`, `test_seeds.py`: a_test, each_such_... |"
                   " `lib/test_nothing.c`") == [
        "test_seeds.py::that_nobody_wrote", "test_seeds.py::a_test", "test_seeds.py::each_such_...",
        "lib/test_nothing.c"]
