/* Heads, written. What could be taken for a line end is refused, never stripped. */
#include "wire/http1_internal.h"

const char *sl_http1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
        {206, "Partial Content"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"},
        {304, "Not Modified"}, {307, "Temporary Redirect"}, {308, "Permanent Redirect"},
        {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
        {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {408, "Request Timeout"},
        {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"}, {412, "Precondition Failed"},
        {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
        {417, "Expectation Failed"}, {422, "Unprocessable Content"}, {426, "Upgrade Required"},
        {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"},
        {503, "Service Unavailable"}, {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

int sl_http1_write_request_line(struct sl_buffer *buffer, struct sl_text method,
    struct sl_text target)
{
    if (!sl_http1_is_token(method) || !sl_http1_is_target(target) ||
        sl_buffer_reserve(buffer, method.size + target.size + 12) != 0) {
        return -1;
    }
    sl_buffer_append(buffer, method.data, method.size);
    sl_buffer_append(buffer, " ", 1);
    sl_buffer_append(buffer, target.data, target.size);
    return sl_buffer_append(buffer, " HTTP/1.1\r\n", 11);
}

int sl_http1_write_status_line(struct sl_buffer *buffer, int status)
{
    if (status < 100 || status > 599) {
        return -1;
    }
    return sl_buffer_append_format(buffer, "HTTP/1.1 %d %s\r\n", status, sl_http1_reason(status));
}

int sl_http1_write_header(struct sl_buffer *buffer, struct sl_text name, struct sl_text value)
{
    if (!sl_http1_is_token(name) || !sl_http1_is_value(value) ||
        sl_buffer_reserve(buffer, name.size + value.size + 4) != 0) {
        return -1;
    }
    sl_buffer_append(buffer, name.data, name.size);
    sl_buffer_append(buffer, ": ", 2);
    sl_buffer_append(buffer, value.data, value.size);
    return sl_buffer_append(buffer, "\r\n", 2);
}

int sl_http1_write_head_end(struct sl_buffer *buffer)
{
    return sl_buffer_append(buffer, "\r\n", 2);
}
