#include "gateway/payload.h"

#include <string.h>

#include "base/parse.h"
#include "wire/json_pointer.h"

static bool is_final(const struct sl_payload_rules *rules, struct sl_text type)
{
    for (size_t i = 0; i < rules->final_count; i++) {
        if (sl_text_equal(type, sl_text_of(rules->final_statuses[i]))) {
            return true;
        }
    }
    return false;
}

static int read_facts(const struct sl_payload_rules *rules, const struct sl_json *json,
    struct sl_buffer *scratch, struct sl_payload_facts *facts, struct sluice_error *error)
{
    if (rules->version != NULL) {
        if (sl_json_find_scalar(json, sl_text_of(rules->version), scratch, error) != 0) {
            return -1;
        }
        struct sl_text text = {scratch->data, scratch->size};
        if (!sl_parse_i64(text, &facts->version) || facts->version < 0 ||
            facts->version == INT64_MAX) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "the version at %s is no whole number from 0 on", rules->version);
        }
        sl_buffer_clear(scratch);
    }
    if (rules->event != NULL) {
        if (sl_json_find_scalar(json, sl_text_of(rules->event), scratch, error) != 0) {
            return -1;
        }
        facts->type = (struct sl_text) {scratch->data, scratch->size};
        if (facts->type.size == 0 || facts->type.size > SL_EVENT_NAME_SIZE_MAX ||
            !sl_text_is_clean_utf8(facts->type)) {
            return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                "the event's name at %s is empty, too long or has a control character",
                rules->event);
        }
        facts->is_final = is_final(rules, facts->type);
    }
    return 0;
}

int sl_payload_read(const struct sl_payload_rules *rules, struct sl_text payload,
    struct sl_buffer *scratch, struct sl_payload_facts *ret_facts, struct sluice_error *error)
{
    struct sl_payload_facts facts = {.version = -1};
    struct sl_json *json = NULL;
    int result = 0;
    sl_buffer_clear(scratch);
    if (rules->event != NULL || rules->version != NULL) {
        if (sl_json_parse(payload, &json, error) != 0) {
            return -1;
        }
        result = read_facts(rules, json, scratch, &facts, error);
        sl_json_free(json);
    }
    if (result == 0) {
        *ret_facts = facts;
    }
    return result;
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool sl_payload_rules_equal(const struct sl_payload_rules *a, const struct sl_payload_rules *b)
{
    if (!is_same(a->event, b->event) || !is_same(a->version, b->version) ||
        a->final_count != b->final_count) {
        return false;
    }
    for (size_t i = 0; i < a->final_count; i++) {
        if (strcmp(a->final_statuses[i], b->final_statuses[i]) != 0) {
            return false;
        }
    }
    return true;
}
