"""The page of studyposts in a real Chromium: two tabs, each a user of its own."""
from __future__ import annotations

import itertools
from typing import Iterator

import pytest
from harness.browser import open_browser
from harness.example import Example, run_example
from harness.waiting import wait_until
from selenium import webdriver
from selenium.webdriver.common.by import By

names = itertools.count(1)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("studyposts", tmp_path_factory.mktemp("studyposts")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    started = open_browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


class Tab:
    """A tab, and who has signed in there."""

    def __init__(self, browser: webdriver.Chrome, url: str, nickname: str) -> None:
        browser.switch_to.new_window("tab")
        self.browser = browser
        self.handle = browser.current_window_handle
        browser.get(url)
        self.write("#sign-in", nickname=nickname)
        self.wait_text("#who", nickname)
        self.wait_text("#live", "live")

    def here(self) -> webdriver.Chrome:
        self.browser.switch_to.window(self.handle)
        return self.browser

    def write(self, form: str, **fields: str) -> None:
        """Fill in a form and send it."""
        browser = self.here()
        for name, text in fields.items():
            field = browser.find_element(By.CSS_SELECTOR, f"{form} [name={name}]")
            field.clear()
            field.send_keys(text)
        browser.find_element(By.CSS_SELECTOR, f"{form} button").click()

    def texts(self, selector: str) -> list[str]:
        return self.here().execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)",
            selector)

    def wait_text(self, selector: str, text: str) -> None:
        wait_until(lambda: any(text in each for each in self.texts(selector)),
                   f"{text} in {selector}: {self.texts(selector)}; {self.texts('#problem')}")

    def click(self, selector: str, text: str) -> None:
        """Click the button of that text, once it is there."""
        wait_until(lambda: self.here().execute_script(
            "const found = [...document.querySelectorAll(arguments[0])]"
            "  .find(each => each.innerText === arguments[1]);"
            "found?.click(); return Boolean(found)", selector, text), f"the button {text}")

    def wait_row(self, selector: str, *words: str) -> None:
        def found() -> bool:
            return any(all(word in row for word in words) for row in self.texts(selector))
        wait_until(found, f"{words} in {selector}: {self.texts(selector)}")

    def find_until(self, keyword: str, *words: str) -> None:
        """Search until a row has these words."""
        def found() -> bool:
            self.write("#search", keyword=keyword)
            return any(all(word in row for word in words) for row in self.texts("#posts tr"))
        wait_until(found, f"search shows {words}: {self.texts('#posts tr')}")


def test_two_tabs_post_apply_approve_and_are_told_live(browser, example: Example) -> None:
    number = next(names)
    author = Tab(browser, example.gateway, f"author {number}")
    applicant = Tab(browser, example.gateway, f"applicant {number}")
    title = f"Evening{number} reading"
    author.write("#create", title=title, description="We read in the evening.", techStack="C")
    applicant.find_until(f"evening{number}", title, f"author {number}", "OPEN")
    applicant.click("#posts button", "apply")

    author.wait_text("#notifications .unread", f"a new application has come for {title}")
    assert author.texts("#unread") == ["1"]
    assert applicant.texts("#notifications li") == []
    author.find_until(f"evening{number}", title)
    author.click("#posts button", "applications")
    author.wait_row("#applies tr", f"applicant {number}", "PENDING")
    author.click("#applies button", "approve")
    author.wait_row("#applies tr", f"applicant {number}", "APPROVED")
    applicant.wait_text("#notifications .unread", f"your application to {title} was approved")

    again = Tab(browser, example.gateway, f"applicant {number}")  # the same user once more
    again.wait_text("#notifications .unread", f"your application to {title} was approved")
    again.click("#read-all", "Read all")
    for tab in (again, applicant):
        wait_until(lambda: tab.texts("#unread") == ["0"], "both tabs know that it is read")
        assert tab.texts("#notifications .unread") == []
    assert author.texts("#unread") == ["1"]


def test_a_refusal_is_shown_in_words(browser, example: Example) -> None:
    number = next(names)
    tab = Tab(browser, example.gateway, f"hasty {number}")
    tab.write("#create", title=f"Own{number}", description="mine")
    tab.find_until(f"own{number}", f"Own{number}")
    other = Tab(browser, example.gateway, f"keen {number}")
    other.find_until(f"own{number}", f"Own{number}")
    other.click("#posts button", "apply")
    tab.wait_text("#notifications li", "a new application")
    other.click("#posts button", "apply")
    other.wait_text("#problem", "you have applied to this post already")
