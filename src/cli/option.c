#include "cli/option.h"

#include <stdio.h>

#include "base/parse.h"
#include "base/url.h"
#include "cli/suggest.h"

#define SECONDS(n) ((int64_t) (n) * 1000)
#define HOURS(n) (SECONDS(n) * 3600)
#define DAYS(n) (HOURS(n) * 24)
#define MIB(n) ((int64_t) (n) << 20)

static const struct sl_option options[SL_OPTION_COUNT] = {
    [SL_OPTION_DATABASE] = {"database", SL_OPTION_URLS, NULL, 0, 0, "sqlite postgresql mariadb",
        NULL, true, "the database that holds the outbox; a relay may serve several"},
    [SL_OPTION_BROKER] = {"broker", SL_OPTION_URL, NULL, 0, 0, "local kafka", NULL, true,
        "where events go: the local log, one file, or Kafka"},
    [SL_OPTION_RELAY_READ] = {"relay.read", SL_OPTION_CHOICE, "table", 0, 0, "table", "wal", false,
        "how the relay reads committed events"},
    [SL_OPTION_RELAY_ENVELOPE] = {"relay.envelope", SL_OPTION_CHOICE, "raw", 0, 0, "raw",
        "debezium cloudevents-binary cloudevents-structured", false,
        "how an event is wrapped on its way to the broker"},
    [SL_OPTION_RELAY_ON_POISON] = {"relay.on_poison", SL_OPTION_CHOICE, "park", 0, 0,
        "park skip halt", NULL, false,
        "after the last attempt: park the event's key, skip the event, or halt the relay"},
    [SL_OPTION_RELAY_ATTEMPTS_MAX] = {"relay.attempts_max", SL_OPTION_INT, "3", 1, 1000, NULL, NULL,
        false, "attempts before an event that is refused becomes a dead letter"},
    [SL_OPTION_RELAY_RETRY_DELAY] = {"relay.retry_delay", SL_OPTION_DURATION, "100ms", 1, HOURS(1),
        NULL, NULL, false, "wait before the second attempt; doubles with each"},
    [SL_OPTION_RELAY_RETRY_DELAY_MAX] = {"relay.retry_delay_max", SL_OPTION_DURATION, "30s", 1,
        HOURS(24), NULL, NULL, false, "the longest wait between two attempts"},
    [SL_OPTION_RELAY_BATCH_EVENTS] = {"relay.batch_events", SL_OPTION_INT, "2000", 1, 10000, NULL,
        NULL, false, "events that go to the broker in one piece, at most"},
    [SL_OPTION_RELAY_POLL_INTERVAL] = {"relay.poll_interval", SL_OPTION_DURATION, "5ms", 1,
        SECONDS(60), NULL, NULL, false,
        "how often a server is asked for new events; ten times that while it is quiet"},
    [SL_OPTION_RELAY_RETENTION] = {"relay.retention", SL_OPTION_DURATION, "7d", 0, DAYS(3650), NULL,
        NULL, false, "how long sent events stay in the outbox; 0s keeps them for ever"},
    [SL_OPTION_RELAY_TABLE] = {"relay.table", SL_OPTION_TEXT, NULL, 0, 0, NULL, NULL, false,
        "a table of yours that is read in place of sluice's own outbox"},
    [SL_OPTION_RELAY_COLUMNS_ID] = {"relay.columns.id", SL_OPTION_TEXT, NULL, 0, 0, NULL, NULL,
        false,
        "the mapped table's column of the row's id: a whole number, a UUID or a text; else id"},
    [SL_OPTION_RELAY_COLUMNS_TOPIC] = {"relay.columns.topic", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false,
        "its column of the topic; else aggregatetype, as in Debezium's layout"},
    [SL_OPTION_RELAY_COLUMNS_KEY] = {"relay.columns.key", SL_OPTION_TEXT, NULL, 0, 0, NULL, NULL,
        false,
        "its column of the message key; else aggregateid"},
    [SL_OPTION_RELAY_COLUMNS_TYPE] = {"relay.columns.type", SL_OPTION_TEXT, NULL, 0, 0, NULL, NULL,
        false,
        "its column of the event's type; else type"},
    [SL_OPTION_RELAY_COLUMNS_PAYLOAD] = {"relay.columns.payload", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false,
        "its column of the payload; else payload"},
    [SL_OPTION_RELAY_COLUMNS_HEADERS] = {"relay.columns.headers", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false,
        "its column of the headers, a JSON object of texts; else none"},
    [SL_OPTION_RELAY_COLUMNS_CREATED_AT] = {"relay.columns.created_at", SL_OPTION_TEXT, NULL, 0, 0,
        NULL, NULL, false,
        "its column of the time of writing; else the time when the relay saw it"},
    [SL_OPTION_RELAY_COLUMNS_STATUS] = {"relay.columns.status", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false,
        "its column of PENDING, SENT, FAILED_PERMANENTLY; else rows are not changed"},
    [SL_OPTION_RELAY_COLUMNS_RETRY_COUNT] = {"relay.columns.retry_count", SL_OPTION_TEXT, NULL, 0,
        0, NULL, NULL, false,
        "its column that counts attempts; only with relay.columns.status"},
    [SL_OPTION_RELAY_COLUMNS_SENT_AT] = {"relay.columns.sent_at", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false,
        "its column of the time of sending; only with relay.columns.status"},
    [SL_OPTION_RELAY_TYPE] = {"relay.type", SL_OPTION_TEXT, NULL, 0, 0, NULL, NULL, false,
        "the type of all events of the mapped table, in place of a column"},
    [SL_OPTION_RELAY_DELETE_SENT] = {"relay.delete_sent", SL_OPTION_BOOL, "false", 0, 0, NULL,
        NULL, false,
        "delete a row of the mapped table once the broker has it"},
    [SL_OPTION_LOCAL_RETENTION] = {"local.retention", SL_OPTION_DURATION, "7d", 0, DAYS(3650), NULL,
        NULL, false, "how long the local log keeps events; 0s keeps them for ever"},
    [SL_OPTION_LOCAL_SIZE_MAX] = {"local.size_max", SL_OPTION_SIZE, "0", 0, (int64_t) 1 << 50, NULL,
        NULL, false, "payload bytes that the local log keeps, oldest go first; 0 is no limit"},
    [SL_OPTION_GATEWAY_LISTEN] = {"gateway.listen", SL_OPTION_ADDRESSES, "127.0.0.1:8080", 0, 0,
        NULL, NULL, false, "where the gateway listens; port 0 takes a free one"},
    [SL_OPTION_GATEWAY_ORIGINS] = {"gateway.origins", SL_OPTION_ORIGINS, NULL, 0, 0, NULL, NULL,
        false, "other origins whose pages may read streams, with cookies"},
    [SL_OPTION_GATEWAY_HEARTBEAT] = {"gateway.heartbeat", SL_OPTION_DURATION, "15s", 100, HOURS(1),
        NULL, NULL, false, "silence on a stream after which a comment is sent"},
    [SL_OPTION_GATEWAY_REPLAY_EVENTS] = {"gateway.replay_events", SL_OPTION_INT, "65536", 1,
        10000000, NULL, NULL, false, "recent events a topic kept for streams that resume"},
    [SL_OPTION_GATEWAY_REPLAY_SIZE] = {"gateway.replay_size", SL_OPTION_SIZE, "64MiB", MIB(1),
        MIB(65536), NULL, NULL, false, "memory for them"},
    [SL_OPTION_GATEWAY_CONNECTIONS_MAX] = {"gateway.connections_max", SL_OPTION_INT, "10000", 1,
        1000000, NULL, NULL, false, "connections at once; more are refused with 503"},
    [SL_OPTION_GATEWAY_STREAM_QUEUE_SIZE] = {"gateway.stream_queue_size", SL_OPTION_SIZE, "64KiB",
        4096, MIB(64), NULL, NULL, false,
        "bytes that may wait for one slow reader before it is told 'lagged'"},
    [SL_OPTION_GATEWAY_STREAM_QUEUE_AGE] = {"gateway.stream_queue_age", SL_OPTION_DURATION, "10s",
        100, HOURS(1), NULL, NULL, false,
        "how long a slow reader may take nothing before it is closed"},
    [SL_OPTION_GATEWAY_QUEUE_BUDGET] = {"gateway.queue_budget", SL_OPTION_SIZE, "64MiB", MIB(1),
        MIB(65536), NULL, NULL, false,
        "bytes that may wait for all slow readers together; beyond, new streams wait"},
    [SL_OPTION_GATEWAY_RETRY] = {"gateway.retry", SL_OPTION_DURATION, "2s", 100, HOURS(1), NULL,
        NULL, false, "when a browser connects again, give or take a half"},
    [SL_OPTION_GATEWAY_CONNECT_TIMEOUT] = {"gateway.connect_timeout", SL_OPTION_DURATION, "5s", 10,
        HOURS(1), NULL, NULL, false, "how long connecting to an upstream may take"},
    [SL_OPTION_GATEWAY_SNAPSHOT_TIMEOUT] = {"gateway.snapshot_timeout", SL_OPTION_DURATION, "5s",
        10, HOURS(1), NULL, NULL, false, "how long the snapshot of a stream may take"},
    [SL_OPTION_GATEWAY_UPSTREAM_TIMEOUT] = {"gateway.upstream_timeout", SL_OPTION_DURATION, "60s",
        10, HOURS(24), NULL, NULL, false,
        "from a request's end to its answer's head; then 504. Bodies may take for ever"},
    [SL_OPTION_GATEWAY_TOKEN_KEY_FILES] = {"gateway.token.key_files", SL_OPTION_FILES, NULL, 0, 0,
        NULL, NULL, false,
        "files with the keys of tokens: RS256 public keys as PEM, or JWKs (RSA, oct)"},
    [SL_OPTION_GATEWAY_TOKEN_SECRET] = {"gateway.token.secret", SL_OPTION_SECRET, NULL, 0, 0, NULL,
        NULL, true, "the secret of HS256 tokens, 32 bytes at least"},
    [SL_OPTION_GATEWAY_TOKEN_AUDIENCE] = {"gateway.token.audience", SL_OPTION_TEXT, NULL, 0, 0,
        NULL, NULL, false, "what a token's aud must be, or have among others"},
    [SL_OPTION_GATEWAY_TOKEN_ISSUER] = {"gateway.token.issuer", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false, "what a token's iss must be"},
    [SL_OPTION_GATEWAY_TOKEN_COOKIE] = {"gateway.token.cookie", SL_OPTION_TEXT, NULL, 0, 0, NULL,
        NULL, false, "the cookie that may bring a token, beside Authorization: Bearer"},
    [SL_OPTION_GATEWAY_TOKEN_LEEWAY] = {"gateway.token.leeway", SL_OPTION_DURATION, "10s", 0,
        SECONDS(60), NULL, NULL, false, "how far the clocks of issuer and gateway may differ"},
    [SL_OPTION_GATEWAY_TOKEN_SUBJECT_HEADER] = {"gateway.token.subject_header", SL_OPTION_TEXT,
        "Sluice-Subject", 0, 0, NULL, NULL, false,
        "the field that tells upstreams whose token it is; a client's own never arrives"},
    [SL_OPTION_CONSOLE_LISTEN] = {"console.listen", SL_OPTION_ADDRESS, "127.0.0.1:9090", 0, 0, NULL,
        NULL, false, "where the console listens: page, /metrics, /health; or off"},
    [SL_OPTION_CONSOLE_READY_AGE_MAX] = {"console.ready_age_max", SL_OPTION_DURATION, "30s", 1000,
        DAYS(1), NULL, NULL, false,
        "/health/ready fails when the oldest unsent event is older and nothing moves"},
    [SL_OPTION_LOG_LEVEL] = {"log.level", SL_OPTION_CHOICE, "info", 0, 0, "debug info warn error",
        NULL, false, "what is written to stderr"},
};

