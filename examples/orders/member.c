/*
 * member.c - the member service: who somebody is.
 *
 *     POST /auth/register   {"user_ci_number", "username", "user_phone"?, "user_email", "password"}
 *                           201 {"user_id"}; 409 if the number, phone or e-mail is taken
 *     POST /auth/login      {"email", "password"}
 *                           201 {"user_id"} with Authorization: Bearer TOKEN, and the same token as
 *                           a cookie; 404 unknown user, 401 wrong password
 *     POST /auth/logout     200, and the cookie is gone
 *     GET  /auth/config     {"members": true}: what the page asks
 *
 * The row and the event member.registered.v1 are one transaction, so every member gets a wallet,
 * and nobody who is no member.
 *
 * The cookie is for the page: an EventSource cannot send Authorization. A script cannot read it
 * (HttpOnly), no other site's page can have it sent (SameSite), and the gateway refuses changes
 * from foreign pages by it. Behind TLS it would be Secure, too.
 *
 * Passwords are kept as yescrypt has them. One takes tens of milliseconds, on purpose; requests are
 * answered one after another, so more logins than that a second wait.
 */
#include <crypt.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include <sluice/transaction.h>

#include "answers.h"
#include "sql.h"
#include "token.h"

enum {
    CI_NUMBER_SIZE_MAX = 88,
    NAME_SIZE_MAX = 55,
    PHONE_SIZE_MAX = 20,
    EMAIL_SIZE_MAX = 254,
    PASSWORD_SIZE_MIN = 8,
    PASSWORD_SIZE_MAX = 16,
    COOKIE_SIZE = TOKEN_SIZE + 80
};

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS member ("
    " user_id {id}, user_ci_number VARCHAR(88) NOT NULL UNIQUE, username VARCHAR(55) NOT NULL,"
    " user_phone VARCHAR(20) UNIQUE, user_email VARCHAR(254) NOT NULL UNIQUE,"
    " password_hash VARCHAR(384) NOT NULL, registered_at_ms BIGINT NOT NULL)",
    NULL};

struct member_service {
    sluice_database *database;
    struct token_secret secret;
    int64_t lifetime_s;
};

/* Who wants to be a member: the body of POST /auth/register, checked. */
struct applicant {
    char ci_number[CI_NUMBER_SIZE_MAX + 1];
    char name[NAME_SIZE_MAX + 1];
    char phone[PHONE_SIZE_MAX + 1]; /* "": none */
    char email[EMAIL_SIZE_MAX + 1];
    char password[PASSWORD_SIZE_MAX + 1];
    char password_hash[CRYPT_OUTPUT_SIZE];
    int64_t user_id; /* 0: somebody has the number, phone or e-mail */
};

/* --- passwords ------------------------------------------------------------------------------- */

/* Hash a password by `setting`: a salt, or the hash that it is compared with. 0 or -1. */
static int hash_password(
    const char *password, const char *setting, char ret_hash[CRYPT_OUTPUT_SIZE])
{
    struct crypt_data *data = calloc(1, sizeof(*data));
    const char *hash = data != NULL ? crypt_r(password, setting, data) : NULL;
    int result = hash != NULL && hash[0] != '*' ? 0 : -1;
    if (result == 0) {
        snprintf(ret_hash, CRYPT_OUTPUT_SIZE, "%s", hash);
    }
    if (data != NULL) {
        explicit_bzero(data, sizeof(*data));
    }
    free(data);
    return result;
}

static int hash_new_password(const char *password, char ret_hash[CRYPT_OUTPUT_SIZE])
{
    char salt[CRYPT_GENSALT_OUTPUT_SIZE];
    return crypt_gensalt_rn("$y$", 0, NULL, 0, salt, (int) sizeof(salt)) != NULL
        ? hash_password(password, salt, ret_hash)
        : -1;
}

static int is_password(const char *password, const char *hash)
{
    char other[CRYPT_OUTPUT_SIZE];
    size_t size = strlen(hash);
    return hash_password(password, hash, other) == 0 && strlen(other) == size &&
        CRYPTO_memcmp(other, hash, size) == 0;
}

/* --- registering ----------------------------------------------------------------------------- */

/* An e-mail address is one whatever the case of its letters. */
static void to_lower_case(char *text)
{
    for (; *text != '\0'; text++) {
        *text = (char) tolower((unsigned char) *text);
    }
}

