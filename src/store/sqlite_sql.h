/*
 * store/sqlite_sql.h - the statements that the library and the loadable extension share.
 */
#ifndef SL_STORE_SQLITE_SQL_H
#define SL_STORE_SQLITE_SQL_H

/* id, topic, message_key, type, payload, headers, created_at */
#define SL_SQL_OUTBOX_INSERT                                                                       \
    "INSERT INTO sluice_outbox (id, topic, message_key, type, payload, headers, created_at) "      \
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"

/* consumer, event_id, applied_at */
#define SL_SQL_INBOX_INSERT                                                                        \
    "INSERT INTO sluice_inbox (consumer, event_id, applied_at) VALUES (?1, ?2, ?3) "               \
    "ON CONFLICT DO NOTHING"

#endif