const struct sl_option *sl_option_of(enum sl_option_id id)
{
    return &options[id];
}

int sl_option_find(struct sl_text name)
{
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        if (sl_text_equal(sl_text_of(options[i].name), name)) {
            return i;
        }
    }
    return -1;
}

bool sl_option_is_section(struct sl_text name)
{
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        struct sl_text known = sl_text_of(options[i].name);
        if (known.size > name.size && known.data[name.size] == '.' &&
            sl_text_equal((struct sl_text) {known.data, name.size}, name)) {
            return true;
        }
    }
    return false;
}

bool sl_option_is_list(const struct sl_option *option)
{
    return option->type == SL_OPTION_ADDRESSES || option->type == SL_OPTION_URLS ||
        option->type == SL_OPTION_ORIGINS || option->type == SL_OPTION_FILES;
}

/* Which of the words (with spaces between) `value` is, or -1. */
static int index_of_word(const char *words, struct sl_text value)
{
    struct sl_text rest = sl_text_of(words);
    struct sl_text word;
    for (int i = 0; sl_text_split(&rest, ' ', &word); i++) {
        if (sl_text_equal(word, value)) {
            return i;
        }
    }
    return -1;
}

static void write_words(struct sl_buffer *buffer, const char *words, const char *suffix)
{
    struct sl_text rest = sl_text_of(words);
    struct sl_text word;
    for (bool is_first = true; sl_text_split(&rest, ' ', &word); is_first = false) {
        sl_buffer_append_format(
            buffer, "%s%.*s%s", is_first ? "" : ", ", (int) word.size, word.data, suffix);
    }
}

