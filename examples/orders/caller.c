#include "caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t caller_of(const struct request *request)
{
    return parse_id(request_header(request, "X-Authenticated-User-Id"));
}

enum MHD_Result answer_nobody(const struct request *request)
{
    static const struct answer_header headers[] = {{"WWW-Authenticate", "Bearer"}, {NULL, NULL}};
    return answer_json_with(request, MHD_HTTP_UNAUTHORIZED, headers,
        json_pack("{s:s}", "message", "log in first: POST /auth/login"));
}

int members_option(const char *text)
{
    if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0) {
        fprintf(stderr, "--members takes on or off, not '%s'\n", text);
        exit(2);
    }
    return strcmp(text, "on") == 0;
}
