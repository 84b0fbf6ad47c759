/*
 * index.h - the search index, behind one face: SQLite's full text, or OpenSearch.
 *
 * An index is no part of the transaction that applies an event, so an event may come again after it
 * is in the index. That does no harm, for every write names the post's version and only a newer one
 * is taken. A deleted post leaves a tombstone with its version: a late change of it is older, and
 * does not bring it back.
 *
 *     index_apply gives     when
 *     SLUICE_APPLIED        the index has it
 *     SLUICE_ALREADY_APPLIED   it has this version, or a newer one
 *     SLUICE_RETRY_LATER    the index does not answer, or is too busy: nobody's fault, no attempt
 *     SLUICE_FAILED         it refuses this document: an attempt
 */
#ifndef EXAMPLES_STUDYPOSTS_INDEX_H
#define EXAMPLES_STUDYPOSTS_INDEX_H

#include "web.h"

struct index;

/* A post at a version; `post` is NULL if it was deleted. */
struct index_document {
    const char *post_id;
    int64_t version;
    const json_t *post;
};

struct index_query {
    const char *keyword;    /* "" any */
    const char *tech_stack; /* "" any */
    const char *status;     /* "" any */
    int64_t max_members;    /* posts for at most so many; 0 any */
    struct page page;
};

/* What an index can do; a kind is one of these tables. */
struct index_kind {
    const char *scheme; /* its URLs begin with it */
    int (*open)(const char *url, const char *name, void **ret_index, struct sluice_error *error);
    enum sluice_outcome (*apply)(
        void *index, const struct index_document *document, struct sluice_error *error);
    int (*search)(void *index, const struct index_query *query, json_t **ret_content,
        int64_t *ret_total, struct sluice_error *error);
    void (*close)(void *index);
};

extern const struct index_kind index_sqlite;
extern const struct index_kind index_opensearch;

/**
 * Open an index: sqlite:FILE, or http://HOST:PORT and a name. It is for one thread. NULL with
 * `error` if it cannot be used; an OpenSearch that is away is no reason, it is asked when needed.
 */
struct index *index_open(const char *url, const char *name, struct sluice_error *error);

/**
 * Bring a document into the index, unless it has that version or a newer one.
 */
enum sluice_outcome index_apply(
    struct index *index, const struct index_document *document, struct sluice_error *error);

/**
 * A page of summaries, best first, then newest; `*ret_content` is an array of the caller's. 0, or
 * -1 with `error`.
 */
int index_search(struct index *index, const struct index_query *query, json_t **ret_content,
    int64_t *ret_total, struct sluice_error *error);

/**
 * Close it; NULL is fine.
 */
void index_close(struct index *index);

/**
 * What a list shows of a post as it stands in an index: a new object.
 */
json_t *index_summary(const json_t *post);

#endif
