#include "store/sql.h"

#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "store/ops.h"

int sl_sql_run(struct sl_store *store, const struct sl_sql *sql, struct sluice_error *error)
{
    return store->ops->run(store, sql, error);
}

int sl_store_enter(struct sl_store *store, bool *ret_is_ours, struct sluice_error *error)
{
    bool is_ours = !store->ops->in_transaction(store);
    if (is_ours && store->ops->begin(store, error) != 0) {
        return -1;
    }
    *ret_is_ours = is_ours;
    return 0;
}

int sl_store_leave(struct sl_store *store, bool is_ours, int status, struct sluice_error *error)
{
    if (!is_ours) {
        return status;
    }
    if (status == 0) {
        return store->ops->commit(store, error);
    }
    store->ops->rollback(store);
    return -1;
}

int64_t sl_value_number(const struct sluice_value *value)
{
    int64_t number = 0;
    if (value->kind == SLUICE_INTEGER) {
        return value->integer;
    }
    return sl_parse_i64(sl_value_view(value), &number) ? number : 0;
}

void sl_value_copy(const struct sluice_value *value, char *ret_text, size_t size)
{
    size_t kept = value->size < size - 1 ? value->size : size - 1;
    if (kept > 0) {
        memcpy(ret_text, value->data, kept);
    }
    ret_text[kept] = '\0';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The end of a quoted text, a quoted name or a comment that begins at `at`; `at` if none does. */
static const char *skip_quoted(const char *at)
{
    const char *end = NULL;
    if (*at == '\'' || *at == '"' || *at == '`') {
        end = strchr(at + 1, *at); /* a doubled quote begins the next piece at once */
    } else if (at[0] == '-' && at[1] == '-') {
        end = strchr(at, '\n');
    } else if (at[0] == '/' && at[1] == '*') {
        end = strstr(at + 2, "*/");
        end = end == NULL ? NULL : end + 1;
    } else {
        return at;
    }
    return end == NULL ? at + strlen(at) : end + 1;
}

static int write_parameter(struct sl_sql_rewrite *rewrite, const struct sl_sql *sql,
    struct sl_buffer *buffer, const char **at, struct sluice_error *error)
{
    size_t number = 0;
    const char *digit = *at + 1;
    for (; *digit >= '0' && *digit <= '9' && number <= SLUICE_VALUES_MAX; digit++) {
        number = number * 10 + (size_t) (*digit - '0');
    }
    if (number == 0 || number > sql->value_count) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "%s: the statement has a parameter ?%zu, but %zu values were passed", sql->what,
            number, sql->value_count);
    }
    if (rewrite->placeholder == SL_PLACEHOLDER_DOLLAR) {
        sl_buffer_append_format(buffer, "$%zu", number);
    } else if (rewrite->order_count < sizeof(rewrite->order)) {
        rewrite->order[rewrite->order_count++] = (unsigned char) (number - 1);
        sl_buffer_append_text(buffer, "?");
    } else {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "%s: the statement uses its parameters more than %zu times", sql->what,
            sizeof(rewrite->order));
    }
    *at = digit;
    return 0;
}

int sl_sql_rewrite(struct sl_sql_rewrite *rewrite, const struct sl_sql *sql,
    struct sl_buffer *buffer, struct sluice_error *error)
{
    static const struct sl_text prefix = {"sluice_", 7};
    bool is_schema = rewrite->is_schema && !sql->is_theirs;
    bool is_in_word = false;
    const char *at = sql->text;
    sl_buffer_clear(buffer);
    rewrite->order_count = 0;
    while (*at != '\0') {
        const char *end = skip_quoted(at);
        if (end != at) {
            sl_buffer_append(buffer, at, (size_t) (end - at));
            at = end;
            is_in_word = false;
        } else if (*at == '?' && at[1] >= '0' && at[1] <= '9') {
            if (write_parameter(rewrite, sql, buffer, &at, error) != 0) {
                return -1;
            }
        } else if (is_schema && !is_in_word && strncmp(at, prefix.data, prefix.size) == 0) {
            sl_buffer_append_text(buffer, "sluice.");
            at += prefix.size;
        } else {
            is_in_word = is_word(*at);
            sl_buffer_append(buffer, at++, 1);
        }
    }
    return buffer->is_failed ? sl_fail_memory(error, "the text of a statement") : 0;
}