static bool is_file_scheme(struct sl_text scheme)
{
    return sl_text_equal(scheme, SL_TEXT("sqlite")) || sl_text_equal(scheme, SL_TEXT("local"));
}

/* Schemes as the URLs that have them. */
static void write_urls(struct sl_buffer *buffer, const char *schemes)
{
    struct sl_text rest = sl_text_of(schemes);
    struct sl_text scheme;
    for (bool is_first = true; sl_text_split(&rest, ' ', &scheme); is_first = false) {
        bool is_file = is_file_scheme(scheme);
        bool is_kafka = sl_text_equal(scheme, SL_TEXT("kafka"));
        sl_buffer_append_format(buffer, "%s%.*s%s", is_first ? "" : ", ", (int) scheme.size,
            scheme.data, is_file ? ":FILE" : is_kafka ? "://HOST:PORT[,...]" : "://HOST/DATABASE");
    }
}

/* A number of ms or bytes in the largest unit that holds it exactly. */
static void write_with_unit(
    struct sl_buffer *buffer, int64_t number, enum sl_option_type type)
{
    static const struct {
        enum sl_option_type type;
        int64_t factor;
        const char *name;
    } units[] = {
        {SL_OPTION_DURATION, DAYS(1), "d"}, {SL_OPTION_DURATION, HOURS(1), "h"},
        {SL_OPTION_DURATION, SECONDS(60), "m"}, {SL_OPTION_DURATION, SECONDS(1), "s"},
        {SL_OPTION_DURATION, 1, "ms"}, {SL_OPTION_SIZE, MIB(1024), "GiB"},
        {SL_OPTION_SIZE, MIB(1), "MiB"}, {SL_OPTION_SIZE, 1024, "KiB"}, {SL_OPTION_SIZE, 1, ""},
        {SL_OPTION_INT, 1, ""}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        bool is_last = units[i].factor == 1;
        if (units[i].type == type &&
            (is_last || (number != 0 && number % units[i].factor == 0))) {
            sl_buffer_append_format(
                buffer, "%lld%s", (long long) (number / units[i].factor), units[i].name);
            return;
        }
    }
}