static int read_applicant(
    const json_t *body, struct applicant *ret_applicant, char problem[PROBLEM_SIZE])
{
    static const char *const names[] = {
        "user_ci_number", "username", "user_phone", "user_email", "password", NULL};
    struct applicant *to = ret_applicant;
    const json_t *phone = json_object_get(body, "user_phone");
    if (check_known(body, names, problem) != 0 ||
        take_text(body, "user_ci_number", 1, to->ci_number, sizeof(to->ci_number), problem) != 0 ||
        take_text(body, "username", 1, to->name, sizeof(to->name), problem) != 0 ||
        (phone != NULL && !json_is_null(phone) &&
            take_text(body, "user_phone", 1, to->phone, sizeof(to->phone), problem) != 0) ||
        take_text(body, "user_email", 3, to->email, sizeof(to->email), problem) != 0 ||
        take_text(body, "password", PASSWORD_SIZE_MIN, to->password, sizeof(to->password),
            problem) != 0) {
        return -1;
    }
    const char *at = strchr(to->email, '@');
    if (at == NULL || at == to->email || at[1] == '\0' || strchr(at + 1, '@') != NULL) {
        snprintf(problem, PROBLEM_SIZE, "user_email must be like name@example.org");
        return -1;
    }
    to_lower_case(to->email);
    return 0;
}

/* The work of one transaction: the row and its event. */
static int insert_member(sluice_database *database, void *context, struct sluice_error *error)
{
    struct applicant *applicant = context;
    int inserted = sql_insert_once(database, error,
        "INSERT INTO member (user_ci_number, username, user_phone, user_email, password_hash,"
        " registered_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        "ttttti", applicant->ci_number, applicant->name,
        applicant->phone[0] != '\0' ? applicant->phone : NULL, applicant->email,
        applicant->password_hash, now_ms());
    if (inserted != 1) {
        return inserted;
    }
    struct rows *row = sql_query(database, error,
        "SELECT user_id FROM member WHERE user_ci_number = ?1", "t", applicant->ci_number);
    applicant->user_id = sql_next(row) ? sql_integer(row, 0) : 0;
    sql_end(row);
    return applicant->user_id == 0
        ? -1
        : publish_object(database, "member.registered.v1", "MemberRegistered", applicant->user_id,
              json_pack("{s:I}", "user_id", (json_int_t) applicant->user_id), NULL, error);
}

static enum MHD_Result post_register(struct member_service *service, const struct request *request)
{
    struct applicant applicant = {.user_id = 0};
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(request, problem);
    int result = body != NULL ? read_applicant(body, &applicant, problem) : -1;
    json_decref(body);
    if (result != 0) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    /* Before the transaction: nobody should wait behind a hash. */
    result = hash_new_password(applicant.password, applicant.password_hash);
    explicit_bzero(applicant.password, sizeof(applicant.password));
    if (result != 0) {
        return answer_message(
            request, MHD_HTTP_SERVICE_UNAVAILABLE, "the password cannot be hashed now: try again");
    }
    struct sluice_error error;
    if (sluice_transaction(service->database, SLUICE_REQUIRED, insert_member, &applicant, &error) !=
        0) {
        return answer_failure(request, &error);
    }
    return applicant.user_id == 0
        ? answer_message(request, MHD_HTTP_CONFLICT,
              "somebody is registered with this user_ci_number, user_phone or user_email")
        : answer_json(request, MHD_HTTP_CREATED,
              json_pack("{s:I}", "user_id", (json_int_t) applicant.user_id));
}

/* --- logging in ------------------------------------------------------------------------------ */

static enum MHD_Result answer_token(
    struct member_service *service, const struct request *request, int64_t user_id)
{
    char token[TOKEN_SIZE];
    char bearer[TOKEN_SIZE + 8];
    char cookie[COOKIE_SIZE];
    if (token_make(&service->secret, user_id, service->lifetime_s, token) != 0) {
        return answer_message(
            request, MHD_HTTP_SERVICE_UNAVAILABLE, "no token can be made now: try again");
    }
    snprintf(bearer, sizeof(bearer), "Bearer %s", token);
    snprintf(cookie, sizeof(cookie),
        "session=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%" PRId64, token,
        service->lifetime_s);
    struct answer_header headers[] = {
        {"Authorization", bearer}, {"Set-Cookie", cookie}, {NULL, NULL}};
    return answer_json_with(
        request, MHD_HTTP_CREATED, headers, json_pack("{s:I}", "user_id", (json_int_t) user_id));
}

