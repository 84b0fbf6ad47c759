#include "base/url.h"

#include "support/unit.h"

START_TEST(http_urls_come_apart)
{
    struct sl_http_url url;
    ck_assert(sl_url_parse_http(SL_TEXT("http://127.0.0.1:9000/orders/7?x=1"), &url));
    ck_assert(sl_text_equal(url.host, SL_TEXT("127.0.0.1")));
    ck_assert_uint_eq(url.port, 9000);
    ck_assert(sl_text_equal(url.path, SL_TEXT("/orders/7?x=1")));
    ck_assert(sl_url_parse_http(SL_TEXT("http://[::1]:80"), &url));
    ck_assert(sl_text_equal(url.host, SL_TEXT("::1")));
    ck_assert_uint_eq(url.path.size, 0);
}
END_TEST

START_TEST(urls_with_users_bad_ports_or_other_schemes_are_refused)
{
    struct sl_http_url url;
    ck_assert(!sl_url_parse_http(SL_TEXT("http://user@host/"), &url));
    ck_assert(!sl_url_parse_http(SL_TEXT("http://host:70000/"), &url));
    ck_assert(!sl_url_parse_http(SL_TEXT("http://host:0/"), &url));
    ck_assert(!sl_url_parse_http(SL_TEXT("https://host/"), &url));
    ck_assert(!sl_url_parse_http(SL_TEXT("http:///path"), &url));
    ck_assert(!sl_url_parse_http(SL_TEXT("http://[::1/"), &url));
}
END_TEST

START_TEST(listen_addresses_and_file_urls_come_apart)
{
    struct sl_text part;
    uint16_t port;
    ck_assert(sl_url_parse_address(SL_TEXT(":8080"), &part, &port));
    ck_assert(sl_text_equal(part, SL_TEXT("0.0.0.0")) && port == 8080);
    ck_assert(sl_url_parse_address(SL_TEXT("[::1]:0"), &part, &port) && port == 0);
    ck_assert(!sl_url_parse_address(SL_TEXT("8080"), &part, &port));
    ck_assert(sl_url_parse_file(SL_TEXT("sqlite:/var/lib/app.db"), "sqlite", &part));
    ck_assert(sl_text_equal(part, SL_TEXT("/var/lib/app.db")));
    ck_assert(!sl_url_parse_file(SL_TEXT("sqlite:"), "sqlite", &part));
    ck_assert(!sl_url_parse_file(SL_TEXT("local:x"), "sqlite", &part));
}
END_TEST

START_TEST(origins_are_a_scheme_a_host_and_a_port)
{
    static const char *const good[] = {
        "https://shop.example", "http://localhost:3000", "https://[::1]:8443"};
    static const char *const bad[] = {"", "*", "shop.example", "https://", "https://a/",
        "https://a, https://b", "https://*.a", "null", "https://u@a", "https://a?b", "ftp://a"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(sl_url_is_origin(sl_text_of(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!sl_url_is_origin(sl_text_of(bad[i])), "%s", bad[i]);
    }
}
END_TEST

UNIT_MAIN("url", http_urls_come_apart, urls_with_users_bad_ports_or_other_schemes_are_refused,
    listen_addresses_and_file_urls_come_apart, origins_are_a_scheme_a_host_and_a_port)
