#include "cli/verify.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/endpoint.h"
#include "cli/verify_internal.h"
#include "store/mapping.h"

enum { MEMORY_MAX = 128 << 20, TOPICS_MAX = 1000000 };

static const struct {
    const char *name;
    const char *meaning;
} breaches[SL_BREACH_COUNT] = {
    [SL_BREACH_LOST] = {"lost", "confirmed, and not in the topic"},
    [SL_BREACH_PHANTOM] = {"phantom", "in the topic, and never committed"},
    [SL_BREACH_ALTERED] = {"altered",
        "in the topic with another topic, key, type or payload than was committed"},
    [SL_BREACH_REORDERED] = {"reordered", "overtaken by a later event of its key"},
    [SL_BREACH_SPLIT_KEY] = {"split_key", "in another partition than its key's event before it"},
    [SL_BREACH_HOLE] = {"hole", "missing between its neighbours"},
    [SL_BREACH_TWICE] = {"twice", "two rows have the same id"},
    [SL_BREACH_UNAPPLIED] = {"unapplied", "the consumer is past it, and has not applied it"},
    [SL_BREACH_UNFOUNDED] = {"unfounded", "applied, and never published"},
};

const char *sl_breach_name(enum sl_breach breach)
{
    return breaches[breach].name;
}

const char *sl_breach_meaning(enum sl_breach breach)
{
    return breaches[breach].meaning;
}

void sl_verify_note(struct sl_verify *verify, const struct sl_wrong *wrong)
{
    struct sl_verify_report *report = verify->report;
    report->counts.breaches[wrong->breach]++;
    if (report->wrong_count < SL_VERIFY_WRONG_MAX) {
        report->wrong[report->wrong_count++] = *wrong;
    }
}

void sl_verify_name_row(
    struct sl_verify *verify, size_t store, struct sl_position position, struct sl_wrong *wrong)
{
    struct sl_outbox_batch batch = {0};
    struct sl_position before = {position.tick, position.id - 1};
    snprintf(wrong->database, sizeof(wrong->database), "%s", verify->stores[store].shown);
    wrong->position = position;
    /* Beyond what is kept it is only counted: no need to look. */
    if (verify->report->wrong_count < SL_VERIFY_WRONG_MAX &&
        sl_store_outbox_read(verify->stores[store].store, before, 1, 1, &batch, NULL) == 0 &&
        batch.count == 1 && sl_position_compare(batch.positions[0], position) == 0) {
        const struct sl_event *event = &batch.events[0];
        snprintf(wrong->id, sizeof(wrong->id), "%s", event->id);
        snprintf(wrong->topic, sizeof(wrong->topic), "%.*s", (int) event->topic.size,
            event->topic.size == 0 ? "" : event->topic.data);
        wrong->has_key = event->has_key;
        snprintf(wrong->key, sizeof(wrong->key), "%.*s", (int) event->key.size,
            event->key.size == 0 ? "" : event->key.data);
    }
    sl_outbox_batch_deinit(&batch);
}

int64_t sl_verify_topic(struct sl_verify *verify, struct sl_text name)
{
    uintptr_t number = (uintptr_t) sl_table_get(&verify->topic_numbers, name);
    if (number != 0) {
        return (int64_t) number - 1;
    }
    if (verify->topic_count == TOPICS_MAX) {
        return -1;
    }
    if (verify->topic_count == verify->topic_capacity) {
        size_t capacity = verify->topic_capacity == 0 ? 16 : verify->topic_capacity * 2;
        char **topics = sl_reallocate(verify->topics, capacity * sizeof(*topics));
        if (topics == NULL) {
            return -1;
        }
        verify->topics = topics;
        uint64_t *readers = sl_reallocate(verify->readers, capacity * sizeof(*readers));
        if (readers == NULL) {
            return -1;
        }
        verify->readers = readers;
        verify->topic_capacity = capacity;
    }
    char *copy = sl_copy_bytes(name.data, name.size);
    number = verify->topic_count + 1;
    // NOLINTNEXTLINE: a number in the place of a pointer
    if (copy == NULL || sl_table_put(&verify->topic_numbers, name, (void *) number) != 0) {
        sl_free(copy);
        return -1;
    }
    verify->topics[verify->topic_count] = copy;
    verify->readers[verify->topic_count] = 0;
    return (int64_t) verify->topic_count++;
}