void sl_option_describe(const struct sl_option *option, struct sl_buffer *buffer)
{
    switch (option->type) {
    case SL_OPTION_INT:
    case SL_OPTION_DURATION:
    case SL_OPTION_SIZE:
        sl_buffer_append_text(buffer,
            option->type == SL_OPTION_INT            ? "a whole number"
                : option->type == SL_OPTION_DURATION ? "a duration (250ms, 30s, 5m, 12h, 7d)"
                                                     : "a size (512, 64KiB, 10MiB, 2GiB)");
        sl_buffer_append_text(buffer, " from ");
        write_with_unit(buffer, option->minimum, option->type);
        sl_buffer_append_text(buffer, " to ");
        write_with_unit(buffer, option->maximum, option->type);
        return;
    case SL_OPTION_BOOL:
        sl_buffer_append_text(buffer, "true or false");
        return;
    case SL_OPTION_CHOICE:
        if (strchr(option->choices, ' ') != NULL) {
            sl_buffer_append_text(buffer, "one of ");
        }
        write_words(buffer, option->choices, "");
        return;
    case SL_OPTION_ADDRESS:
        sl_buffer_append_text(buffer, "an address (127.0.0.1:8080, [::1]:8080, :8080) or off");
        return;
    case SL_OPTION_ADDRESSES:
        sl_buffer_append_text(
            buffer, "an address (127.0.0.1:8080, [::1]:8080, :8080) or a list of them");
        return;
    case SL_OPTION_ORIGINS:
        sl_buffer_append_text(buffer, "an origin (https://shop.example) or a list of them");
        return;
    case SL_OPTION_FILES:
        sl_buffer_append_text(buffer, "a file or a list of them");
        return;
    case SL_OPTION_TEXT:
        sl_buffer_append_text(buffer, "a text");
        return;
    case SL_OPTION_SECRET:
        sl_buffer_append_text(buffer, "a text, from the environment only");
        return;
    case SL_OPTION_URL:
    case SL_OPTION_URLS:
        write_urls(buffer, option->choices);
        sl_buffer_append_text(buffer, option->type == SL_OPTION_URLS ? ", or a list of them" : "");
        return;
    }
}

