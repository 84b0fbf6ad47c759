/* The outbox in PostgreSQL: written, counted, cleaned. What reads it is postgresql_reader.c. */
#include "base/error.h"
#include "base/parse.h"
#include "store/postgresql.h"

/* Unix time of 2000-01-01, where PostgreSQL's times begin. */
static const int64_t epoch_ms = 946684800000;

/* The 16 bytes of a UUID's 36 characters, which have been checked. */
static void pack_id(const char *text, char ret_bytes[16])
{
    for (int i = 0; i < 16; text += 2) {
        if (*text == '-') {
            text--;
            continue;
        }
        int high = text[0] <= '9' ? text[0] - '0' : text[0] - 'a' + 10;
        int low = text[1] <= '9' ? text[1] - '0' : text[1] - 'a' + 10;
        ret_bytes[i++] = (char) (high << 4 | low);
    }
}

int sl_postgresql_outbox_insert(
    struct sl_store *base, const struct sl_event *event, struct sluice_error *error)
{
    static const Oid types[] = {SL_OID_UUID, SL_OID_TEXT, SL_OID_TEXT, SL_OID_TEXT, SL_OID_BYTEA,
        SL_OID_JSON, SL_OID_TIMESTAMPTZ};
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    char id[16];
    char time[8];
    bool has_headers = !sl_text_equal(event->headers, SL_TEXT("{}"));
    pack_id(event->id, id);
    sl_postgresql_put_int64(time, (event->time_ms - epoch_ms) * 1000);
    const char *payload = event->payload.data == NULL ? "" : event->payload.data;
    const char *const values[] = {id, event->topic.data, event->has_key ? event->key.data : NULL,
        event->type.data, payload, has_headers ? event->headers.data : NULL, time};
    const int sizes[] = {sizeof(id), (int) event->topic.size, (int) event->key.size,
        (int) event->type.size, (int) event->payload.size, (int) event->headers.size, sizeof(time)};
    PGresult *result = sl_postgresql_fetch(store,
        "INSERT INTO sluice.outbox (id, aggregatetype, aggregateid, type, payload, headers,"
        " created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING xid",
        "cannot write the outbox", &(struct sl_postgresql_parameters) {types, values, sizes, 7},
        error);
    if (result == NULL) {
        return -1;
    }
    store->xid = sl_postgresql_get_int64(PQgetvalue(result, 0, 0));
    PQclear(result);
    return 0;
}

int sl_postgresql_check_identity(
    const struct sl_store_postgresql *store, struct sluice_error *error)
{
    if (!store->is_foreign) {
        return 0;
    }
    return sl_fail(error, SLUICE_CONFLICT, SLUICE_FATAL,
        "the outbox in %s was made in another cluster or database, whose transaction ids mean "
        "nothing here: it was restored or copied; give it a new identity with `sluice init "
        "--new-identity`, then every retained event is sent again and consumers skip what they "
        "have applied",
        store->name);
}

static void keep_state(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(struct sl_outbox_state *) context = (struct sl_outbox_state) {
        .position = {sl_value_number(&columns[0]), sl_value_number(&columns[1])},
        .confirmed_ms = sl_value_number(&columns[2]),
        .retained_after = {sl_value_number(&columns[3]), sl_value_number(&columns[4])},
        .last = {sl_value_number(&columns[5]), sl_value_number(&columns[6])},
        .unsent_count = sl_value_number(&columns[7]),
        .oldest_unsent_ms = sl_value_number(&columns[8]),
    };
}

int sl_postgresql_outbox_state(
    struct sl_store *base, struct sl_outbox_state *ret_state, struct sluice_error *error)
{
    struct sl_store_postgresql *store = (struct sl_store_postgresql *) base;
    if (sl_postgresql_ensure(store, error) != 0 ||
        sl_postgresql_check_identity(store, error) != 0) {
        return -1;
    }
    return sl_sql_run(base,
        &(struct sl_sql) {
            .text = "SELECT r.tick, r.position, r.updated_at, r.retained_tick, r.retained_position,"
                    " t.number, t.last_position, b.unsent_count,"
                    " floor(coalesce(extract(epoch FROM b.oldest_unsent_at) * 1000, 0))::bigint "
                    "FROM sluice_relay r,"
                    " (SELECT number, last_position FROM sluice_tick ORDER BY number DESC LIMIT 1)"
                    " t, sluice_backlog() b WHERE r.name = 'relay'",
            .what = "cannot read the outbox",
            .visit = keep_state,
            .context = ret_state,
        },
        error);
}

static void keep_number(void *context, const struct sluice_value *columns, size_t column_count)
{
    (void) column_count;
    *(int64_t *) context = sl_value_number(&columns[0]);
}

int sl_postgresql_outbox_retain(struct sl_store *base, int64_t before_ms, int64_t count_max,
    int64_t *ret_deleted, struct sluice_error *error)
{
    int64_t deleted = 0;
    if (sl_sql_run(base,
            &(struct sl_sql) {.text = "SELECT sluice_maintain()", .what = "cannot make partitions"},
            error) != 0 ||
        sl_sql_run(base,
            &(struct sl_sql) {
                .text = "SELECT sluice_retain(to_timestamp(?1 / 1000.0), ?2)",
                .what = "cannot clean the outbox",
                SL_SQL_VALUES(sluice_integer(before_ms), sluice_integer(count_max)),
                .visit = keep_number,
                .context = &deleted,
            },
            error) != 0) {
        return -1;
    }
    *ret_deleted = deleted;
    return 0;
}
