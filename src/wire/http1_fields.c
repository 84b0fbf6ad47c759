/* The part of a head that requests and responses share: where it ends, and its fields. */
#include "base/parse.h"
#include "wire/http1_internal.h"

int sl_http1_refuse(struct sl_http1_refusal *ret_refusal, int status, const char *text)
{
    *ret_refusal = (struct sl_http1_refusal) {status, text};
    return -1;
}

bool sl_http1_is_token_char(unsigned char byte)
{
    if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
        (byte >= 'a' && byte <= 'z')) {
        return true;
    }
    return byte > 0x20 && byte < 0x7f && memchr("!#$%&'*+-.^_`|~", byte, 15) != NULL;
}

bool sl_http1_is_token(struct sl_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!sl_http1_is_token_char((unsigned char) text.data[i])) {
            return false;
        }
    }
    return text.size > 0;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

bool sl_http1_is_value(struct sl_text value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char byte = (unsigned char) value.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return value.size == 0 || (!is_blank(value.data[0]) && !is_blank(value.data[value.size - 1]));
}

static enum sl_http1_result scan_refused(
    struct sl_http1_refusal *ret_refusal, int status, const char *text)
{
    sl_http1_refuse(ret_refusal, status, text);
    return SL_HTTP1_INVALID;
}

/* A line ended at scan->place (the LF's index). COMPLETE if it was the empty one. */
static enum sl_http1_result scan_line_end(
    struct sl_http1_scan *scan, const char *data, struct sl_http1_refusal *ret_refusal)
{
    if (scan->place == scan->line_start || data[scan->place - 1] != '\r') {
        return scan_refused(ret_refusal, 400, "a line of the head ends with a bare LF");
    }
    bool is_empty = scan->place == scan->line_start + 1;
    if (is_empty && scan->line_count == 0) {
        return scan_refused(ret_refusal, 400, "an empty line stands before the head");
    }
    scan->line_count++;
    scan->line_start = scan->place + 1;
    if (!is_empty && scan->line_count > SL_HTTP1_HEADERS_MAX + 1) {
        return scan_refused(ret_refusal, 431, "the head has more than 100 fields");
    }
    return is_empty ? SL_HTTP1_COMPLETE : SL_HTTP1_INCOMPLETE;
}

enum sl_http1_result sl_http1_scan(struct sl_http1_scan *scan, const char *data, size_t size,
    size_t *ret_size, struct sl_http1_refusal *ret_refusal)
{
    for (; scan->place < size; scan->place++) {
        unsigned char byte = (unsigned char) data[scan->place];
        if (scan->place >= SL_HTTP1_HEAD_SIZE_MAX) {
            return scan_refused(ret_refusal, 431, "the head is longer than 16 KiB");
        }
        if (scan->line_count == 0 && scan->place >= SL_HTTP1_LINE_SIZE_MAX) {
            return scan_refused(ret_refusal, 414, "the first line is longer than 8 KiB");
        }
        if (scan->place > 0 && data[scan->place - 1] == '\r' && byte != '\n') {
            return scan_refused(ret_refusal, 400, "a bare CR stands in the head");
        }
        if (byte == '\n') {
            enum sl_http1_result result = scan_line_end(scan, data, ret_refusal);
            if (result == SL_HTTP1_COMPLETE) {
                *ret_size = ++scan->place;
            }
            if (result != SL_HTTP1_INCOMPLETE) {
                return result;
            }
        } else if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f) {
            return scan_refused(ret_refusal, 400, "a control character stands in the head");
        }
    }
    return SL_HTTP1_INCOMPLETE;
}

bool sl_http1_cut_line(struct sl_text *rest, struct sl_text *ret_line)
{
    const char *end = rest->size == 0 ? NULL : memchr(rest->data, '\n', rest->size);
    if (end == NULL || end == rest->data || end[-1] != '\r') {
        return false;
    }
    size_t size = (size_t) (end - rest->data) + 1;
    *ret_line = (struct sl_text) {rest->data, size - 2};
    *rest = (struct sl_text) {rest->data + size, rest->size - size};
    return true;
}

