#include "deadline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "notification.h"
#include "post.h"

enum { POSTS_PER_RUN = 100, REMINDER_HOUR = 9 };

struct due {
    char id[ID_SIZE];
    int64_t now;
};

static int close_post(sluice_database *database, void *context, struct sluice_error *error)
{
    struct due *due = context;
    struct post post;
    int found = post_load(database, due->id, 1, &post, error);
    if (found < 1 || strcmp(post.status, "OPEN") != 0 || post.deadline_ms > due->now) {
        return found < 0 ? -1 : 0; /* deleted, closed or moved meanwhile */
    }
    snprintf(post.status, sizeof(post.status), "CLOSED");
    return post_change(database, &post, error);
}

static int remind_author(sluice_database *database, void *context, struct sluice_error *error)
{
    struct due *due = context;
    struct post post;
    int found = post_load(database, due->id, 1, &post, error);
    if (found < 1) {
        return found;
    }
    int64_t changed = sql_run(database, error,
        "UPDATE study_posts SET reminded_ms = ?1"
        " WHERE id = ?2 AND status = 'OPEN' AND deadline_ms = ?1 AND reminded_ms <> ?1",
        "it", post.deadline_ms, post.id);
    return changed == 1 ? notify(database, &post, post.author_id, "POST_DEADLINE", error)
                        : (int) changed;
}

/* Do `work` for each post that a query names. */
static void each_post(sluice_database *database, const char *what, sluice_work work, int64_t now,
    struct rows *take_rows)
{
    struct sluice_error error;
    struct due due = {.now = now};
    while (sql_next(take_rows)) {
        sql_copy(take_rows, 0, due.id, sizeof(due.id));
        if (sluice_transaction(database, SLUICE_REQUIRED, work, &due, &error) != 0) {
            fprintf(stderr, "post %s is not %s yet: %s\n", due.id, what, error.text);
        }
    }
    sql_end(take_rows);
}

void deadline_run(sluice_database *database)
{
    struct sluice_error error;
    int64_t now = clock_now();
    struct rows *rows = sql_query(database, &error,
        "SELECT id FROM study_posts WHERE status = 'OPEN' AND deadline_ms <= ?1"
        " ORDER BY deadline_ms LIMIT ?2",
        "ii", now, (int64_t) POSTS_PER_RUN);
    if (rows == NULL) {
        fprintf(stderr, "deadlines are not looked at: %s\n", error.text);
        return;
    }
    each_post(database, "closed", close_post, now, rows);
    if (now < local_hour(now, 0, REMINDER_HOUR)) {
        return;
    }
    rows = sql_query(database, &error,
        "SELECT id FROM study_posts WHERE status = 'OPEN' AND deadline_ms >= ?1"
        " AND deadline_ms < ?2 AND reminded_ms <> deadline_ms ORDER BY deadline_ms LIMIT ?3",
        "iii", local_hour(now, 1, 0), local_hour(now, 2, 0), (int64_t) POSTS_PER_RUN);
    if (rows == NULL) {
        fprintf(stderr, "reminders are not looked at: %s\n", error.text);
        return;
    }
    each_post(database, "reminded of", remind_author, now, rows);
}
