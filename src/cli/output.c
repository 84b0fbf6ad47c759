#include "cli/output.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/parse.h"
#include "console/state.h"

void sl_print_clean(FILE *stream, struct sl_text text)
{
    bool is_utf8 = true;
    struct sl_text piece = text;
    /* Valid text may hold line ends, which the check calls unclean: look at the pieces between. */
    for (size_t i = 0, start = 0; i <= text.size; i++) {
        if (i == text.size || (unsigned char) text.data[i] < 0x20 || text.data[i] == 0x7f) {
            piece = (struct sl_text) {text.data + start, i - start};
            is_utf8 = is_utf8 && (piece.size == 0 || sl_text_is_clean_utf8(piece));
            start = i + 1;
        }
    }
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char) text.data[i];
        fputc(c < 0x20 || c == 0x7f || (c >= 0x80 && !is_utf8) ? '?' : c, stream);
    }
}

void sl_print_color(enum sl_color color)
{
    static const char *const codes[] = {[SL_COLOR_PLAIN] = "\033[0m", [SL_COLOR_GOOD] = "\033[32m",
        [SL_COLOR_BAD] = "\033[31m", [SL_COLOR_DIM] = "\033[2m"};
    const char *no_color = getenv("NO_COLOR");
    if (isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0')) {
        fputs(codes[color], stdout);
    }
}

void sl_format_age(int64_t age_ms, char ret_text[24])
{
    age_ms = age_ms < 0 ? 0 : age_ms;
    if (age_ms < 10000) {
        snprintf(ret_text, 24, "%lld.%lld s", (long long) (age_ms / 1000),
            (long long) (age_ms % 1000 / 100));
    } else if (age_ms < 120000) {
        snprintf(ret_text, 24, "%lld s", (long long) (age_ms / 1000));
    } else if (age_ms < 7200000) {
        snprintf(ret_text, 24, "%lld min", (long long) (age_ms / 60000));
    } else if (age_ms < 172800000) {
        snprintf(ret_text, 24, "%lld h", (long long) (age_ms / 3600000));
    } else {
        snprintf(ret_text, 24, "%lld d", (long long) (age_ms / 86400000));
    }
}

