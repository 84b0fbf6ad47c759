/*
 * tests/support/temp.h - a folder of its own for a test, and URLs of files in it.
 */
#ifndef TESTS_SUPPORT_TEMP_H
#define TESTS_SUPPORT_TEMP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct temp {
    char folder[128];
    char text[8][256];
    int used;
};

/* Make the folder, where TMPDIR says: a run of all tests removes what a killed one has left. */
static inline void temp_make(struct temp *temp)
{
    const char *root = getenv("TMPDIR");
    memset(temp, 0, sizeof(*temp));
    int length = snprintf(temp->folder, sizeof(temp->folder), "%s/sluice-test-XXXXXX",
        root == NULL || root[0] == '\0' ? "/tmp" : root);
    if (length >= (int) sizeof(temp->folder) || mkdtemp(temp->folder) == NULL) {
        abort();
    }
}

/* "SCHEME:FOLDER/NAME", or a plain path if the scheme is "". Valid as long as `temp`. */
static inline const char *temp_url(struct temp *temp, const char *scheme, const char *name)
{
    char *text = temp->text[temp->used++ % 8];
    snprintf(text, sizeof(temp->text[0]), "%s%s%s/%s", scheme, scheme[0] == '\0' ? "" : ":",
        temp->folder, name);
    return text;
}

/* Remove the folder and what SQLite has put into it. */
static inline void temp_remove(struct temp *temp)
{
    static const char *const names[] = {"app.db", "app.db-wal", "app.db-shm", "log.db",
        "log.db-wal", "log.db-shm", "other.db", "other.db-wal", "other.db-shm"};
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", temp->folder, names[i]);
        unlink(path);
    }
    rmdir(temp->folder);
}

#endif
