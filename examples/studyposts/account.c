#include "account.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "post.h"

enum { SECRET_SIZE = 128, TOKEN_SIZE = 600, TOKEN_SECONDS = 12 * 60 * 60 };

const char *const account_tables[] = {
    "CREATE TABLE IF NOT EXISTS users ("
    " id VARCHAR(36) NOT NULL PRIMARY KEY, nickname VARCHAR(50) NOT NULL UNIQUE,"
    " tech_stack VARCHAR(255) NOT NULL, live_version BIGINT NOT NULL)",
    NULL};

static char secret[SECRET_SIZE];

int account_secret_load(const char *file, struct sluice_error *error)
{
    FILE *stream = fopen(file, "r");
    if (stream == NULL) {
        return fail_with(error, SLUICE_INVALID, SLUICE_FATAL,
            "cannot read the secret of the tokens in %s: %s", file, strerror(errno));
    }
    size_t size = fread(secret, 1, sizeof(secret) - 1, stream);
    fclose(stream);
    secret[size] = '\0';
    secret[strcspn(secret, "\r\n")] = '\0';
    return strlen(secret) >= 32 ? 0
                                : fail_with(error, SLUICE_INVALID, SLUICE_FATAL,
                                      "the secret in %s must be 32 bytes at least", file);
}

/* --- the token ------------------------------------------------------------------------------- */

/* Base64 as URLs have it: - and _, and no = at the end. */
static size_t encode(const unsigned char *bytes, size_t size, char *target)
{
    size_t count = (size_t) EVP_EncodeBlock((unsigned char *) target, bytes, (int) size);
    while (count > 0 && target[count - 1] == '=') {
        target[--count] = '\0';
    }
    for (size_t i = 0; i < count; i++) {
        target[i] = target[i] == '+' ? '-' : target[i] == '/' ? '_' : target[i];
    }
    return count;
}

static int make_token(const char *user_id, char ret_token[TOKEN_SIZE])
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char claims[200];
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned int signature_size = 0;
    int64_t now = now_ms() / 1000; /* the gateway's time, whatever the clock of the posts says */
    int claims_size = snprintf(claims, sizeof(claims),
        "{\"sub\":\"%s\",\"aud\":\"studyposts\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}", user_id,
        now, now + TOKEN_SECONDS);
    size_t size = encode((const unsigned char *) header, sizeof(header) - 1, ret_token);
    ret_token[size++] = '.';
    size += encode((const unsigned char *) claims, (size_t) claims_size, ret_token + size);
    if (HMAC(EVP_sha256(), secret, (int) strlen(secret), (const unsigned char *) ret_token, size,
            signature, &signature_size) == NULL) {
        return -1;
    }
    ret_token[size++] = '.';
    encode(signature, signature_size, ret_token + size);
    return 0;
}

/* --- signing in ------------------------------------------------------------------------------ */

struct account {
    char id[ID_SIZE];
    char nickname[NICKNAME_MAX * 4 + 1];
    char tech_stack[TECH_STACK_MAX * 4 + 1];
};

static int find_or_make(sluice_database *database, void *context, struct sluice_error *error)
{
    struct account *account = context;
    make_uuid(account->id);
    int inserted = sql_insert_once(database, error,
        "INSERT INTO users (id, nickname, tech_stack, live_version) VALUES (?1, ?2, ?3, 1)", "ttt",
        account->id, account->nickname, account->tech_stack);
    if (inserted != 0) {
        return inserted < 0 ? -1 : 0;
    }
    struct rows *rows = sql_query(
        database, error, "SELECT id FROM users WHERE nickname = ?1", "t", account->nickname);
    if (rows == NULL) {
        return -1;
    }
    int found = sql_next(rows);
    sql_copy(rows, 0, account->id, sizeof(account->id));
    sql_end(rows);
    if (!found) { /* and the id that we have made is nobody's */
        return fail_with(error, SLUICE_CONFLICT, SLUICE_RETRY,
            "the account was removed meanwhile: sign in again");
    }
    return account->tech_stack[0] == '\0' ||
            sql_run(database, error, "UPDATE users SET tech_stack = ?1 WHERE id = ?2", "tt",
                account->tech_stack, account->id) >= 0
        ? 0
        : -1;
}

static void add_cookie(struct MHD_Response *response, const char *token, const char *path)
{
    char cookie[TOKEN_SIZE + 200];
    snprintf(cookie, sizeof(cookie), "studyposts=%s; Path=%s; Max-Age=%d; HttpOnly; SameSite=Lax",
        token, path, TOKEN_SECONDS);
    MHD_add_response_header(response, MHD_HTTP_HEADER_SET_COOKIE, cookie);
}

static enum MHD_Result answer_token(const struct request *request, const struct account *account)
{
    char token[TOKEN_SIZE], path[100];
    if (make_token(account->id, token) != 0) {
        struct sluice_error error;
        fail_with(&error, SLUICE_NO_MEMORY, SLUICE_RETRY, "no memory to sign a token");
        return answer_trouble(request, &error);
    }
    json_t *body = json_pack("{s:b, s:s, s:s, s:{s:s, s:s, s:s, s:i}}", "success", 1, "code",
        "LOGIN_SUCCESS", "message", "signed in", "data", "accessToken", token, "userId",
        account->id, "nickname", account->nickname, "expiresIn", TOKEN_SECONDS);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    struct MHD_Response *response = text == NULL
        ? NULL
        : MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        return MHD_NO;
    }
    snprintf(path, sizeof(path), "/api/users/%s/notifications", account->id);
    add_cookie(response, token, path);
    add_cookie(response, token, "/api/notifications/subscribe");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result account_sign_in(const struct call *call)
{
    static const char *const fields[] = {"nickname", "techStack", NULL};
    struct account account;
    struct sluice_error error;
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(call->request, problem);
    int is_good = body != NULL && check_known(body, fields, problem) == 0 &&
        take_characters(body, "nickname", 1, NICKNAME_MAX, account.nickname,
            sizeof(account.nickname), problem) == 0 &&
        take_characters(body, "techStack", 0, TECH_STACK_MAX, account.tech_stack,
            sizeof(account.tech_stack), problem) == 0;
    json_decref(body);
    if (!is_good) {
        return answer_invalid(call->request, problem);
    }
    return sluice_transaction(call->database, SLUICE_REQUIRED, find_or_make, &account, &error) != 0
        ? answer_trouble(call->request, &error)
        : answer_token(call->request, &account);
}
