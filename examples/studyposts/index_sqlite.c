/*
 * The index in a SQLite file: post_search has a row for each post that ever was, with its version,
 * and post_search_text the words (FTS5) of those that are there. Both change in one transaction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"

enum { MATCH_SIZE = 1000 };

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS post_search ("
    " number INTEGER PRIMARY KEY, post_id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,"
    " is_deleted INTEGER NOT NULL, title TEXT, tech_stack TEXT, status TEXT, max_members INTEGER,"
    " created_at TEXT, document TEXT)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS post_search_text USING fts5(title, description)", NULL};

struct change {
    const struct index_document *document;
    int is_new;
};

static int sqlite_open(
    const char *url, const char *name, void **ret_index, struct sluice_error *error)
{
    (void) name;
    sluice_database *database = NULL;
    if (sluice_database_open(url, &database, error) != 0 ||
        sql_make_tables(database, tables, error) != 0) {
        sluice_database_close(database);
        return -1;
    }
    *ret_index = database;
    return 0;
}

static const char *text(const json_t *post, const char *name)
{
    const char *value = json_string_value(json_object_get(post, name));
    return value != NULL ? value : "";
}

static int put_words(
    sluice_database *database, const struct index_document *document, struct sluice_error *error)
{
    int64_t number = sql_one(sql_query(database, error,
        "SELECT number FROM post_search WHERE post_id = ?1", "t", document->post_id));
    if (number < 0 ||
        sql_run(database, error, "DELETE FROM post_search_text WHERE rowid = ?1", "i", number) <
            0) {
        return -1;
    }
    return document->post == NULL ||
            sql_run(database, error,
                "INSERT INTO post_search_text (rowid, title, description)"
                " VALUES (?1, ?2, ?3)",
                "itt", number, text(document->post, "title"),
                text(document->post, "description")) == 1
        ? 0
        : -1;
}

static int put(sluice_database *database, void *context, struct sluice_error *error)
{
    struct change *change = context;
    const struct index_document *document = change->document;
    char *copy = document->post != NULL ? json_dumps(document->post, JSON_COMPACT) : NULL;
    int64_t written = sql_run(database, error,
        "INSERT INTO post_search (post_id, version, is_deleted, title, tech_stack, status,"
        " max_members, created_at, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        " ON CONFLICT (post_id) DO UPDATE SET version = excluded.version,"
        " is_deleted = excluded.is_deleted, title = excluded.title,"
        " tech_stack = excluded.tech_stack, status = excluded.status,"
        " max_members = excluded.max_members, created_at = excluded.created_at,"
        " document = excluded.document WHERE excluded.version > post_search.version",
        "tiitttitt", document->post_id, document->version, (int64_t) (document->post == NULL),
        text(document->post, "title"), text(document->post, "techStack"),
        text(document->post, "status"),
        (int64_t) json_integer_value(json_object_get(document->post, "maxMembers")),
        text(document->post, "createdAt"), copy);
    free(copy);
    change->is_new = written == 1;
    return written < 0 ? -1 : change->is_new ? put_words(database, document, error) : 0;
}

static enum sluice_outcome sqlite_apply(
    void *index, const struct index_document *document, struct sluice_error *error)
{
    struct change change = {.document = document};
    return sluice_transaction(index, SLUICE_REQUIRED, put, &change, error) != 0 ? outcome_of(error)
        : change.is_new                                                         ? SLUICE_APPLIED
                        : SLUICE_ALREADY_APPLIED;
}

/* The words of a keyword as FTS5 takes them: each in quotes, any beginning of a word counts. */
static void match_of(const char *keyword, char ret_match[MATCH_SIZE])
{
    size_t size = 0;
    while (*keyword != '\0' && size + 8 < MATCH_SIZE) {
        size_t blank = strspn(keyword, " \t\n\r\"");
        size_t word = strcspn(keyword + blank, " \t\n\r\"");
        size_t room = MATCH_SIZE - size - 8;
        if (word > 0) {
            size += (size_t) snprintf(ret_match + size, MATCH_SIZE - size, "\"%.*s\"* ",
                (int) (word < room ? word : room), keyword + blank);
        }
        keyword += blank + word;
    }
    ret_match[size] = '\0';
}

static int sqlite_search(void *index, const struct index_query *query, json_t **ret_content,
    int64_t *ret_total, struct sluice_error *error)
{
    static const char filter[] =
        " p.is_deleted = 0 AND (?2 = '' OR p.status = ?2) AND (?3 = 0 OR p.max_members <= ?3)"
        " AND (?4 = '' OR INSTR(LOWER(p.tech_stack), LOWER(?4)) > 0)";
    static const char by_words[] =
        " FROM post_search_text t JOIN post_search p"
        " ON p.number = t.rowid WHERE post_search_text MATCH ?1 AND";
    static const char all[] = " FROM post_search p WHERE ?1 = '' AND";
    char match[MATCH_SIZE], sql[1000];
    match_of(query->keyword, match);
    const char *from = match[0] != '\0' ? by_words : all;
    snprintf(sql, sizeof(sql), "SELECT COUNT(*)%s%s", from, filter);
    int64_t total = sql_one(sql_query(
        index, error, sql, "ttit", match, query->status, query->max_members, query->tech_stack));
    snprintf(sql, sizeof(sql),
        "SELECT p.document%s%s ORDER BY %sp.created_at DESC, p.post_id LIMIT ?5 OFFSET ?6", from,
        filter, match[0] != '\0' ? "t.rank, " : "");
    struct rows *rows = total < 0
        ? NULL
        : sql_query(index, error, sql, "ttitii", match, query->status, query->max_members,
              query->tech_stack, query->page.size, query->page.number * query->page.size);
    if (rows == NULL) {
        return -1;
    }
    *ret_content = json_array();
    *ret_total = total;
    while (sql_next(rows)) {
        json_t *post = json_loads(sql_text(rows, 0), 0, NULL);
        json_array_append_new(*ret_content, index_summary(post));
        json_decref(post);
    }
    sql_end(rows);
    return 0;
}

static void sqlite_close(void *index)
{
    sluice_database_close(index);
}

const struct index_kind index_sqlite = {.scheme = "sqlite:",
    .open = sqlite_open,
    .apply = sqlite_apply,
    .search = sqlite_search,
    .close = sqlite_close};
