"""The orders page in a real Chromium, as a person uses it."""
from __future__ import annotations

import itertools
from typing import Iterator

import pytest
from harness.browser import Page, open_browser
from harness.orders import STREAM_KINDS, Orders, stream_path
from harness.proxy import Proxy
from harness.waiting import wait_until

both_kinds = pytest.mark.parametrize("kind", STREAM_KINDS)
ACCEPTED, REQUESTED, COMPLETED = (1, "order_accepted"), (2, "payment_requested"), (3, "completed")
CANCELLED = [ACCEPTED, REQUESTED, (3, "cancel_requested"), (4, "cancel_requested"), (5, "cancelled")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    started = open_browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


@pytest.fixture
def proxy(slow_orders: Orders) -> Iterator[Proxy]:
    """Between the browser and the gateway, to see what the browser really asks for."""
    made = Proxy(slow_orders.gateway)
    yield made
    made.close()


CUSTOMERS = itertools.count(500)


@pytest.fixture
def page(browser, proxy: Proxy) -> Iterator[Page]:
    """The page, with a customer of its own, whose wallet nobody else has emptied."""
    opened = Page(browser, proxy.url)
    opened.choose_customer(next(CUSTOMERS))
    yield opened
    assert opened.problems() == []


def choose(page: Page, kind: str) -> None:
    page.click(f"input[value={kind}]")


@both_kinds
def test_an_order_shows_every_status_in_order_and_nothing_is_asked_after_the_end(
        page: Page, proxy: Proxy, kind: str) -> None:
    choose(page, kind)
    first = page.place()
    page.wait_steps(first, [ACCEPTED, REQUESTED, COMPLETED])
    page.wait_ended(first)
    # Two more orders take longer than any EventSource waits before it connects again.
    for order_id in (page.place(), page.place()):
        page.wait_steps(order_id, [ACCEPTED, REQUESTED, COMPLETED])
        page.wait_ended(order_id)
    asked = [path for path in proxy.stream_requests() if path == stream_path(first, kind)]
    assert len(asked) == 1
    assert len(proxy.stream_requests()) == 3


@both_kinds
def test_an_event_source_that_nobody_closes_is_stopped_by_the_server(
        page: Page, proxy: Proxy, kind: str) -> None:
    order_id = page.place()
    page.wait_ended(order_id)
    before = len(proxy.stream_requests())
    page.browser.execute_script("window.source = new EventSource(arguments[0])",
                                stream_path(order_id, kind))
    wait_until(lambda: page.browser.execute_script("return window.source.readyState") == 2,
               "the browser gives up on the stream")
    # One request for the stream, and one reconnect that was told 204.
    assert len(proxy.stream_requests()) - before == 2


@both_kinds
def test_a_reload_in_the_middle_misses_nothing(
        page: Page, proxy: Proxy, slow_orders: Orders, kind: str) -> None:
    choose(page, kind)
    with slow_orders.payments_held():
        order_id = page.place()
        page.wait_steps(order_id, [ACCEPTED, REQUESTED])
        wait_until(lambda: page.text(f"#order-{order_id} code") != "–", "the first id is shown")
        page.browser.refresh()
        page.click(f"#order-{order_id} .cancel")
        page.wait_steps(order_id, CANCELLED[:3])
    page.wait_steps(order_id, CANCELLED)
    page.wait_ended(order_id)
    assert "?lastEventId=" in proxy.stream_requests()[-1]


@both_kinds
def test_a_cut_connection_is_shown_and_misses_nothing(
        page: Page, proxy: Proxy, slow_orders: Orders, kind: str) -> None:
    choose(page, kind)
    with slow_orders.payments_held():
        order_id = page.place()
        wait_until(lambda: page.stream_state(order_id) == "live", "the stream is live")
        proxy.cut()
        wait_until(lambda: page.stream_state(order_id) == "reconnecting", "the cut is shown")
    page.wait_steps(order_id, [ACCEPTED, REQUESTED, COMPLETED])
    page.wait_ended(order_id)
    assert "1 reconnect" in page.text(f"#order-{order_id} .state")
    assert len(proxy.stream_requests()) == 2


@both_kinds
def test_an_order_is_cancelled_on_the_page(
        page: Page, slow_orders: Orders, kind: str) -> None:
    choose(page, kind)
    with slow_orders.payments_held():
        order_id = page.place()
        page.wait_steps(order_id, [ACCEPTED, REQUESTED])
        page.click(f"#order-{order_id} .cancel")
    page.wait_steps(order_id, CANCELLED)
    page.wait_ended(order_id)
    assert page.text(f"#order-{order_id} .pill") == "CANCELLED"
    assert page.text(f"#order-{order_id} .reason") == "cancelled by user"


def test_too_few_points_are_told_in_words(page: Page) -> None:
    page.click("#more-4")
    order_id = page.place()
    page.wait_steps(order_id, [ACCEPTED, REQUESTED, (3, "failed")])
    assert page.text(f"#order-{order_id} .reason") == (
        "too few points: the order costs 25600, the wallet has 10000")


def test_the_wallet_shows_what_is_left(page: Page) -> None:
    wait_until(lambda: page.text("#points") == "10,000", "the wallet before")
    page.wait_ended(page.place())
    wait_until(lambda: page.text("#points") == "9,400", "the wallet after")


def test_more_orders_than_a_browser_has_connections_all_come_to_their_end(page: Page) -> None:
    ids = [page.place() for _ in range(8)]
    for order_id in ids:
        page.wait_ended(order_id)
        # Those that waited for a connection may begin with the final status.
        assert page.steps(order_id)[0] == ACCEPTED and page.steps(order_id)[-1] == COMPLETED


def test_the_page_is_usable_by_keyboard_and_fits_a_phone(page: Page) -> None:
    page.browser.set_window_size(390, 800)
    try:
        wide = page.browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0
        unnamed = page.browser.execute_script(
            "return [...document.querySelectorAll('button, input')].filter((each) =>"
            " !(each.ariaLabel || each.textContent.trim() || each.labels?.length)).length")
        assert unnamed == 0
        page.browser.execute_script("document.getElementById('place').focus()")
        page.browser.switch_to.active_element.send_keys("\n")
        wait_until(lambda: page.css(".order"), "the order is placed by the keyboard")
    finally:
        page.browser.set_window_size(1280, 900)
