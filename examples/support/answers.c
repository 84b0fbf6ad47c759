#include "answers.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *request_object(const struct request *request, char problem[PROBLEM_SIZE])
{
    json_error_t cause;
    json_t *body =
        json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &cause);
    if (body == NULL) {
        snprintf(problem, PROBLEM_SIZE, "the body is not JSON: %.150s (line %d, column %d)",
            cause.text, cause.line, cause.column);
    } else if (!json_is_object(body)) {
        snprintf(problem, PROBLEM_SIZE, "the body must be a JSON object");
        json_decref(body);
        body = NULL;
    }
    return body;
}

int check_known(const json_t *object, const char *const *names, char problem[PROBLEM_SIZE])
{
    const char *field;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, field, value) {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], field) != 0) {
            i++;
        }
        if (names[i] == NULL) {
            snprintf(problem, PROBLEM_SIZE, "there is no field '%.60s'", field);
            return -1;
        }
    }
    return 0;
}

static int has_control_character(const char *text)
{
    for (; *text != '\0'; text++) {
        if (iscntrl((unsigned char)*text)) {
            return 1;
        }
    }
    return 0;
}

int take_text(const json_t *object, const char *name, size_t size_min, char *target,
    size_t target_size, char problem[PROBLEM_SIZE])
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    if (text == NULL || size < size_min || size >= target_size || strlen(text) != size ||
        has_control_character(text)) {
        snprintf(problem, PROBLEM_SIZE,
            "%s must be a text of %zu to %zu bytes without control characters", name, size_min,
            target_size - 1);
        return -1;
    }
    memcpy(target, text, size + 1);
    return 0;
}

int take_number(const json_t *object, const char *name, int64_t smallest, int64_t largest,
    int64_t *ret_number, char problem[PROBLEM_SIZE])
{
    const json_t *value = json_object_get(object, name);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < smallest || number > largest) {
        snprintf(problem, PROBLEM_SIZE,
            "%s must be a whole number from %" PRId64 " to %" PRId64, name, smallest, largest);
        return -1;
    }
    *ret_number = number;
    return 0;
}

int request_names(
    const struct request *request, const char *method, const char *prefix, const char **ret_name)
{
    size_t size = strlen(prefix);
    int is_head = strcmp(method, "GET") == 0 && strcmp(request->method, "HEAD") == 0;
    if ((!is_head && strcmp(request->method, method) != 0) ||
        strncmp(request->path, prefix, size) != 0) {
        return 0;
    }
    const char *name = request->path + size;
    if (*name == '\0' || strchr(name, '/') != NULL) {
        return 0;
    }
    *ret_name = name;
    return 1;
}

enum MHD_Result answer_failure(const struct request *request, const struct sluice_error *error)
{
    fprintf(stderr, "%s %s: %s\n", request->method, request->path, error->text);
    return answer_message(request,
        error->reaction == SLUICE_RETRY ? MHD_HTTP_SERVICE_UNAVAILABLE
                                        : MHD_HTTP_INTERNAL_SERVER_ERROR,
        "%s", error->text);
}

/*
 * Whether a path has a pattern's parts, `*` being any one that is not empty. `#` is, too, but tells
 * if it is no number.
 */
static int matches(const char *path, const char *pattern, int *ret_is_number)
{
    *ret_is_number = 1;
    while (*pattern != '\0') {
        if (*pattern == '*' || *pattern == '#') {
            char number[24];
            size_t part = strcspn(path, "/");
            if (part == 0) {
                return 0;
            }
            snprintf(number, sizeof(number), "%.*s", (int)part, path);
            if (*pattern == '#' && (part >= sizeof(number) || parse_id(number) < 0)) {
                *ret_is_number = 0;
            }
            path += part;
            pattern++;
        } else if (*pattern++ != *path++) {
            return 0;
        }
    }
    return *path == '\0';
}

void allow_method(char list[ALLOW_SIZE], const char *method)
{
    size_t size = strlen(list);
    snprintf(list + size, ALLOW_SIZE - size, "%s%s%s", size > 0 ? ", " : "", method,
        strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

enum MHD_Result answer_unknown(const struct request *request, const char *const *routes)
{
    char allowed[ALLOW_SIZE] = "";
    int is_number = 1;
    for (; *routes != NULL; routes++) {
        char method[16];
        size_t size = strcspn(*routes, " ");
        if (matches(request->path, *routes + size + 1, &is_number)) {
            if (!is_number) {
                return answer_message(request, MHD_HTTP_BAD_REQUEST,
                    "an id is a whole number from 1, unlike that of %.200s", request->path);
            }
            snprintf(method, sizeof(method), "%.*s", (int)size, *routes);
            allow_method(allowed, method);
        }
    }
    if (allowed[0] == '\0') {
        return answer_message(
            request, MHD_HTTP_NOT_FOUND, "there is nothing at %.200s", request->path);
    }
    return answer_message_with(request, MHD_HTTP_METHOD_NOT_ALLOWED,
        (const struct answer_header[]){{MHD_HTTP_HEADER_ALLOW, allowed}, {NULL, NULL}},
        "%.200s takes %s, not %.20s", request->path, allowed, request->method);
}