static enum MHD_Result post_login(struct member_service *service, const struct request *request)
{
    static const char *const names[] = {"email", "password", NULL};
    char problem[PROBLEM_SIZE];
    char email[EMAIL_SIZE_MAX + 1];
    char password[PASSWORD_SIZE_MAX + 1];
    char hash[CRYPT_OUTPUT_SIZE] = "";
    json_t *body = request_object(request, problem);
    int result = body == NULL || check_known(body, names, problem) != 0 ||
            take_text(body, "email", 1, email, sizeof(email), problem) != 0 ||
            take_text(body, "password", 1, password, sizeof(password), problem) != 0
        ? -1
        : 0;
    json_decref(body);
    if (result != 0) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    to_lower_case(email);
    struct sluice_error error;
    struct rows *row = sql_query(service->database, &error,
        "SELECT user_id, password_hash FROM member WHERE user_email = ?1", "t", email);
    if (row == NULL) {
        return answer_failure(request, &error);
    }
    int64_t user_id = sql_next(row) ? sql_integer(row, 0) : 0;
    if (user_id != 0) {
        sql_copy(row, 1, hash, sizeof(hash));
    }
    sql_end(row);
    if (user_id == 0) {
        return answer_message(request, MHD_HTTP_NOT_FOUND, "nobody is registered with this email");
    }
    int is_right = is_password(password, hash);
    explicit_bzero(password, sizeof(password));
    return is_right ? answer_token(service, request, user_id)
                    : answer_message(request, MHD_HTTP_UNAUTHORIZED, "the password is wrong");
}

static enum MHD_Result post_logout(const struct request *request)
{
    static const struct answer_header headers[] = {
        {"Set-Cookie", "session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"}, {NULL, NULL}};
    return answer_json_with(request, MHD_HTTP_OK, headers, json_object());
}

/* --- the whole ------------------------------------------------------------------------------- */

static enum MHD_Result on_request(void *context, const struct request *request)
{
    static const char *const routes[] = {"POST /auth/register", "POST /auth/login",
        "POST /auth/logout", "GET /auth/config", NULL};
    struct member_service *service = context;
    if (request_is(request, "POST", "/auth/register", NULL)) {
        return post_register(service, request);
    }
    if (request_is(request, "POST", "/auth/login", NULL)) {
        return post_login(service, request);
    }
    if (request_is(request, "POST", "/auth/logout", NULL)) {
        return post_logout(request);
    }
    if (request_is(request, "GET", "/auth/config", NULL)) {
        return answer_json(request, MHD_HTTP_OK, json_pack("{s:b}", "members", 1));
    }
    return answer_unknown(request, routes);
}

int main(int argc, char **argv)
{
    const char *listen_address = "127.0.0.1:9002";
    const char *database = "sqlite:member.db";
    const char *token_key = "token.jwk";
    int64_t lifetime_s = 3600;
    options_read(argc, argv,
        (struct option_field[]) {
            {.name = "listen", .text = &listen_address, .help = "address to serve on"},
            {.name = "database", .text = &database, .help = "the members"},
            {.name = "token-key", .text = &token_key, .help = "the JWK that signs the tokens"},
            {.name = "token-lifetime-s",
                .number = &lifetime_s,
                .number_max = 86400,
                .help = "how long a token is good"},
            {.name = NULL}});

    struct sluice_error error;
    struct member_service member = {.lifetime_s = lifetime_s};
    struct service *service = NULL;
    if (token_secret_read(token_key, &member.secret, &error) != 0 ||
        sluice_database_open(database, &member.database, &error) != 0 ||
        sql_make_tables(member.database, tables, &error) != 0 ||
        (service = service_start(&(struct service_options) {.listen_address = listen_address,
                                     .handler = on_request,
                                     .context = &member,
                                     .database = database},
             &error)) == NULL) {
        fprintf(stderr, "member: %s\n", error.text);
        return EXIT_FAILURE;
    }
    printf("ready http=http://127.0.0.1:%d\n", service_port(service));
    fflush(stdout);
    while (!service_wait(1000)) {
    }
    service_stop(service);
    sluice_database_close(member.database);
    explicit_bzero(&member.secret, sizeof(member.secret));
    return EXIT_SUCCESS;
}