static int explain(const struct sl_option *option, struct sl_text value, const char *what,
    char reason[SL_OPTION_REASON_SIZE])
{
    struct sl_buffer allowed;
    sl_buffer_init(&allowed, SL_OPTION_REASON_SIZE);
    sl_option_describe(option, &allowed);
    struct sl_buffer shown;
    sl_buffer_init(&shown, SL_OPTION_VALUE_SIZE_MAX * 2);
    sl_option_write_masked(option, value, &shown);
    snprintf(reason, SL_OPTION_REASON_SIZE, "'%.100s' %s; allowed: %s",
        shown.data == NULL ? "" : shown.data, what, allowed.data == NULL ? "" : allowed.data);
    sl_buffer_deinit(&shown);
    sl_buffer_deinit(&allowed);
    return -1;
}

static int check_number(const struct sl_option *option, struct sl_text value, int64_t *ret_number,
    char reason[SL_OPTION_REASON_SIZE])
{
    int64_t number;
    bool is_number = option->type == SL_OPTION_INT ? sl_parse_i64(value, &number)
        : option->type == SL_OPTION_DURATION       ? sl_parse_duration_ms(value, &number)
                                                   : sl_parse_size(value, &number);
    if (!is_number) {
        return explain(option, value,
            option->type == SL_OPTION_INT            ? "is no whole number"
                : option->type == SL_OPTION_DURATION ? "is no duration"
                                                     : "is no size",
            reason);
    }
    if (number < option->minimum || number > option->maximum) {
        return explain(option, value,
            number < option->minimum ? "is too small" : "is too large", reason);
    }
    *ret_number = number;
    return 0;
}

static int check_word(const struct sl_option *option, struct sl_text value, int64_t *ret_number,
    char reason[SL_OPTION_REASON_SIZE])
{
    int index = index_of_word(option->choices, value);
    if (index >= 0) {
        *ret_number = index;
        return 0;
    }
    bool is_later = option->later != NULL && index_of_word(option->later, value) >= 0;
    return explain(
        option, value, is_later ? "is not in this version yet" : "is not known", reason);
}

static int check_url(
    const struct sl_option *option, struct sl_text value, char reason[SL_OPTION_REASON_SIZE])
{
    struct sl_text scheme = value;
    const char *colon = value.size == 0 ? NULL : memchr(value.data, ':', value.size);
    if (colon != NULL) {
        scheme.size = (size_t) (colon - value.data);
    }
    if (sl_text_equal(scheme, SL_TEXT("postgres"))) {
        scheme = SL_TEXT("postgresql"); /* libpq knows both */
    } else if (sl_text_equal(scheme, SL_TEXT("mysql"))) {
        scheme = SL_TEXT("mariadb");
    }
    if (colon != NULL && index_of_word(option->later, scheme) >= 0) {
        return explain(option, value, "is for a later version: this one does not have it yet",
            reason);
    }
    if (colon == NULL || index_of_word(option->choices, scheme) < 0) {
        return explain(option, value, "is no URL that sluice knows", reason);
    }
    if (is_file_scheme(scheme) && scheme.size + 1 == value.size) {
        return explain(option, value, "names no file", reason);
    }
    if (!is_file_scheme(scheme) &&
        (colon + 3 >= value.data + value.size || memcmp(colon, "://", 3) != 0)) {
        return explain(option, value, "names no host", reason);
    }
    return 0;
}

