#include "index.h"

#include <stdlib.h>
#include <string.h>

struct index {
    const struct index_kind *kind;
    void *own;
};

static const struct index_kind *const kinds[] = {&index_sqlite,
#ifdef HAVE_LIBCURL
    &index_opensearch,
#endif
    NULL};

struct index *index_open(const char *url, const char *name, struct sluice_error *error)
{
    struct index *index = calloc(1, sizeof(*index));
    if (index == NULL) {
        fail_with(error, SLUICE_NO_MEMORY, SLUICE_RETRY, "no memory for the index");
        return NULL;
    }
    for (size_t i = 0; kinds[i] != NULL; i++) {
        if (strncmp(url, kinds[i]->scheme, strlen(kinds[i]->scheme)) == 0) {
            index->kind = kinds[i];
        }
    }
    if (index->kind == NULL) {
        fail_with(error, SLUICE_INVALID, SLUICE_FATAL,
            "--search '%.100s' is neither sqlite:FILE nor http://HOST:PORT (which needs libcurl "
            "when this is built)",
            url);
    }
    if (index->kind == NULL || index->kind->open(url, name, &index->own, error) != 0) {
        free(index);
        return NULL;
    }
    return index;
}

enum sluice_outcome index_apply(
    struct index *index, const struct index_document *document, struct sluice_error *error)
{
    return index->kind->apply(index->own, document, error);
}

int index_search(struct index *index, const struct index_query *query, json_t **ret_content,
    int64_t *ret_total, struct sluice_error *error)
{
    return index->kind->search(index->own, query, ret_content, ret_total, error);
}

void index_close(struct index *index)
{
    if (index != NULL) {
        index->kind->close(index->own);
        free(index);
    }
}

json_t *index_summary(const json_t *post)
{
    static const char *const fields[] = {"id", "authorNickname", "title", "techStack", "maxMembers",
        "deadline", "status", "createdAt"};
    json_t *summary = json_object();
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_object_set(summary, fields[i], json_object_get(post, fields[i]));
    }
    return summary;
}