/* Open a store, or find it open; *ret_number is its number. */
static int open_store(struct sl_verify *verify, const char *url, bool is_source, size_t *ret_number)
{
    for (size_t i = 0; i < verify->store_count; i++) {
        if (strcmp(verify->stores[i].url, url) == 0) {
            verify->stores[i].is_source = verify->stores[i].is_source || is_source;
            *ret_number = i;
            return 0;
        }
    }
    struct sl_verify_store *store = &verify->stores[verify->store_count];
    *store = (struct sl_verify_store) {.url = url, .is_source = is_source};
    store->shown = sl_shown_url(url);
    if (store->shown == NULL) {
        return sl_fail_memory(verify->error, "comparing");
    }
    verify->store_count++;
    *ret_number = verify->store_count - 1;
    return sl_mapping_open_noted(url, &store->store, verify->error);
}

struct consumer_context {
    struct sl_verify *verify;
    size_t store;
    const char *only; /* NULL: all */
    size_t found;
    bool is_again; /* known already: read how far they are now */
};

static bool is_known(
    struct sl_verify *verify, size_t store, struct sl_text name, size_t *ret_consumer)
{
    for (size_t i = 0; i < verify->consumer_count; i++) {
        if (verify->consumers[i].store == store &&
            sl_text_equal(sl_text_of(verify->consumers[i].name), name)) {
            *ret_consumer = i;
            return true;
        }
    }
    return false;
}

static void note_consumer(void *context, const struct sl_consumer_count *count)
{
    struct consumer_context *noting = context;
    struct sl_verify *verify = noting->verify;
    size_t known;
    if (noting->only != NULL && !sl_text_equal(count->name, sl_text_of(noting->only))) {
        return;
    }
    noting->found++;
    if (is_known(verify, noting->store, count->name, &known)) {
        verify->consumers[known].applied_total = count->applied_total;
        return;
    }
    if (noting->is_again || verify->is_failed) {
        return;
    }
    char *name = verify->consumer_count == SL_VERIFY_CONSUMERS_MAX
        ? NULL
        : sl_copy_bytes(count->name.data, count->name.size);
    if (name == NULL) {
        sl_fail(verify->error, SLUICE_INVALID, SLUICE_REJECT,
            "more than %d consumers at once; name fewer databases", SL_VERIFY_CONSUMERS_MAX);
        verify->is_failed = true;
        return;
    }
    verify->consumers[verify->consumer_count++] =
        (struct sl_verify_member) {.name = name, .store = noting->store};
}

static int find_consumers(struct sl_verify *verify, size_t store, const char *only)
{
    struct consumer_context context = {.verify = verify, .store = store, .only = only};
    if (sl_store_each_consumer(
            verify->stores[store].store, note_consumer, &context, verify->error) != 0 ||
        verify->is_failed) {
        return -1;
    }
    return only == NULL || context.found > 0
        ? 0
        : sl_fail(verify->error, SLUICE_NOT_FOUND, SLUICE_REJECT,
              "no consumer '%s' has ever run on %s; `sluice status` lists its consumers", only,
              verify->stores[store].shown);
}