int sl_option_check(const struct sl_option *option, struct sl_text value, int64_t *ret_number,
    char reason[SL_OPTION_REASON_SIZE])
{
    struct sl_text host;
    uint16_t port;
    if (value.size == 0) {
        return explain(option, value, "is empty", reason);
    }
    if (value.size > SL_OPTION_VALUE_SIZE_MAX || !sl_text_is_clean_utf8(value)) {
        return explain(option, SL_TEXT("..."), "is longer than 4096 bytes or no clean UTF-8",
            reason);
    }
    int64_t number = 0;
    int status = 0;
    switch (option->type) {
    case SL_OPTION_INT:
    case SL_OPTION_DURATION:
    case SL_OPTION_SIZE:
        status = check_number(option, value, &number, reason);
        break;
    case SL_OPTION_BOOL:
        number = sl_text_equal(value, SL_TEXT("true"));
        if (number == 0 && !sl_text_equal(value, SL_TEXT("false"))) {
            status = explain(option, value, "is neither true nor false", reason);
        }
        break;
    case SL_OPTION_CHOICE:
        status = check_word(option, value, &number, reason);
        break;
    case SL_OPTION_ADDRESS:
    case SL_OPTION_ADDRESSES:
        if (!(option->type == SL_OPTION_ADDRESS && sl_text_equal(value, SL_TEXT("off"))) &&
            !sl_url_parse_address(value, &host, &port)) {
            status = explain(option, value, "is no address with a port", reason);
        }
        break;
    case SL_OPTION_ORIGINS:
        if (!sl_url_is_origin(value)) {
            status = explain(option, value, "is no origin", reason);
        }
        break;
    case SL_OPTION_FILES:
        if (memmem(value.data, value.size, "://", 3) != NULL) {
            status = explain(option, value,
                "is a URL; this version fetches no keys: save them into a file and name it",
                reason);
        }
        break;
    case SL_OPTION_TEXT:
    case SL_OPTION_SECRET:
        break;
    case SL_OPTION_URL:
    case SL_OPTION_URLS:
        status = check_url(option, value, reason);
        break;
    }
    if (status == 0) {
        *ret_number = number;
    }
    return status;
}

void sl_option_environment_name(const struct sl_option *option, char ret_name[64])
{
    size_t size = (size_t) snprintf(ret_name, 64, "SLUICE_%s", option->name);
    for (size_t i = 0; i < size; i++) {
        char c = ret_name[i];
        ret_name[i] = c == '.' ? '_' : c >= 'a' && c <= 'z' ? (char) (c - 'a' + 'A') : c;
    }
}

const char *sl_option_nearest(struct sl_text wrong_name)
{
    struct sl_suggestion suggestion;
    sl_suggestion_init(&suggestion, wrong_name);
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        sl_suggestion_offer(&suggestion, options[i].name);
    }
    sl_suggestion_offer(&suggestion, "gateway.routes");
    sl_suggestion_offer(&suggestion, "relay");
    sl_suggestion_offer(&suggestion, "local");
    sl_suggestion_offer(&suggestion, "gateway");
    sl_suggestion_offer(&suggestion, "console");
    if (suggestion.best != NULL) {
        return suggestion.best;
    }
    struct sl_text last = wrong_name;
    for (size_t i = 0; i < wrong_name.size; i++) {
        if (wrong_name.data[i] == '.') {
            last = (struct sl_text) {wrong_name.data + i + 1, wrong_name.size - i - 1};
        }
    }
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        const char *dot = strchr(options[i].name, '.');
        if (dot != NULL && sl_text_equal(sl_text_of(dot + 1), last)) {
            return options[i].name;
        }
    }
    return sl_text_equal(last, SL_TEXT("routes")) ? "gateway.routes" : NULL;
}

void sl_option_write_masked(
    const struct sl_option *option, struct sl_text value, struct sl_buffer *buffer)
{
    static const char mask[] = "****";
    if (option->type == SL_OPTION_SECRET) {
        sl_buffer_append_text(buffer, mask);
        return;
    }
    const char *at = NULL;
    const char *colon = NULL;
    const char *slashes =
        option->is_secret && value.size > 0 ? memmem(value.data, value.size, "://", 3) : NULL;
    if (slashes == NULL) {
        sl_buffer_append(buffer, value.data, value.size);
        return;
    }
    /* user:password@host: the password may hold anything but '@' and '/', as it must be escaped. */
    const char *end = value.data + value.size;
    for (const char *c = slashes + 3; c < end && *c != '/' && *c != '?'; c++) {
        colon = *c == ':' && colon == NULL ? c : colon;
        at = *c == '@' ? c : at;
    }
    const char *next = value.data;
    if (at != NULL && colon != NULL && colon < at) {
        sl_buffer_append(buffer, next, (size_t) (colon + 1 - next));
        sl_buffer_append_text(buffer, mask);
        next = at;
    }
    const char *password = memmem(next, (size_t) (end - next), "password=", 9);
    if (password != NULL) {
        sl_buffer_append(buffer, next, (size_t) (password + 9 - next));
        sl_buffer_append_text(buffer, mask);
        for (next = password + 9; next < end && *next != '&'; next++) {
        }
    }
    sl_buffer_append(buffer, next, (size_t) (end - next));
}