static int parse_field_line(
    struct sl_text line, struct sl_http1_header *ret_header, struct sl_http1_refusal *ret_refusal)
{
    if (is_blank(line.data[0])) {
        return sl_http1_refuse(ret_refusal, 400, "a field's line is folded (obs-fold)");
    }
    const char *colon = memchr(line.data, ':', line.size);
    if (colon == NULL) {
        return sl_http1_refuse(ret_refusal, 400, "a line of the head has no colon");
    }
    struct sl_text name = {line.data, (size_t) (colon - line.data)};
    if (name.size > 0 && is_blank(name.data[name.size - 1])) {
        return sl_http1_refuse(ret_refusal, 400, "a blank stands before a field's colon");
    }
    if (!sl_http1_is_token(name)) {
        return sl_http1_refuse(ret_refusal, 400, "a field's name is not a token");
    }
    struct sl_text value =
        sl_text_trim((struct sl_text) {colon + 1, line.size - name.size - 1});
    if (!sl_http1_is_value(value)) {
        return sl_http1_refuse(ret_refusal, 400, "a field's value holds a control character");
    }
    *ret_header = (struct sl_http1_header) {name, value};
    return 0;
}

static int note_length(struct sl_http1_fields *fields, struct sl_text value,
    struct sl_http1_refusal *ret_refusal)
{
    if (fields->length_count++ > 0) {
        return sl_http1_refuse(ret_refusal, 400, "there is more than one Content-Length");
    }
    /* 18 digits are below 2^63, so that sums with other sizes cannot overflow. */
    if (value.size == 0 || value.size > 18 || value.data[0] < '0' || value.data[0] > '9' ||
        !sl_parse_u64(value, &fields->content_length)) {
        return sl_http1_refuse(ret_refusal, 400, "Content-Length is not a plain decimal number");
    }
    return 0;
}

static int note_field(struct sl_http1_fields *fields, const struct sl_http1_header *header,
    struct sl_http1_refusal *ret_refusal)
{
    struct sl_text name = header->name;
    if (sl_text_equal_nocase(name, SL_TEXT("content-length"))) {
        return note_length(fields, header->value, ret_refusal);
    }
    if (sl_text_equal_nocase(name, SL_TEXT("transfer-encoding"))) {
        if (fields->coding_count++ > 0) {
            return sl_http1_refuse(ret_refusal, 400, "there is more than one Transfer-Encoding");
        }
        fields->coding = header->value;
    } else if (sl_text_equal_nocase(name, SL_TEXT("host"))) {
        fields->host_count++;
        fields->host = header->value;
    } else if (sl_text_equal_nocase(name, SL_TEXT("connection"))) {
        fields->says_close =
            fields->says_close || sl_http1_has_token(header->value, SL_TEXT("close"));
    } else if (sl_text_equal_nocase(name, SL_TEXT("upgrade"))) {
        fields->has_upgrade = true;
    } else if (sl_text_equal_nocase(name, SL_TEXT("expect"))) {
        if (fields->has_expect) {
            return sl_http1_refuse(ret_refusal, 400, "there is more than one Expect");
        }
        fields->has_expect = true;
        fields->expect = header->value;
    }
    return 0;
}

int sl_http1_parse_fields(struct sl_text rest, struct sl_http1_header *headers,
    size_t *ret_count, struct sl_http1_fields *ret_fields, struct sl_http1_refusal *ret_refusal)
{
    struct sl_text line;
    size_t count = 0;
    *ret_fields = (struct sl_http1_fields) {0};
    for (;;) {
        if (!sl_http1_cut_line(&rest, &line)) {
            return sl_http1_refuse(ret_refusal, 400, "the head does not end with an empty line");
        }
        if (line.size == 0) {
            break;
        }
        if (count == SL_HTTP1_HEADERS_MAX) {
            return sl_http1_refuse(ret_refusal, 431, "the head has more than 100 fields");
        }
        if (parse_field_line(line, &headers[count], ret_refusal) != 0 ||
            note_field(ret_fields, &headers[count], ret_refusal) != 0) {
            return -1;
        }
        count++;
    }
    if (rest.size > 0) {
        return sl_http1_refuse(ret_refusal, 400, "bytes follow the head's empty line");
    }
    if (ret_fields->coding_count > 0 && ret_fields->length_count > 0) {
        return sl_http1_refuse(
            ret_refusal, 400, "both Content-Length and Transfer-Encoding are there");
    }
    *ret_count = count;
    return 0;
}

struct sl_text sl_http1_find(const struct sl_http1_header *headers, size_t count,
    struct sl_text name)
{
    for (size_t i = 0; i < count; i++) {
        if (sl_text_equal_nocase(headers[i].name, name)) {
            return headers[i].value.data == NULL ? SL_TEXT("") : headers[i].value;
        }
    }
    return (struct sl_text) {NULL, 0};
}

bool sl_http1_has_token(struct sl_text list, struct sl_text token)
{
    struct sl_text member;
    while (sl_text_split(&list, ',', &member)) {
        if (sl_text_equal_nocase(sl_text_trim(member), token)) {
            return true;
        }
    }
    return false;
}