static int open_all(struct sl_verify *verify)
{
    const struct sl_verify_options *options = verify->options;
    size_t number;
    for (size_t i = 0; i < options->database_count; i++) {
        if (open_store(verify, options->databases[i], true, &number) != 0 ||
            find_consumers(verify, number, NULL) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < options->consumer_count; i++) {
        if (open_store(verify, options->consumers[i].url, false, &number) != 0 ||
            find_consumers(verify, number, options->consumers[i].name) != 0) {
            return -1;
        }
    }
    return sl_open_existing_broker(options->broker, &verify->broker, verify->error);
}

struct sole_context {
    struct sl_verify *verify;
    bool has_other;
};

static void look_for_other(void *context, struct sl_text source_id)
{
    struct sole_context *looking = context;
    const struct sl_verify *verify = looking->verify;
    for (size_t i = 0; i < verify->store_count; i++) {
        if (verify->stores[i].is_source &&
            sl_text_equal(sl_text_of(sl_store_id(verify->stores[i].store)), source_id)) {
            return;
        }
    }
    looking->has_other = true;
}

/* Whether nobody but our sources has ever written to the broker's topics. */
static int find_out_sole(struct sl_verify *verify)
{
    struct sole_context context = {.verify = verify};
    struct sluice_error error;
    verify->report->is_sole = verify->options->is_sole;
    if (verify->report->is_sole) {
        return 0;
    }
    if (sl_broker_each_source(verify->broker, look_for_other, &context, &error) == 0) {
        verify->report->is_sole = !context.has_other;
        return 0;
    }
    if (error.code == SLUICE_UNSUPPORTED) {
        return 0;
    }
    *verify->error = error;
    return -1;
}

/* Whether consumers have fewer markers than they applied events: then some were removed. */
static int find_trimmed(struct sl_verify *verify)
{
    for (size_t i = 0; i < verify->store_count; i++) {
        struct consumer_context context = {.verify = verify, .store = i, .is_again = true};
        if (sl_store_each_consumer(
                verify->stores[i].store, note_consumer, &context, verify->error) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < verify->consumer_count; i++) {
        struct sl_verify_member *consumer = &verify->consumers[i];
        consumer->is_trimmed = consumer->applied_total > consumer->marker_count;
        consumer->since_ms = consumer->marker_count == 0 ? INT64_MAX : consumer->since_ms;
    }
    return 0;
}

/*
 * The order makes the comparison right on a running system: whatever one step finds was written
 * before what a later step reads. A consumer's marker commits before its place moves; an event is
 * held or in its topic before the relay confirms it, and in the outbox before it is in the topic.
 */
static int read_all(struct sl_verify *verify)
{
    int status = sl_verify_read_places(verify);
    for (size_t i = 0; i < verify->consumer_count && status == 0; i++) {
        status = sl_verify_read_inbox(verify, i);
    }
    status = status == 0 ? find_trimmed(verify) : -1;
    for (size_t i = 0; i < verify->store_count && status == 0; i++) {
        if (verify->stores[i].is_source) {
            status = sl_verify_read_outbox(verify, i, SL_POSITION_START);
            status = status == 0 ? sl_verify_read_held(verify, i) : -1;
        }
    }
    status = status == 0 ? sl_verify_read_ends(verify) : -1;
    status = status == 0 ? sl_verify_read_topics(verify) : -1;
    for (size_t i = 0; i < verify->store_count && status == 0; i++) {
        if (verify->stores[i].is_source) {
            status = sl_verify_read_outbox(verify, i, verify->stores[i].last);
        }
    }
    return status;
}

static void close_all(struct sl_verify *verify)
{
    sl_broker_close(verify->broker);
    for (size_t i = 0; i < verify->store_count; i++) {
        sl_store_close(verify->stores[i].store);
        sl_free(verify->stores[i].shown);
    }
    for (size_t i = 0; i < verify->consumer_count; i++) {
        sl_free(verify->consumers[i].name);
    }
    for (size_t i = 0; i < verify->topic_count; i++) {
        sl_free(verify->topics[i]);
    }
    sl_table_deinit(&verify->topic_numbers);
    sl_free(verify->topics);
    sl_free(verify->readers);
    sl_free(verify->partitions);
    sl_sorter_close(verify->entries);
    sl_sorter_close(verify->keys);
}

int sl_verify(const struct sl_verify_options *options, struct sl_verify_report **ret_report,
    struct sluice_error *error)
{
    struct sl_verify *verify = sl_allocate(sizeof(*verify));
    struct sl_verify_report *report = sl_allocate(sizeof(*report));
    if (verify == NULL || report == NULL) {
        sl_free(verify);
        sl_free(report);
        return sl_fail_memory(error, "comparing");
    }
    size_t memory_max = options->memory_max == 0 ? MEMORY_MAX : options->memory_max;
    verify->options = options;
    verify->report = report;
    verify->error = error;
    verify->horizon_ms = sl_clock_wall_ms() - options->horizon_ms;
    verify->entries = sl_sorter_open(sizeof(struct sl_entry), memory_max / 4 * 3);
    verify->keys = sl_sorter_open(sizeof(struct sl_key_entry), memory_max / 4);
    sl_table_init(&verify->topic_numbers);
    int status = verify->entries == NULL || verify->keys == NULL
        ? sl_fail_memory(error, "comparing")
        : open_all(verify);
    status = status == 0 ? find_out_sole(verify) : -1;
    status = status == 0 ? read_all(verify) : -1;
    status = status == 0 ? sl_verify_judge(verify) : -1;
    close_all(verify);
    sl_free(verify);
    if (status != 0) {
        sl_free(report);
        return -1;
    }
    *ret_report = report;
    return 0;
}
