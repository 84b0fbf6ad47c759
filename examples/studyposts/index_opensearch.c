/*
 * The index in OpenSearch, by libcurl: one `_bulk` request for each document, with the post's
 * version as the document's external version. A deleted post is a document too, {"deleted": true}:
 * what OpenSearch itself remembers of a deletion it forgets after a minute (index.gc_deletes).
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"

enum { ANSWER_SIZE_MAX = 4 << 20, URL_SIZE = 300, CONNECT_MS = 2000, REQUEST_MS = 10000 };

static const char mapping[] =
    "{\"settings\": {\"number_of_replicas\": 0}, \"mappings\": {\"dynamic\": false, \"properties\":"
    " {\"title\": {\"type\": \"text\"}, \"description\": {\"type\": \"text\"},"
    " \"techStack\": {\"type\": \"text\"}, \"status\": {\"type\": \"keyword\"},"
    " \"maxMembers\": {\"type\": \"integer\"}, \"deadline\": {\"type\": \"date\"},"
    " \"createdAt\": {\"type\": \"date\"}, \"deleted\": {\"type\": \"boolean\"}}}}";

struct opensearch {
    CURL *curl;
    struct curl_slist *headers;
    char url[URL_SIZE];  /* of the server */
    char name[URL_SIZE]; /* of the index */
    int is_made;         /* the index is there, with our mapping */
    char *answer;
    size_t answer_size;
};

/* --- requests -------------------------------------------------------------------------------- */

static size_t keep(char *data, size_t size, size_t count, void *context)
{
    struct opensearch *index = context;
    size *= count;
    char *answer = index->answer_size + size < ANSWER_SIZE_MAX
        ? realloc(index->answer, index->answer_size + size + 1)
        : NULL;
    if (answer == NULL) {
        return 0; /* libcurl fails the request */
    }
    memcpy(answer + index->answer_size, data, size);
    index->answer = answer;
    index->answer_size += size;
    return size;
}

/*
 * Send a request; `*ret_answer` is the JSON that came, of the caller's, or NULL if none did. The
 * status, or -1 with `error` if the server cannot be reached.
 */
