#include "payment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const payment_tables[] = {
    "CREATE TABLE IF NOT EXISTS payment ("
    " id {id}, order_id BIGINT NOT NULL UNIQUE, user_id BIGINT NOT NULL,"
    " price BIGINT NOT NULL CHECK (price > 0), state VARCHAR(10) NOT NULL,"
    " saga_id VARCHAR(36) NOT NULL, reason VARCHAR(255) NOT NULL, version BIGINT NOT NULL,"
    " created_at_ms BIGINT NOT NULL, modified_at_ms BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS point ("
    " user_id BIGINT NOT NULL PRIMARY KEY, point BIGINT NOT NULL CHECK (point >= 0),"
    " version BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS point_entry ("
    " saga_id VARCHAR(36) NOT NULL, kind VARCHAR(6) NOT NULL, user_id BIGINT NOT NULL,"
    " amount BIGINT NOT NULL, PRIMARY KEY (saga_id, kind))",
    NULL};

json_t *payment_object(const struct payment *payment)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:I, s:s?}", "payId", (json_int_t)payment->id,
        "orderId", (json_int_t)payment->order_id, "userId", (json_int_t)payment->user_id, "price",
        (json_int_t)payment->price, "state", payment->state, "version",
        (json_int_t)payment->version, "reason",
        payment->reason[0] != '\0' ? payment->reason : NULL);
}

static int publish(
    sluice_database *database, const struct payment *payment, struct sluice_error *error)
{
    return publish_object(database, "payment.state-changed.v1", "PaymentStateChanged",
        payment->order_id, payment_object(payment), NULL, error);
}

int payment_insert(sluice_database *database, struct payment *payment, struct sluice_error *error)
{
    snprintf(payment->state, sizeof(payment->state), "PENDING");
    int inserted = sql_insert_once(database, error,
        "INSERT INTO payment (order_id, user_id, price, state, saga_id, reason, version,"
        " created_at_ms, modified_at_ms) VALUES (?1, ?2, ?3, ?4, '', '', 0, ?5, ?5)",
        "iiiti", payment->order_id, payment->user_id, payment->price, payment->state, now_ms());
    if (inserted < 0 || payment_load(database, payment->order_id, 0, payment, error) != 1) {
        return -1;
    }
    return inserted == 1 && publish(database, payment, error) != 0 ? -1 : inserted;
}

int payment_load(sluice_database *database, int64_t order_id, int is_locked,
    struct payment *ret_payment, struct sluice_error *error)
{
    struct rows *row = sql_query(database, error,
        is_locked ? "SELECT id, order_id, user_id, price, version, state, saga_id, reason"
                    " FROM payment WHERE order_id = ?1 {lock}"
                  : "SELECT id, order_id, user_id, price, version, state, saga_id, reason"
                    " FROM payment WHERE order_id = ?1",
        "i", order_id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row);
    if (found) {
        *ret_payment = (struct payment){.id = sql_integer(row, 0),
            .order_id = sql_integer(row, 1),
            .user_id = sql_integer(row, 2),
            .price = sql_integer(row, 3),
            .version = sql_integer(row, 4)};
        sql_copy(row, 5, ret_payment->state, sizeof(ret_payment->state));
        sql_copy(row, 6, ret_payment->saga_id, sizeof(ret_payment->saga_id));
        sql_copy(row, 7, ret_payment->reason, sizeof(ret_payment->reason));
    }
    sql_end(row);
    return found;
}

int payment_store(sluice_database *database, struct payment *payment, struct sluice_error *error)
{
    int64_t changed = sql_run(database, error,
        "UPDATE payment SET state = ?1, saga_id = ?2, reason = ?3, version = version + 1,"
        " modified_at_ms = ?4 WHERE id = ?5 AND version = ?6",
        "tttiii", payment->state, payment->saga_id, payment->reason, now_ms(), payment->id,
        payment->version);
    if (changed == 0) {
        *error = (struct sluice_error){.code = SLUICE_CONFLICT, .reaction = SLUICE_RETRY};
        snprintf(error->text, sizeof(error->text),
            "payment %" PRId64 " was changed by somebody else meanwhile", payment->id);
    }
    if (changed != 1) {
        return -1;
    }
    payment->version++;
    return publish(database, payment, error);
}

int points_read(sluice_database *database, int64_t user_id, int64_t *ret_points,
    struct sluice_error *error)
{
    struct rows *row = sql_query(
        database, error, "SELECT point FROM point WHERE user_id = ?1 {lock}", "i", user_id);
    if (row == NULL) {
        return -1;
    }
    int found = sql_next(row);
    *ret_points = found ? sql_integer(row, 0) : STARTING_POINTS;
    sql_end(row);
    return found;
}

/* Write a line of the ledger and the points that it means: 1, 0 if the line is there, -1. */
static int enter(sluice_database *database, const char *saga_id, const char *kind, int64_t user_id,
    int64_t amount, struct sluice_error *error)
{
    int inserted = sql_insert_once(database, error,
        "INSERT INTO point_entry (saga_id, kind, user_id, amount) VALUES (?1, ?2, ?3, ?4)", "ttii",
        saga_id, kind, user_id, amount);
    if (inserted != 1) {
        return inserted;
    }
    return sql_run(database, error,
               "UPDATE point SET point = point + ?1, version = version + 1 WHERE user_id = ?2",
               "ii", strcmp(kind, "PAY") == 0 ? -amount : amount, user_id) == 1
               ? 1
               : -1;
}

int points_take(sluice_database *database, struct payment *payment, const char *saga_id,
    struct sluice_error *error)
{
    int64_t points = 0;
    /* Read first: two inserts that meet the row would share it on MariaDB, and then deadlock. */
    int found = points_read(database, payment->user_id, &points, error);
    if (found == 0) {
        found = sql_insert_once(database, error,
            "INSERT INTO point (user_id, point, version) VALUES (?1, ?2, 0)", "ii",
            payment->user_id, (int64_t)STARTING_POINTS);
        found = found < 0 ? -1 : points_read(database, payment->user_id, &points, error);
    }
    if (found < 0) {
        return -1;
    }
    if (points < payment->price) {
        snprintf(payment->reason, sizeof(payment->reason),
            "too few points: the order costs %" PRId64 ", the buyer has %" PRId64, payment->price,
            points);
        return 0;
    }
    return enter(database, saga_id, "PAY", payment->user_id, payment->price, error) < 0 ? -1 : 1;
}

int points_give_back(sluice_database *database, const char *saga_id, struct sluice_error *error)
{
    struct rows *row = sql_query(database, error,
        "SELECT user_id, amount FROM point_entry WHERE saga_id = ?1 AND kind = 'PAY'", "t",
        saga_id);
    if (row == NULL) {
        return -1;
    }
    int result = 0;
    if (sql_next(row)) {
        result = enter(
            database, saga_id, "REFUND", sql_integer(row, 0), sql_integer(row, 1), error);
    }
    sql_end(row);
    return result < 0 ? -1 : 0;
}
