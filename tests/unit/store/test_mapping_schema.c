/*
 * A mapped table in PostgreSQL: in a schema of its own, and of a role with too few rights. MariaDB
 * and SQLite have neither schemas within a database nor rights that could be asked for beforehand.
 */
#include <unistd.h>

#include "mapped_place.h"
#include "support/unit.h"

START_TEST(a_table_of_another_schema_with_bytes_is_read_in_the_order_of_its_times)
{
    static const struct sl_mapping mapping = {
        .table = "app.outbox", .columns = {[SL_MAPPED_CREATED_AT] = "created_at"}};
    make_tables();
    run("CREATE SCHEMA app");
    run("CREATE TABLE app.outbox (id UUID PRIMARY KEY, aggregatetype TEXT, aggregateid TEXT,"
        " type TEXT NOT NULL, payload BYTEA, created_at TIMESTAMP NOT NULL)");
    open_mapped(&mapping);
    run("INSERT INTO app.outbox VALUES ('018f0000-0000-4000-8000-00000000000a', 'orders', 'k',"
        " 'Second', 'b', '2026-01-02'),"
        " ('018f0000-0000-4000-8000-00000000000b', 'orders', 'k', 'First', 'a', '2026-01-01')");
    ck_assert_uint_eq(read_after(SL_POSITION_START), 2);
    ck_assert(sl_text_equal(batch.events[0].type, SL_TEXT("First")));
    ck_assert(sl_text_equal(batch.events[0].payload, SL_TEXT("a")));
    ck_assert(sl_text_equal(batch.events[1].type, SL_TEXT("Second")));
    tear_down();
}
END_TEST

START_TEST(a_table_that_the_role_may_not_read_or_change_is_told_with_the_grant)
{
    make_tables();
    char role[80];
    char sql[600];
    char url[700];
    snprintf(role, sizeof(role), "reader_%lld", (long long) getpid());
    snprintf(sql, sizeof(sql), "CREATE ROLE %s LOGIN", role);
    run(sql);
    const char *at = strchr(place.url, '@');
    ck_assert_ptr_nonnull(at);
    snprintf(url, sizeof(url), "postgresql://%s%s", role, at);
    snprintf(sql, sizeof(sql), "GRANT USAGE ON SCHEMA sluice TO %s", role);
    run(sql);
    snprintf(sql, sizeof(sql), "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA sluice TO %s",
        role);
    run(sql);
    ck_assert_int_eq(sl_mapping_open(url, &seed, &store, &error), -1);
    ck_assert_msg(strstr(error.text, "this role may not read the table 'outbox_event'") != NULL &&
            strstr(error.text, "GRANT SELECT, UPDATE") != NULL,
        "%s", error.text);
    snprintf(sql, sizeof(sql), "GRANT SELECT ON outbox_event TO %s", role);
    run(sql);
    ck_assert_int_eq(sl_mapping_open(url, &seed, &store, &error), -1);
    ck_assert_msg(
        strstr(error.text, "may not change the table 'outbox_event'") != NULL, "%s", error.text);
    snprintf(sql, sizeof(sql), "DROP OWNED BY %s", role);
    run(sql);
    snprintf(sql, sizeof(sql), "DROP ROLE %s", role);
    run(sql);
    sl_store_close(writer);
    test_database_remove(&place);
}
END_TEST

POSTGRESQL_UNIT_MAIN("mapping_schema",
    a_table_of_another_schema_with_bytes_is_read_in_the_order_of_its_times,
    a_table_that_the_role_may_not_read_or_change_is_told_with_the_grant)
