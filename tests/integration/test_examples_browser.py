"""The pages of the examples in a real Chromium, each alone and all on one page."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest
from harness.browser import open_browser
from harness.example import Example, run_example
from harness.waiting import wait_until
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("all", tmp_path_factory.mktemp("all"), "--payment-delay-ms=0") as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    started = open_browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


def open_page(browser: webdriver.Chrome, url: str) -> None:
    browser.switch_to.default_content()
    browser.get(url)


def cells(browser: webdriver.Chrome, row: str) -> list[str]:
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, f"{row} td")]


def register(browser: webdriver.Chrome, user: str, name: str) -> None:
    for field, text in (("userId", user), ("userName", name)):
        element = browser.find_element(By.NAME, field)
        element.clear()
        element.send_keys(text)
    browser.find_element(By.TAG_NAME, "button").click()


def test_a_user_is_registered_and_its_coupon_appears(browser, examples: Example) -> None:
    open_page(browser, examples.gateway + "/pages/users")
    register(browser, "chrome-1", "Rudak")
    wait_until(lambda: cells(browser, "tr[data-user='chrome-1']") == ["chrome-1", "Rudak", "issued"],
               "the coupon is shown")


def test_a_reserved_name_is_refused_on_the_page(browser, examples: Example) -> None:
    open_page(browser, examples.gateway + "/pages/users")
    register(browser, "chrome-2", "admin")
    problem = browser.find_element(By.ID, "problem")
    wait_until(lambda: "the name 'admin' is reserved" in problem.text, "the refusal is shown")
    assert cells(browser, "tr[data-user='chrome-2']") == []


def order_and_pay(browser: webdriver.Chrome, user: int, product: str, quantity: int) -> None:
    for field, number in (("userId", user), ("quantity", quantity)):
        element = browser.find_element(By.NAME, field)
        element.clear()
        element.send_keys(str(number))
    Select(browser.find_element(By.NAME, "productId")).select_by_value(product)
    browser.find_element(By.TAG_NAME, "button").click()


def test_a_payment_succeeds_and_one_of_too_few_points_is_refused(browser, examples: Example
                                                                ) -> None:
    open_page(browser, examples.gateway + "/pages/payments")
    order_and_pay(browser, 41, "1", 2)
    row = "#orders tr:first-child"
    wait_until(lambda: cells(browser, row)[1:4] == ["200", "SUCCESS", "SUCCESS"], "it is paid")
    wait_until(lambda: browser.find_element(By.ID, "points").text == "800", "the points are shown")
    order_and_pay(browser, 41, "2", 3)
    wait_until(lambda: cells(browser, row)[1:4] == ["1200", "FAILED", "FAILED"], "it is refused")
    assert cells(browser, row)[4] == "too few points: the order costs 1200, the buyer has 800"


def test_the_page_of_all_shows_each_of_them_live(browser, examples: Example, tmp_path: Path
                                                ) -> None:
    open_page(browser, examples.gateway + "/")
    wait_until(lambda: len(browser.find_elements(By.TAG_NAME, "iframe")) >= 3, "the examples")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe[title=users]"))
    register(browser, "chrome-3", "Everywhere")
    wait_until(lambda: cells(browser, "tr[data-user='chrome-3']")[2:] == ["issued"], "the coupon")
    browser.switch_to.default_content()
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe[title=orders]"))
    wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, "#items li"), "the items")
    browser.find_element(By.ID, "place").click()
    wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, ".step[data-type=completed]"),
               "the order is completed")
    browser.switch_to.default_content()
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe[title=payments]"))
    order_and_pay(browser, 42, "1", 2)
    wait_until(lambda: cells(browser, "#orders tr")[1:4] == ["200", "SUCCESS", "SUCCESS"], "paid")
    browser.switch_to.default_content()
    browser.set_window_size(1500, 1300)
    shown = Path(os.environ.get("SLUICE_SCREENSHOTS", tmp_path)) / "examples.png"
    assert browser.save_screenshot(str(shown))
    assert shown.stat().st_size > 20_000  # more than an empty page
