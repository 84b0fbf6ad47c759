#include "web.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* --- answers --------------------------------------------------------------------------------- */

enum MHD_Result answer_success(const struct request *request, unsigned int status, const char *code,
    const char *message, json_t *take_data)
{
    return answer_json(request, status,
        json_pack("{s:b, s:s, s:s, s:o*}", "success", 1, "code", code, "message", message, "data",
            take_data));
}

static enum MHD_Result answer_refusal_with(const struct request *request,
    const struct refusal *refusal, const struct answer_header *headers)
{
    return answer_json_with(request, refusal->status, headers,
        json_pack(
            "{s:b, s:s, s:s}", "success", 0, "code", refusal->code, "message", refusal->message));
}

enum MHD_Result answer_refusal(const struct request *request, const struct refusal *refusal)
{
    return answer_refusal_with(request, refusal, NULL);
}

enum MHD_Result answer_invalid(const struct request *request, const char *problem)
{
    struct refusal refusal;
    refuse(&refusal, MHD_HTTP_BAD_REQUEST, "INVALID_INPUT", "%s", problem);
    return answer_refusal(request, &refusal);
}

enum MHD_Result answer_trouble(const struct request *request, const struct sluice_error *error)
{
    struct refusal refusal;
    int is_lock = error->code == SLUICE_BUSY || error->code == SLUICE_CONFLICT;
    int is_outage = error->reaction == SLUICE_RETRY;
    fprintf(stderr, "%s %s: %s\n", request->method, request->path, error->text);
    refuse(&refusal,
        is_lock         ? MHD_HTTP_CONFLICT
            : is_outage ? MHD_HTTP_SERVICE_UNAVAILABLE
                        : MHD_HTTP_INTERNAL_SERVER_ERROR,
        is_lock         ? "LOCK_CONFLICT"
            : is_outage ? "SERVICE_UNAVAILABLE"
                        : "INTERNAL_SERVER_ERROR",
        "%.200s", error->text);
    return answer_refusal(request, &refusal);
}

int refuse(struct refusal *refusal, unsigned int status, const char *code, const char *format, ...)
{
    va_list arguments;
    refusal->status = status;
    refusal->code = code;
    va_start(arguments, format);
    vsnprintf(refusal->message, sizeof(refusal->message), format, arguments);
    va_end(arguments);
    return 0;
}

/* --- routes ---------------------------------------------------------------------------------- */

/* 1: the path is of the pattern; 0: it is not; -1: it would be if its {id} were a UUID. */
static int matches(const char *path, const char *pattern, char ret_id[ID_SIZE])
{
    int is_good = 1;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            size_t size = strcspn(path, "/");
            if (size == 0) {
                return 0;
            }
            snprintf(ret_id, ID_SIZE, "%.*s", (int) (size < ID_SIZE ? size : 0), path);
            is_good = is_uuid(ret_id);
            path += size;
            pattern = strchr(pattern, '}') + 1;
        } else if (*pattern++ != *path++) {
            return 0;
        }
    }
    return *path != '\0' ? 0 : is_good ? 1 : -1;
}

static int is_method(const char *method, const char *of_route)
{
    return strcmp(method, of_route) == 0 ||
        (strcmp(method, "HEAD") == 0 && strcmp(of_route, "GET") == 0);
}

