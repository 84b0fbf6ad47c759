/*
 * web.h - what both services share: a table of routes, the envelope of every answer, pages.
 *
 *     {"success": true, "code": "POST_CREATED", "message": "...", "data": {...}}
 *     {"success": false, "code": "POST_NOT_FOUND", "message": "..."}
 *
 * Who calls is told by the gateway, which has judged the token: Sluice-Subject is the user's id. A
 * client's own field of that name never arrives here.
 */
#ifndef EXAMPLES_STUDYPOSTS_WEB_H
#define EXAMPLES_STUDYPOSTS_WEB_H

#include <sluice/transaction.h>

#include "answers.h"
#include "sql.h"

enum { ID_SIZE = 37, PAGE_SIZE_MAX = 100 };

/* A request that has found its route. */
struct call {
    const struct request *request;
    sluice_database *database;
    void *context;
    char user_id[ID_SIZE]; /* "" on a public route without a token */
    char id[ID_SIZE];      /* the {id} of the path */
};

struct route {
    const char *method;
    const char *pattern; /* one {id} at most, which stands for a UUID */
    int is_public;       /* needs no token */
    enum MHD_Result (*handler)(const struct call *call);
};

/* Why a request is refused; status 0: it is not. */
struct refusal {
    unsigned int status;
    const char *code;
    char message[PROBLEM_SIZE];
};

/* Which part of a list is asked for. */
struct page {
    int64_t number; /* from 0 */
    int64_t size;
};

/**
 * Answer by the route of a table, which ends with one without a method: else 404, 405, 401, or 400
 * for an {id} that is no UUID.
 */
enum MHD_Result route_request(const struct route *routes, sluice_database *database, void *context,
    const struct request *request);

/**
 * Answer with success. The reference to `take_data` passes; NULL: no data.
 */
enum MHD_Result answer_success(const struct request *request, unsigned int status, const char *code,
    const char *message, json_t *take_data);

/**
 * Refuse: {"success": false, ...}.
 */
enum MHD_Result answer_refusal(const struct request *request, const struct refusal *refusal);

/**
 * Refuse what the client got wrong: 400 INVALID_INPUT.
 */
enum MHD_Result answer_invalid(const struct request *request, const char *problem);

/**
 * Answer after the database refused: 409 LOCK_CONFLICT, 503 or 500. Nothing was stored.
 */
enum MHD_Result answer_trouble(const struct request *request, const struct sluice_error *error);

/**
 * Note a refusal; returns 0, so that a work can end with it having written nothing.
 */
int refuse(struct refusal *refusal, unsigned int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/**
 * Copy a text field of so many characters (not bytes) to `target`; control characters but for line
 * ends and tabs are refused, and so is a text of blanks where `min` is above 0. A field that is
 * missing or null is "" where `min` is 0. 0, or -1 with the reason.
 */
int take_characters(const json_t *object, const char *name, size_t min, size_t max, char *target,
    size_t target_size, char problem[PROBLEM_SIZE]);

/**
 * Read ?page and ?size. 0, or -1 with the reason.
 */
int page_read(const struct request *request, int64_t default_size, struct page *ret_page,
    char problem[PROBLEM_SIZE]);

/**
 * A page as JSON; the reference to `take_content` (an array) passes.
 */
json_t *page_object(const struct page *page, int64_t total, json_t *take_content);

/**
 * The first number of a query's one row, or -1 with `error`; ends `rows`, NULL is a failed query.
 */
int64_t sql_one(struct rows *rows);

/**
 * Whether a text has the form of a UUID.
 */
int is_uuid(const char *text);

/**
 * Make a new UUID.
 */
void make_uuid(char ret_id[ID_SIZE]);

/**
 * Answer with the events of a topic that a consumer, or the relay, could not bring on: a view of
 * the dead letters in the service's database. `sluice dead-letter redrive` sends them again.
 */
enum MHD_Result answer_failed(
    const struct call *call, const char *topic, const char *code, const char *key_name);

#endif
