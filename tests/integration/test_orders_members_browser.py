"""The orders page with members in a real Chromium: registering, charging, and one's own streams."""
from __future__ import annotations

from typing import Iterator

import pytest
from harness.browser import Page, open_browser
from harness.members import MemberOrders
from harness.waiting import wait_until

SEEN = [(1, "order_accepted"), (2, "payment_requested"), (3, "completed")]


@pytest.fixture
def page(tmp_path) -> Iterator[Page]:
    shop = MemberOrders(tmp_path / "data")
    browser = None
    try:
        shop.data.mkdir()
        shop.start()
        browser = open_browser(tmp_path / "profile")
        yield Page(browser, shop.gateway + "/")
    finally:
        if browser is not None:
            browser.quit()
        shop.close()


def fill(page: Page, **fields: str) -> None:
    for name, text in fields.items():
        page.browser.execute_script("document.getElementById(arguments[0]).value = arguments[1]",
                                    name, text)


def is_shown(page: Page, selector: str) -> bool:
    return page.browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].some((each) => each.offsetParent)",
        selector)


def text(page: Page, selector: str) -> str:
    """Asked of the page in one step, since a reload may come between finding and reading."""
    return page.browser.execute_script(
        "return document.querySelector(arguments[0])?.textContent ?? ''", selector)


@pytest.mark.parametrize("kind", ["hub", "direct"])
def test_a_visitor_registers_charges_orders_and_sees_it_live_by_the_cookie(page: Page, kind: str
                                                                           ) -> None:
    wait_until(lambda: is_shown(page, "#account") and not is_shown(page, "#form"), "the login box")
    fill(page, email="ann@example.org", password="secret-1")
    page.click("#login")
    wait_until(lambda: "nobody is registered" in text(page, "#account-message"), "a refusal")
    page.click("#register")
    wait_until(lambda: is_shown(page, "#who") and text(page, "#points") == "0", "an empty wallet")
    page.click("#charge")
    wait_until(lambda: text(page, "#points") == "5,000", "the charge")
    page.click(f"input[value={kind}]")
    order_id = page.place()
    page.wait_ended(order_id)
    assert page.steps(order_id)[-1] == SEEN[-1]
    wait_until(lambda: text(page, "#points") == "4,400", "the points are taken")
    assert page.browser.execute_script("return document.cookie") == ""
    page.browser.refresh()
    wait_until(lambda: is_shown(page, "#who") and text(page, "#points") == "4,400", "still logged in")
    page.click("#logout")
    wait_until(lambda: is_shown(page, "#account") and not page.css(".order"), "nobody is logged in")
