#include "wallet.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sluice/transaction.h>

#include "answers.h"
#include "caller.h"
#include "sql.h"

enum { IDEMPOTENCY_KEY_SIZE_MAX = 255 };

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS user_point ("
    " user_id BIGINT NOT NULL PRIMARY KEY, point BIGINT NOT NULL CHECK (point >= 0),"
    " version BIGINT NOT NULL)",
    /* A refund has the payment and the event that asks for it, a charge the key of the request. */
    "CREATE TABLE IF NOT EXISTS charge_log ("
    " charge_log_id {id}, payment_log_id BIGINT UNIQUE, event_id VARCHAR(36) UNIQUE,"
    " user_id BIGINT NOT NULL, idempotency_key VARCHAR(255), point_before BIGINT NOT NULL,"
    " point_after BIGINT NOT NULL, reason VARCHAR(12) NOT NULL, UNIQUE (user_id, idempotency_key))",
    NULL};

int wallet_make_tables(sluice_database *database, struct sluice_error *error)
{
    return sql_make_tables(database, tables, error);
}

/* Read a wallet: 1, 0 if there is none, -1 with `error`. */
static int read_points(
    sluice_database *database, int64_t user_id, int64_t *ret_points, struct sluice_error *error)
{
    struct rows *row = sql_query(
        database, error, "SELECT point FROM user_point WHERE user_id = ?1 {lock}", "i", user_id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row);
    *ret_points = found ? sql_integer(row, 0) : 0;
    sql_end(row);
    return found;
}

/* Make a wallet: 1, 0 if it is there, -1 with `error`. */
static int make_wallet(
    sluice_database *database, int64_t user_id, int64_t points, struct sluice_error *error)
{
    return sql_insert_once(database, error,
        "INSERT INTO user_point (user_id, point, version) VALUES (?1, ?2, 0)", "ii", user_id,
        points);
}

int wallet_lock(sluice_database *database, const struct wallet_rules *rules, int64_t user_id,
    int64_t *ret_points, struct sluice_error *error)
{
    /*
     * Nearly always it is there. An insert that meets it would share it on MariaDB, and two that
     * share it and then want it for themselves are a deadlock.
     */
    int found = read_points(database, user_id, ret_points, error);
    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    return make_wallet(database, user_id, rules->starting_points, error) >= 0 &&
            read_points(database, user_id, ret_points, error) == 1
        ? 0
        : -1;
}

int wallet_write(
    sluice_database *database, int64_t user_id, int64_t points, struct sluice_error *error)
{
    return sql_run(database, error,
               "UPDATE user_point SET point = ?1, version = version + 1 WHERE user_id = ?2", "ii",
               points, user_id) == 1
        ? 0
        : -1;
}

int wallet_refund(sluice_database *database, const struct wallet_rules *rules,
    const struct refund *refund, struct sluice_error *error)
{
    int64_t points = 0;
    if (wallet_lock(database, rules, refund->user_id, &points, error) != 0) {
        return -1;
    }
    int inserted = sql_insert_once(database, error,
        "INSERT INTO charge_log (payment_log_id, event_id, user_id, point_before, point_after,"
        " reason) VALUES (?1, ?2, ?3, ?4, ?5, 'REFUND')",
        "itiii", refund->payment_log_id, refund->event_id, refund->user_id, points,
        points + refund->amount);
    /* No line was added: these points were given back before, for whatever event. */
    return inserted != 1 ? inserted
                         : wallet_write(database, refund->user_id, points + refund->amount, error);
}

enum sluice_outcome wallet_on_member_registered(sluice_database *database,
    const struct sluice_event *event, void *context, struct sluice_error *error)
{
    (void) context;
    json_t *news = event_object(event, error);
    int64_t user_id = json_integer_value(json_object_get(news, "user_id"));
    json_decref(news);
    if (user_id <= 0) {
        snprintf(error->text, sizeof(error->text), "user_id must be a whole number from 1");
        return SLUICE_REJECTED;
    }
    /* An insert that meets a wallet does nothing, so it cannot spoil the marker beside it. */
    int made = make_wallet(database, user_id, 0, error);
    return made < 0 ? outcome_of(error) : made == 0 ? SLUICE_ALREADY_APPLIED : SLUICE_APPLIED;
}

/* --- requests -------------------------------------------------------------------------------- */