enum MHD_Result route_request(const struct route *routes, sluice_database *database, void *context,
    const struct request *request)
{
    static const struct answer_header challenge[] = {
        {MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer"}, {NULL, NULL}};
    struct call call = {.request = request, .database = database, .context = context};
    char allowed[ALLOW_SIZE] = "";
    struct refusal refusal;
    refuse(&refusal, MHD_HTTP_NOT_FOUND, "NOT_FOUND", "there is nothing at %.150s", request->path);
    for (; routes->method != NULL; routes++) {
        int found = matches(request->path, routes->pattern, call.id);
        if (found == 0) {
            continue;
        }
        if (!is_method(request->method, routes->method)) {
            allow_method(allowed, routes->method);
            refuse(&refusal, MHD_HTTP_METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED",
                "%.100s takes %s, not %.20s", request->path, allowed, request->method);
            continue;
        }
        const char *user_id = request_header(request, "Sluice-Subject");
        snprintf(call.user_id, sizeof(call.user_id), "%s",
            user_id != NULL && is_uuid(user_id) ? user_id : "");
        if (!routes->is_public && call.user_id[0] == '\0') {
            refuse(&refusal, MHD_HTTP_UNAUTHORIZED, "UNAUTHORIZED",
                "sign in, and send the token as `Authorization: Bearer TOKEN`");
            return answer_refusal_with(request, &refusal, challenge);
        }
        return found > 0 ? routes->handler(&call)
                         : answer_invalid(request, "the id in the path is no UUID");
    }
    return answer_refusal_with(request, &refusal,
        (const struct answer_header[]) {
            {allowed[0] != '\0' ? MHD_HTTP_HEADER_ALLOW : NULL, allowed}, {NULL, NULL}});
}

/* --- input ----------------------------------------------------------------------------------- */

int take_characters(const json_t *object, const char *name, size_t min, size_t max, char *target,
    size_t target_size, char problem[PROBLEM_SIZE])
{
    const json_t *value = json_object_get(object, name);
    int is_left_out = (value == NULL || json_is_null(value)) && min == 0;
    const char *text = is_left_out ? "" : json_string_value(value);
    size_t count = 0;
    int is_good = text != NULL && strlen(text) < target_size;
    int is_blank = 1;
    for (const char *at = text; is_good && *at != '\0'; at++) {
        unsigned char byte = (unsigned char) *at;
        count += (byte & 0xc0) != 0x80; /* a UTF-8 character's first byte */
        is_blank = is_blank && isspace(byte);
        is_good = !iscntrl(byte) || strchr("\n\r\t", byte) != NULL;
    }
    if (!is_good || count < min || count > max || (min > 0 && is_blank)) {
        snprintf(problem, PROBLEM_SIZE, "%s must be a text of %zu to %zu characters, and not blank",
            name, min, max);
        return -1;
    }
    snprintf(target, target_size, "%s", text);
    return 0;
}

static int64_t parameter_number(
    const struct request *request, const char *name, int64_t missing, int64_t largest)
{
    const char *text = request_parameter(request, name);
    int64_t number = text == NULL ? missing : strcmp(text, "0") == 0 ? 0 : parse_id(text);
    return number <= largest ? number : -1;
}

int page_read(const struct request *request, int64_t default_size, struct page *ret_page,
    char problem[PROBLEM_SIZE])
{
    ret_page->number = parameter_number(request, "page", 0, 1000000);
    ret_page->size = parameter_number(request, "size", default_size, PAGE_SIZE_MAX);
    if (ret_page->number < 0 || ret_page->size < 1) {
        snprintf(problem, PROBLEM_SIZE,
            "page must be a whole number from 0 to 1000000, and size one from 1 to %d",
            PAGE_SIZE_MAX);
        return -1;
    }
    return 0;
}

json_t *page_object(const struct page *page, int64_t total, json_t *take_content)
{
    int64_t page_count = (total + page->size - 1) / page->size;
    size_t count = json_array_size(take_content);
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b}", "content", take_content,
        "number", (json_int_t) page->number, "size", (json_int_t) page->size, "totalElements",
        (json_int_t) total, "totalPages", (json_int_t) page_count, "numberOfElements",
        (json_int_t) count, "first", page->number == 0, "last", page->number + 1 >= page_count,
        "empty", count == 0);
}

int64_t sql_one(struct rows *rows)
{
    int64_t number = sql_next(rows) ? sql_integer(rows, 0) : -1;
    sql_end(rows);
    return number;
}

int is_uuid(const char *text)
{
    for (int i = 0; i < ID_SIZE - 1; i++) {
        int is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? text[i] != '-'
                    : !(isdigit((unsigned char) text[i]) || (text[i] >= 'a' && text[i] <= 'f'))) {
            return 0;
        }
    }
    return text[ID_SIZE - 1] == '\0';
}

void make_uuid(char ret_id[ID_SIZE])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes)) {
        abort(); /* the kernel gives so few bytes whole, or nothing works */
    }
    bytes[6] = (unsigned char) ((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (unsigned char) ((bytes[8] & 0x3f) | 0x80);
    size_t size = 0;
    for (int i = 0; i < 16; i++) {
        int is_dash = i == 4 || i == 6 || i == 8 || i == 10;
        size += (size_t) snprintf(
            ret_id + size, ID_SIZE - size, "%s%02x", is_dash ? "-" : "", bytes[i]);
    }
}

/* --- what could not be brought on ------------------------------------------------------------ */

enum MHD_Result answer_failed(
    const struct call *call, const char *topic, const char *code, const char *key_name)
{
    static const char columns[] =
        "SELECT event_id, message_key, stage, state, attempts, reason, payload FROM ";
    static const char order[] = " WHERE topic = ?1 ORDER BY number LIMIT 100";
    char sql[256];
    struct sluice_error error;
    snprintf(sql, sizeof(sql), "%s%s%s", columns,
        strcmp(sluice_database_kind(call->database), "postgresql") == 0 ? "sluice.dead_letter"
                                                                        : "sluice_dead_letter",
        order);
    struct rows *rows = sql_query(call->database, &error, sql, "t", topic);
    if (rows == NULL) {
        return answer_trouble(call->request, &error);
    }
    json_t *list = json_array();
    while (sql_next(rows)) {
        json_t *payload = json_loads(sql_text(rows, 6), 0, NULL);
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:o*}", "id", sql_text(rows, 0), key_name,
                sql_text(rows, 1), "stage", sql_text(rows, 2), "state", sql_text(rows, 3),
                "attempts", (json_int_t) sql_integer(rows, 4), "failureReason", sql_text(rows, 5),
                "payload", payload));
    }
    sql_end(rows);
    return answer_success(call->request, MHD_HTTP_OK, code, "events that do not flow", list);
}
