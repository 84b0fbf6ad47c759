/* Request and response heads: the first line, and what the fields mean for the body. */
#include "wire/http1_internal.h"

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* "HTTP/1.1" or "HTTP/1.0"; other well-formed versions are 505, the rest is 400. */
static int parse_version(
    struct sl_text text, int *ret_minor_version, struct sl_http1_refusal *ret_refusal)
{
    if (text.size != 8 || memcmp(text.data, "HTTP/", 5) != 0 || !is_digit(text.data[5]) ||
        text.data[6] != '.' || !is_digit(text.data[7])) {
        return sl_http1_refuse(ret_refusal, 400, "the first line does not name an HTTP version");
    }
    if (text.data[5] != '1' || text.data[7] > '1') {
        return sl_http1_refuse(
            ret_refusal, 505, "only HTTP/1.1 and HTTP/1.0 are understood here");
    }
    *ret_minor_version = text.data[7] - '0';
    return 0;
}

static bool is_hex(char byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

bool sl_http1_is_target(struct sl_text target)
{
    if (sl_text_equal(target, SL_TEXT("*"))) {
        return true;
    }
    if (target.size == 0 || target.data[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < target.size; i++) {
        unsigned char byte = (unsigned char) target.data[i];
        if (byte <= 0x20 || byte >= 0x7f || memchr("#\"<>\\", byte, 5) != NULL) {
            return false;
        }
        if (byte == '%' && (target.size - i < 3 || !is_hex(target.data[i + 1]) ||
                               !is_hex(target.data[i + 2]))) {
            return false;
        }
    }
    return true;
}

/* host[:port], with the characters that a name, an address or a bracketed IPv6 address has. */
static bool is_authority(struct sl_text text)
{
    size_t place = 0;
    if (text.size > 0 && text.data[0] == '[') {
        place++;
        while (place < text.size && (is_hex(text.data[place]) || text.data[place] == ':' ||
                                        text.data[place] == '.')) {
            place++;
        }
        if (place < 4 || place == text.size || text.data[place++] != ']') {
            return false;
        }
    } else {
        while (place < text.size && text.data[place] != ':') {
            char byte = text.data[place++];
            bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
            if (!is_letter && !is_digit(byte) && memchr("-._~", byte, 4) == NULL) {
                return false;
            }
        }
        if (place == 0) {
            return false;
        }
    }
    if (place == text.size) {
        return true;
    }
    if (text.data[place++] != ':' || place == text.size || text.size - place > 5) {
        return false;
    }
    while (place < text.size && is_digit(text.data[place])) {
        place++;
    }
    return place == text.size;
}

/* Take "http://authority" off an absolute-form target; it must be the Host field's. */
static int normalise_target(
    struct sl_http1_request *request, struct sl_http1_refusal *ret_refusal)
{
    struct sl_text scheme = SL_TEXT("http://");
    struct sl_text target = request->target;
    if (target.size > scheme.size &&
        sl_text_equal_nocase((struct sl_text) {target.data, scheme.size}, scheme)) {
        struct sl_text rest = {target.data + scheme.size, target.size - scheme.size};
        const char *slash = memchr(rest.data, '/', rest.size);
        struct sl_text authority = {
            rest.data, slash == NULL ? rest.size : (size_t) (slash - rest.data)};
        if (slash == NULL || !sl_text_equal_nocase(authority, request->host)) {
            return sl_http1_refuse(
                ret_refusal, 400, "the request's target names another host than its Host field");
        }
        request->target = (struct sl_text) {slash, rest.size - authority.size};
    }
    if (!sl_http1_is_target(request->target)) {
        return sl_http1_refuse(
            ret_refusal, 400, "the request's target is not a path in plain ASCII");
    }
    if (request->target.data[0] == '*' &&
        !sl_text_equal(request->method, SL_TEXT("OPTIONS"))) {
        return sl_http1_refuse(ret_refusal, 400, "only OPTIONS may ask for *");
    }
    struct sl_text rest = request->target;
    sl_text_split(&rest, '?', &request->path);
    request->query = rest;
    return 0;
}

static int parse_request_line(struct sl_text line, struct sl_http1_request *request,
    struct sl_http1_refusal *ret_refusal)
{
    struct sl_text rest = line;
    struct sl_text parts[3];
    for (size_t i = 0; i < 3; i++) {
        if (!sl_text_split(&rest, ' ', &parts[i])) {
            return sl_http1_refuse(
                ret_refusal, 400, "the request line is not method, target and version");
        }
    }
    if (rest.data != NULL) {
        return sl_http1_refuse(ret_refusal, 400, "the request line has too many spaces");
    }
    if (!sl_http1_is_token(parts[0])) {
        return sl_http1_refuse(ret_refusal, 400, "the method is not a token");
    }
    if (parse_version(parts[2], &request->minor_version, ret_refusal) != 0) {
        return -1;
    }
    if (parts[0].size > 32 || sl_text_equal(parts[0], SL_TEXT("CONNECT"))) {
        return sl_http1_refuse(ret_refusal, 501, "this method is not served here");
    }
    request->method = parts[0];
    request->target = parts[1];
    return 0;
}

static int check_host(const struct sl_http1_fields *fields, struct sl_http1_request *request,
    struct sl_http1_refusal *ret_refusal)
{
    if (fields->host_count > 1) {
        return sl_http1_refuse(ret_refusal, 400, "there is more than one Host");
    }
    if (fields->host_count == 0 && request->minor_version == 1) {
        return sl_http1_refuse(ret_refusal, 400, "the Host field is missing");
    }
    if (fields->host_count == 1 && !is_authority(fields->host)) {
        return sl_http1_refuse(ret_refusal, 400, "the Host field is not a host and port");
    }
    request->host = fields->host;
    return 0;
}

static int choose_request_framing(const struct sl_http1_fields *fields,
    struct sl_http1_request *request, struct sl_http1_refusal *ret_refusal)
{
    request->framing = SL_HTTP1_NO_BODY;
    if (fields->coding_count > 0) {
        if (request->minor_version == 0) {
            return sl_http1_refuse(ret_refusal, 400, "HTTP/1.0 has no Transfer-Encoding");
        }
        if (!sl_text_equal(fields->coding, SL_TEXT("chunked"))) {
            return sl_http1_refuse(
                ret_refusal, 501, "the only Transfer-Encoding served here is chunked");
        }
        request->framing = SL_HTTP1_CHUNKED;
    } else if (fields->length_count > 0 && fields->content_length > 0) {
        request->framing = SL_HTTP1_LENGTH;
        request->content_length = fields->content_length;
    }
    if (fields->has_expect) {
        if (!sl_text_equal_nocase(fields->expect, SL_TEXT("100-continue"))) {
            return sl_http1_refuse(ret_refusal, 417, "the only Expect served is 100-continue");
        }
        request->expects_continue =
            request->minor_version == 1 && request->framing != SL_HTTP1_NO_BODY;
    }
    return 0;
}

int sl_http1_parse_request(const char *data, size_t size, struct sl_http1_request *ret_request,
    struct sl_http1_refusal *ret_refusal)
{
    struct sl_text rest = {data, size};
    struct sl_text line;
    struct sl_http1_fields fields;
    struct sl_http1_request *request = ret_request;
    request->expects_continue = false;
    request->content_length = 0;
    if (!sl_http1_cut_line(&rest, &line)) {
        return sl_http1_refuse(ret_refusal, 400, "there is no request line");
    }
    if (parse_request_line(line, request, ret_refusal) != 0 ||
        sl_http1_parse_fields(
            rest, request->headers, &request->header_count, &fields, ret_refusal) != 0 ||
        check_host(&fields, request, ret_refusal) != 0 ||
        normalise_target(request, ret_refusal) != 0 ||
        choose_request_framing(&fields, request, ret_refusal) != 0) {
        return -1;
    }
    request->wants_upgrade = fields.has_upgrade;
    request->is_keep_alive = request->minor_version == 1 && !fields.says_close;
    return 0;
}

/* "HTTP/1.1 200 OK"; the reason may be empty, but the space before it stands there. */
static int parse_status_line(struct sl_text line, struct sl_http1_response *response,
    struct sl_http1_refusal *ret_refusal)
{
    if (line.size < 13 || line.data[8] != ' ' || line.data[12] != ' ' || line.data[9] < '1' ||
        line.data[9] > '5' || !is_digit(line.data[10]) || !is_digit(line.data[11]) ||
        parse_version((struct sl_text) {line.data, 8}, &response->minor_version,
            ret_refusal) != 0) {
        return sl_http1_refuse(ret_refusal, 502, "the answer has no HTTP/1 status line");
    }
    response->status = (line.data[9] - '0') * 100 + (line.data[10] - '0') * 10 +
                       (line.data[11] - '0');
    response->reason = (struct sl_text) {line.data + 13, line.size - 13};
    for (size_t i = 0; i < response->reason.size; i++) {
        unsigned char byte = (unsigned char) response->reason.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return sl_http1_refuse(
                ret_refusal, 502, "the answer's status line holds a control character");
        }
    }
    return 0;
}

static int choose_response_framing(const struct sl_http1_fields *fields, bool is_head_request,
    struct sl_http1_response *response, struct sl_http1_refusal *ret_refusal)
{
    if (fields->coding_count > 0 &&
        (response->minor_version == 0 || !sl_text_equal(fields->coding, SL_TEXT("chunked")))) {
        return sl_http1_refuse(ret_refusal, 502, "the answer's Transfer-Encoding is not chunked");
    }
    bool has_none = is_head_request || response->status < 200 || response->status == 204 ||
                    response->status == 304;
    if (has_none) {
        response->framing = SL_HTTP1_NO_BODY;
    } else if (fields->coding_count > 0) {
        response->framing = SL_HTTP1_CHUNKED;
    } else if (fields->length_count > 0) {
        response->framing =
            fields->content_length > 0 ? SL_HTTP1_LENGTH : SL_HTTP1_NO_BODY;
    } else {
        response->framing = SL_HTTP1_UNTIL_CLOSE;
    }
    response->content_length = fields->content_length;
    response->is_keep_alive = response->minor_version == 1 && !fields->says_close &&
                              response->framing != SL_HTTP1_UNTIL_CLOSE;
    return 0;
}

int sl_http1_parse_response(const char *data, size_t size, bool is_head_request,
    struct sl_http1_response *ret_response, struct sl_http1_refusal *ret_refusal)
{
    struct sl_text rest = {data, size};
    struct sl_text line;
    struct sl_http1_fields fields;
    if (!sl_http1_cut_line(&rest, &line)) {
        return sl_http1_refuse(ret_refusal, 502, "the answer has no status line");
    }
    if (parse_status_line(line, ret_response, ret_refusal) != 0) {
        return -1;
    }
    if (sl_http1_parse_fields(rest, ret_response->headers, &ret_response->header_count, &fields,
            ret_refusal) != 0) {
        ret_refusal->status = 502;
        return -1;
    }
    return choose_response_framing(&fields, is_head_request, ret_response, ret_refusal);
}