static enum MHD_Result get_points(
    sluice_database *database, const struct wallet_rules *rules, const struct request *request)
{
    int64_t user_id =
        rules->has_members ? caller_of(request) : parse_id(request_parameter(request, "user_id"));
    if (user_id < 0) {
        return rules->has_members ? answer_nobody(request)
                                  : answer_message(request, MHD_HTTP_BAD_REQUEST,
                                        "user_id must be a whole number from 1");
    }
    struct sluice_error error;
    int64_t points = 0;
    int found = read_points(database, user_id, &points, &error);
    if (found < 0) {
        return answer_failure(request, &error);
    }
    if (!found && rules->has_members) {
        return answer_message(
            request, MHD_HTTP_BAD_REQUEST, "user %" PRId64 " has no wallet yet", user_id);
    }
    return answer_json(request, MHD_HTTP_OK,
        json_pack("{s:I}", "point", (json_int_t) (found ? points : rules->starting_points)));
}

struct charge {
    const struct wallet_rules *rules;
    const char *key;
    int64_t user_id;
    int64_t amount;
    int64_t points_after; /* -1: the key was used for another amount */
};

/* The work of one transaction: the line and the points; or what the same request did before. */
static int charge_wallet(sluice_database *database, void *context, struct sluice_error *error)
{
    struct charge *charge = context;
    int64_t points = 0;
    if (wallet_lock(database, charge->rules, charge->user_id, &points, error) != 0) {
        return -1;
    }
    charge->points_after = points + charge->amount;
    int inserted = sql_insert_once(database, error,
        "INSERT INTO charge_log (user_id, idempotency_key, point_before, point_after, reason)"
        " VALUES (?1, ?2, ?3, ?4, 'CHARGE')",
        "itii", charge->user_id, charge->key, points, charge->points_after);
    if (inserted != 0) {
        return inserted < 0 ? -1
                            : wallet_write(database, charge->user_id, charge->points_after, error);
    }
    struct rows *row = sql_query(database, error,
        "SELECT point_before, point_after FROM charge_log"
        " WHERE user_id = ?1 AND idempotency_key = ?2",
        "it", charge->user_id, charge->key);
    int found = sql_next(row);
    if (found) {
        int is_same = sql_integer(row, 1) - sql_integer(row, 0) == charge->amount;
        charge->points_after = is_same ? sql_integer(row, 1) : -1;
    }
    sql_end(row);
    return found ? 0 : -1;
}

static enum MHD_Result post_charge(
    sluice_database *database, const struct wallet_rules *rules, const struct request *request)
{
    static const char *const names[] = {"amount", NULL};
    struct charge charge = {.rules = rules,
        .key = request_header(request, "Idempotency-Key"),
        .user_id = caller_of(request)};
    if (charge.user_id < 0) {
        return answer_nobody(request);
    }
    if (charge.key == NULL || charge.key[0] == '\0' ||
        strlen(charge.key) > IDEMPOTENCY_KEY_SIZE_MAX || !is_utf8(charge.key)) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST,
            "a charge needs an Idempotency-Key of 1 to %d characters, so that it is made once",
            IDEMPOTENCY_KEY_SIZE_MAX);
    }
    char problem[PROBLEM_SIZE];
    json_t *body = request_object(request, problem);
    int result = body == NULL || check_known(body, names, problem) != 0
        ? -1
        : take_number(body, "amount", 1, CHARGE_MAX, &charge.amount, problem);
    json_decref(body);
    if (result != 0) {
        return answer_message(request, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    struct sluice_error error;
    if (sluice_transaction(database, SLUICE_REQUIRED, charge_wallet, &charge, &error) != 0) {
        return answer_failure(request, &error);
    }
    return charge.points_after < 0
        ? answer_message(request, MHD_HTTP_UNPROCESSABLE_CONTENT,
              "this Idempotency-Key was used for another charge: take a new one")
        : answer_json(
              request, MHD_HTTP_OK, json_pack("{s:I}", "point", (json_int_t) charge.points_after));
}

enum MHD_Result wallet_answer(
    sluice_database *database, const struct wallet_rules *rules, const struct request *request)
{
    if (request_is(request, "GET", "/wallet/point", NULL)) {
        return get_points(database, rules, request);
    }
    if (rules->has_members && request_is(request, "POST", "/wallet/charge", NULL)) {
        return post_charge(database, rules, request);
    }
    static const char *const routes[] = {"GET /wallet/point", "POST /wallet/charge", NULL};
    static const char *const routes_of_strangers[] = {"GET /wallet/point", NULL};
    return answer_unknown(request, rules->has_members ? routes : routes_of_strangers);
}
