"""A real browser on the orders page."""
from __future__ import annotations

from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from .waiting import wait_until

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--window-size=1280,900"]


def open_browser(profile: Path) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Page:
    """What a person does and sees on the page."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        browser.get(url)
        browser.execute_script("sessionStorage.clear()")
        browser.get(url)
        wait_until(lambda: self.css("#items li"), "the items are shown")

    def css(self, selector: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.browser.find_element(By.CSS_SELECTOR, selector).text

    def click(self, selector: str) -> None:
        self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def choose_customer(self, user: int) -> None:
        self.browser.execute_script(
            "const field = document.getElementById('user'); field.value = arguments[0];"
            " field.dispatchEvent(new Event('change'));", str(user))

    def place(self) -> int:
        """Place what is chosen; the new order's id."""
        before = {each.get_attribute("id") for each in self.css(".order")}
        self.click("#place")
        new = wait_until(lambda: [each.get_attribute("id") for each in self.css(".order")
                                  if each.get_attribute("id") not in before],
                         f"the new order is shown; {self.text('#message')}")
        return int(new[0].removeprefix("order-"))

    def steps(self, order_id: int) -> list[tuple[int, str]]:
        """(version, type) of each status that is shown, from left to right."""
        return [tuple(step) for step in self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((step) => [Number(step.dataset.version), step.dataset.type]);",
            f"#order-{order_id} .step")]

    def stream_state(self, order_id: int) -> str:
        return self.browser.find_element(By.ID, f"order-{order_id}").get_attribute("data-stream")

    def wait_steps(self, order_id: int, wanted: list[tuple[int, str]]) -> None:
        try:
            wait_until(lambda: len(self.steps(order_id)) >= len(wanted), "all steps are shown")
        except AssertionError:
            pass  # what is shown says more
        assert self.steps(order_id) == wanted, self.text(f"#order-{order_id}")

    def wait_ended(self, order_id: int) -> None:
        wait_until(lambda: self.stream_state(order_id) == "ended",
                   f"the stream of order {order_id} ends")

    def problems(self) -> list[str]:
        """Errors of the page's script."""
        return [entry["message"] for entry in self.browser.get_log("browser")
                if entry["level"] == "SEVERE" and entry["source"] == "javascript"]