static long ask(struct opensearch *index, const char *method, const char *path, const char *body,
    json_t **ret_answer, struct sluice_error *error)
{
    char url[2 * URL_SIZE], reason[CURL_ERROR_SIZE] = "";
    long status = 0;
    snprintf(url, sizeof(url), "%s%s", index->url, path);
    index->answer_size = 0;
    curl_easy_setopt(index->curl, CURLOPT_URL, url);
    curl_easy_setopt(index->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(index->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(index->curl, CURLOPT_POSTFIELDSIZE, (long) strlen(body));
    curl_easy_setopt(index->curl, CURLOPT_ERRORBUFFER, reason);
    CURLcode code = curl_easy_perform(index->curl);
    curl_easy_setopt(index->curl, CURLOPT_ERRORBUFFER, NULL);
    if (code != CURLE_OK) {
        const char *user_end = strrchr(index->url, '@'); /* a password is nobody's to read */
        return fail_with(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
            "the search index at %.100s does not answer: %.200s",
            user_end != NULL ? user_end + 1 : index->url,
            reason[0] != '\0' ? reason : curl_easy_strerror(code));
    }
    curl_easy_getinfo(index->curl, CURLINFO_RESPONSE_CODE, &status);
    *ret_answer = json_loadb(index->answer, index->answer_size, 0, NULL);
    return status;
}

/* Statuses that are the server's trouble, not the document's. */
static int is_outage(long status)
{
    return status >= 500 || status == 429 || status == 408 || status == 401 || status == 403;
}

/* Why OpenSearch refused: "type: reason" of an error object. */
static const char *reason_of(const json_t *error, const char *part)
{
    const char *text = json_string_value(json_object_get(error, part));
    return text != NULL ? text : "";
}

/* Note why; what a handler answers to it. */
static enum sluice_outcome refused(
    const struct opensearch *index, long status, const json_t *cause, struct sluice_error *error)
{
    const json_t *deeper = json_object_get(cause, "caused_by");
    fail_with(error, is_outage(status) ? SLUICE_UNAVAILABLE : SLUICE_INVALID,
        is_outage(status) ? SLUICE_RETRY : SLUICE_REJECT,
        "the search index %.60s answers %ld: %.60s: %.150s %.100s", index->name, status,
        reason_of(cause, "type"), reason_of(cause, "reason"), reason_of(deeper, "reason"));
    return outcome_of(error);
}

/* Make the index, if it is not there. 0, or -1 with `error`. */
static int make(struct opensearch *index, struct sluice_error *error)
{
    char path[URL_SIZE + 2];
    json_t *answer = NULL;
    if (index->is_made) {
        return 0;
    }
    snprintf(path, sizeof(path), "/%s", index->name);
    long status = ask(index, "PUT", path, mapping, &answer, error);
    const json_t *cause = json_object_get(answer, "error");
    index->is_made =
        status == 200 || strcmp(reason_of(cause, "type"), "resource_already_exists_exception") == 0;
    if (status >= 0 && !index->is_made) {
        refused(index, status, cause, error);
        error->reaction = SLUICE_RETRY; /* no document is to blame */
    }
    json_decref(answer);
    return index->is_made ? 0 : -1;
}

/* --- an index -------------------------------------------------------------------------------- */

static void opensearch_close(void *own)
{
    struct opensearch *index = own;
    curl_slist_free_all(index->headers);
    curl_easy_cleanup(index->curl);
    free(index->answer);
    free(index);
}

static int opensearch_open(
    const char *url, const char *name, void **ret_index, struct sluice_error *error)
{
    struct opensearch *index = calloc(1, sizeof(*index));
    if (index == NULL || (index->curl = curl_easy_init()) == NULL) {
        free(index);
        return fail_with(error, SLUICE_NO_MEMORY, SLUICE_RETRY, "no memory for the index");
    }
    size_t size = strlen(url);
    snprintf(index->url, sizeof(index->url), "%.*s",
        (int) (size > 0 && url[size - 1] == '/' ? size - 1 : size), url);
    snprintf(index->name, sizeof(index->name), "%s", name);
    index->headers = curl_slist_append(NULL, "Content-Type: application/x-ndjson");
    curl_easy_setopt(index->curl, CURLOPT_HTTPHEADER, index->headers);
    curl_easy_setopt(index->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(index->curl, CURLOPT_CONNECTTIMEOUT_MS, (long) CONNECT_MS);
    curl_easy_setopt(index->curl, CURLOPT_TIMEOUT_MS, (long) REQUEST_MS);
    curl_easy_setopt(index->curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(index->curl, CURLOPT_WRITEDATA, index);
    *ret_index = index;
    return 0;
}

/* What `_bulk` says of the one document: its status may be another than the request's. */
static enum sluice_outcome judge(
    struct opensearch *index, long status, const json_t *answer, struct sluice_error *error)
{
    const json_t *item =
        json_object_get(json_array_get(json_object_get(answer, "items"), 0), "index");
    if (status != 200 || item == NULL) {
        return refused(index, status, json_object_get(answer, "error"), error);
    }
    long of_document = (long) json_integer_value(json_object_get(item, "status"));
    const json_t *cause = json_object_get(item, "error");
    if (of_document == 200 || of_document == 201) {
        return SLUICE_APPLIED;
    }
    if (of_document == 409) {
        return SLUICE_ALREADY_APPLIED; /* this version is there, or a newer one */
    }
    if (of_document == 404) {
        index->is_made = 0; /* somebody removed the whole index: it is made again */
        refused(index, 503, cause, error);
        return SLUICE_RETRY_LATER;
    }
    return refused(index, of_document, cause, error);
}

static enum sluice_outcome opensearch_apply(
    void *own, const struct index_document *document, struct sluice_error *error)
{
    struct opensearch *index = own;
    if (make(index, error) != 0) {
        return SLUICE_RETRY_LATER;
    }
    json_t *source = document->post != NULL ? json_deep_copy(document->post) : json_object();
    json_object_set_new(source, "deleted", json_boolean(document->post == NULL));
    char *text = json_dumps(source, JSON_COMPACT);
    json_decref(source);
    size_t size = text != NULL ? strlen(text) + 2 * URL_SIZE : 0;
    char *body = text != NULL ? malloc(size) : NULL;
    if (body == NULL) {
        free(text);
        fail_with(error, SLUICE_NO_MEMORY, SLUICE_RETRY, "no memory for a document");
        return SLUICE_RETRY_LATER;
    }
    snprintf(body, size,
        "{\"index\":{\"_index\":\"%s\",\"_id\":\"%s\",\"version\":%" PRId64
        ",\"version_type\":\"external\"}}\n%s\n",
        index->name, document->post_id, document->version, text);
    free(text);
    json_t *answer = NULL;
    long status = ask(index, "POST", "/_bulk", body, &answer, error);
    free(body);
    enum sluice_outcome outcome =
        status < 0 ? SLUICE_RETRY_LATER : judge(index, status, answer, error);
    json_decref(answer);
    return outcome;
}

static json_t *query_object(const struct index_query *query)
{
    json_t *filter = json_pack("[{s:{s:b}}]", "term", "deleted", 0);
    if (query->tech_stack[0] != '\0') {
        json_array_append_new(
            filter, json_pack("{s:{s:s}}", "match", "techStack", query->tech_stack));
    }
    if (query->status[0] != '\0') {
        json_array_append_new(filter, json_pack("{s:{s:s}}", "term", "status", query->status));
    }
    if (query->max_members > 0) {
        json_array_append_new(filter,
            json_pack(
                "{s:{s:{s:I}}}", "range", "maxMembers", "lte", (json_int_t) query->max_members));
    }
    json_t *must = query->keyword[0] == '\0'
        ? json_pack("{s:{}}", "match_all")
        : json_pack("{s:{s:s, s:s, s:[s, s]}}", "multi_match", "query", query->keyword, "type",
              "best_fields", "fields", "title", "description");
    return json_pack("{s:I, s:I, s:b, s:{s:{s:o, s:o}}, s:[{s:s}, {s:s}]}", "from",
        (json_int_t) (query->page.number * query->page.size), "size", (json_int_t) query->page.size,
        "track_total_hits", 1, "query", "bool", "must", must, "filter", filter, "sort", "_score",
        "desc", "createdAt", "desc");
}

static int opensearch_search(void *own, const struct index_query *query, json_t **ret_content,
    int64_t *ret_total, struct sluice_error *error)
{
    struct opensearch *index = own;
    char path[URL_SIZE + 10];
    json_t *answer = NULL;
    json_t *body = query_object(query);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    snprintf(path, sizeof(path), "/%s/_search", index->name);
    long status = text == NULL || make(index, error) != 0
        ? -1
        : ask(index, "POST", path, text, &answer, error);
    free(text);
    const json_t *hits = json_object_get(answer, "hits");
    if (status != 200) {
        if (status >= 0) {
            refused(index, status, json_object_get(answer, "error"), error);
        }
        json_decref(answer);
        return -1;
    }
    *ret_total = json_integer_value(json_object_get(json_object_get(hits, "total"), "value"));
    *ret_content = json_array();
    size_t number;
    json_t *hit;
    json_array_foreach(json_object_get(hits, "hits"), number, hit)
    {
        json_array_append_new(*ret_content, index_summary(json_object_get(hit, "_source")));
    }
    json_decref(answer);
    return 0;
}

const struct index_kind index_opensearch = {.scheme = "http",
    .open = opensearch_open,
    .apply = opensearch_apply,
    .search = opensearch_search,
    .close = opensearch_close};