static json_t *as_base64(struct sl_text bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct sl_buffer text;
    sl_buffer_init(&text, (bytes.size + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size; i += 3) {
        const unsigned char *in = (const unsigned char *) bytes.data + i;
        size_t left = bytes.size - i;
        unsigned bits = (unsigned) in[0] << 16 | (left > 1 ? (unsigned) in[1] << 8 : 0) |
            (left > 2 ? in[2] : 0);
        char out[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
            left > 1 ? digits[bits >> 6 & 63] : '=', left > 2 ? digits[bits & 63] : '='};
        sl_buffer_append(&text, out, sizeof(out));
    }
    json_t *string = text.is_failed ? NULL : json_stringn(text.data, text.size);
    sl_buffer_deinit(&text);
    return string;
}

static int put_payload(json_t *object, struct sl_text payload)
{
    json_t *value = json_loadb(payload.size == 0 ? "" : payload.data, payload.size,
        JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    const char *encoding = NULL;
    if (value == NULL) {
        value = json_stringn(payload.size == 0 ? "" : payload.data, payload.size);
        encoding = "text";
    }
    if (value == NULL) {
        value = as_base64(payload);
        encoding = "base64";
    }
    if (encoding != NULL &&
        json_object_set_new(object, "payload_encoding", json_string(encoding)) != 0) {
        json_decref(value);
        return -1;
    }
    return json_object_set_new(object, "payload", value);
}

int sl_json_put_event(json_t *object, const struct sl_event *event)
{
    char time[SL_CLOCK_TEXT_SIZE];
    sl_clock_format(event->time_ms, time);
    json_t *headers = json_loadb(event->headers.size == 0 ? "{}" : event->headers.data,
        event->headers.size == 0 ? 2 : event->headers.size, 0, NULL);
    if (headers == NULL) {
        headers = sl_state_text(event->headers);
    }
    int result = json_object_set_new(object, "id", json_string(event->id));
    result |= json_object_set_new(object, "topic", sl_state_text(event->topic));
    result |= json_object_set_new(
        object, "key", event->has_key ? sl_state_text(event->key) : json_null());
    result |= json_object_set_new(object, "type", sl_state_text(event->type));
    result |= json_object_set_new(object, "time", json_string(time));
    result |= json_object_set_new(object, "headers", headers);
    result |= put_payload(object, event->payload);
    return result == 0 ? 0 : -1;
}

void sl_print_json_line(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    fputc('\n', stdout);
}

/* Two digits at `at`, or -1. */
static int two_digits(struct sl_text text, size_t at)
{
    uint64_t number;
    return text.size >= at + 2 && sl_parse_u64((struct sl_text) {text.data + at, 2}, &number)
        ? (int) number
        : -1;
}

/* The offset behind a time: "Z", "+01:00"; in minutes. False on anything else. */
static bool parse_offset(struct sl_text text, int *ret_minutes)
{
    if (text.size == 1 && (text.data[0] == 'Z' || text.data[0] == 'z')) {
        *ret_minutes = 0;
        return true;
    }
    int hours = two_digits(text, 1);
    int minutes = two_digits(text, 4);
    if (text.size != 6 || (text.data[0] != '+' && text.data[0] != '-') || text.data[3] != ':' ||
        hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
        return false;
    }
    *ret_minutes = (hours * 60 + minutes) * (text.data[0] == '-' ? -1 : 1);
    return true;
}

static bool parse_calendar(struct sl_text text, int64_t *ret_time_ms)
{
    uint64_t year;
    struct tm date = {0};
    if (text.size < 20 || !sl_parse_u64((struct sl_text) {text.data, 4}, &year) ||
        text.data[4] != '-' || text.data[7] != '-' ||
        (text.data[10] != 'T' && text.data[10] != ' ') || text.data[13] != ':' ||
        text.data[16] != ':') {
        return false;
    }
    date.tm_year = (int) year - 1900;
    date.tm_mon = two_digits(text, 5) - 1;
    date.tm_mday = two_digits(text, 8);
    date.tm_hour = two_digits(text, 11);
    date.tm_min = two_digits(text, 14);
    date.tm_sec = two_digits(text, 17);
    struct tm given = date;
    size_t rest = 19;
    int64_t fraction_ms = 0;
    if (rest < text.size && text.data[rest] == '.') {
        int64_t unit_ms = 100;
        for (rest++; rest < text.size && text.data[rest] >= '0' && text.data[rest] <= '9'; rest++) {
            fraction_ms += (text.data[rest] - '0') * unit_ms;
            unit_ms /= 10;
        }
    }
    int offset_minutes;
    if (!parse_offset((struct sl_text) {text.data + rest, text.size - rest}, &offset_minutes)) {
        return false;
    }
    time_t seconds = timegm(&date);
    /* timegm turns the 32nd into the next month's first; a date must come out as it went in. */
    if (date.tm_mon != given.tm_mon || date.tm_mday != given.tm_mday ||
        date.tm_hour != given.tm_hour || date.tm_min != given.tm_min ||
        date.tm_sec != given.tm_sec) {
        return false;
    }
    *ret_time_ms = ((int64_t) seconds - (int64_t) offset_minutes * 60) * 1000 + fraction_ms;
    return true;
}

bool sl_parse_time_ms(struct sl_text text, int64_t now_ms, int64_t *ret_time_ms)
{
    int64_t age_ms;
    if (sl_parse_duration_ms(text, &age_ms)) {
        *ret_time_ms = age_ms > now_ms ? 0 : now_ms - age_ms;
        return true;
    }
    return parse_calendar(text, ret_time_ms);
}
