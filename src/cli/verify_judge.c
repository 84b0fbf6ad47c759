/* What verify finds: everything of one event id together, then everything of one key. */
#include <endian.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/verify_internal.h"

enum { COPIES_MAX = 64 }; /* of one event that are told late or not; more are only counted */

/* What there is of one event id. */
struct group {
    unsigned char id[SL_VERIFY_ID_SIZE];
    bool is_hashed;
    int64_t row_count;
    struct sl_entry row; /* the first */
    bool is_held;        /* at the relay's stage */
    int64_t record_count;
    struct sl_entry record; /* the first that the row's topic has, or just the first */
    bool has_own_record;    /* in the row's topic */
    uint64_t expected;      /* consumers that are past one of the records */
    uint64_t in_topic;      /* consumers of the topics that have a record */
    uint64_t marked;
    uint64_t held; /* at the consumer's stage */
    int64_t marked_ms;
};

/* When the event was made by its id, if that tells; else by what its row or record says. */
static int64_t made_ms(const struct group *group)
{
    uint64_t word;
    memcpy(&word, group->id, sizeof(word));
    if (!group->is_hashed && group->id[6] >> 4 == 7) {
        return (int64_t) (be64toh(word) >> 16);
    }
    return group->row_count > 0   ? group->row.time_ms
        : group->record_count > 0 ? group->record.time_ms
                                  : group->marked_ms;
}

static struct sl_wrong wrong_of_record(
    const struct sl_verify *verify, enum sl_breach breach, const struct group *group)
{
    struct sl_wrong wrong = {.breach = breach, .partition = -1};
    sl_verify_write_id(group->id, group->is_hashed, wrong.id);
    if (group->record_count > 0) {
        wrong.partition = (int32_t) group->record.first;
        wrong.offset = (int64_t) group->record.second;
        snprintf(wrong.topic, sizeof(wrong.topic), "%s", verify->topics[group->record.topic]);
    }
    return wrong;
}

static void note_row(struct sl_verify *verify, enum sl_breach breach, const struct group *group)
{
    struct sl_wrong wrong = wrong_of_record(verify, breach, group);
    sl_verify_name_row(verify, group->row.group,
        (struct sl_position) {(int64_t) group->row.first, (int64_t) group->row.second}, &wrong);
    sl_verify_note(verify, &wrong);
}

/* Whether retention may have taken a row's record out of its topic: in any of its partitions. */
static bool may_be_removed(const struct sl_verify *verify, uint32_t topic, int64_t time_ms)
{
    for (size_t i = 0; i < verify->partition_count; i++) {
        const struct sl_verify_partition *partition = &verify->partitions[i];
        if (partition->topic == topic && partition->is_trimmed &&
            (partition->first_records == 0 || time_ms <= partition->since_ms)) {
            return true;
        }
    }
    return false;
}

static void judge_unpublished(struct sl_verify *verify, const struct group *group)
{
    struct sl_verify_counts *counts = &verify->report->counts;
    if (group->is_held) {
        counts->held++;
    } else if ((group->row.flags & SL_ENTRY_CONFIRMED) == 0) {
        counts->unsent++;
    } else if (group->row.time_ms > verify->horizon_ms) {
        counts->young++;
    } else if (may_be_removed(verify, group->row.topic, group->row.time_ms)) {
        counts->removed++;
    } else {
        note_row(verify, SL_BREACH_LOST, group);
    }
}

static void judge_row(struct sl_verify *verify, const struct group *group)
{
    struct sl_verify_counts *counts = &verify->report->counts;
    counts->committed++;
    if (group->row_count > 1) {
        note_row(verify, SL_BREACH_TWICE, group);
    }
    if (group->record_count == 0) {
        judge_unpublished(verify, group);
        return;
    }
    counts->published++;
    counts->duplicates += group->record_count - 1;
    bool is_same = group->has_own_record && group->record.key_hash == group->row.key_hash &&
        (!verify->options->is_raw || group->record.content_hash == group->row.content_hash);
    if (!is_same) {
        note_row(verify, SL_BREACH_ALTERED, group);
    }
}

static void judge_unknown_record(struct sl_verify *verify, const struct group *group)
{
    struct sl_verify_counts *counts = &verify->report->counts;
    int64_t time_ms = group->record.time_ms;
    if (!verify->report->is_sole) {
        counts->foreign += group->record_count;
    } else if (time_ms > verify->horizon_ms) {
        counts->young++;
    } else if (time_ms <= verify->outbox_since_ms) {
        counts->removed++;
    } else {
        struct sl_wrong wrong = wrong_of_record(verify, SL_BREACH_PHANTOM, group);
        sl_verify_note(verify, &wrong);
    }
}

static void note_consumer(struct sl_verify *verify, enum sl_breach breach,
    const struct group *group, const struct sl_verify_member *consumer)
{
    struct sl_wrong wrong = wrong_of_record(verify, breach, group);
    snprintf(wrong.consumer, sizeof(wrong.consumer), "%s", consumer->name);
    snprintf(wrong.database, sizeof(wrong.database), "%s", verify->stores[consumer->store].shown);
    sl_verify_note(verify, &wrong);
}

/* Whether a marker's event must be in one of the topics of its consumer, if it ever was. */
static bool must_be_there(
    const struct sl_verify *verify, const struct group *group, size_t consumer)
{
    if (!verify->consumers[consumer].has_place || group->marked_ms > verify->horizon_ms) {
        return false;
    }
    bool has_time = !group->is_hashed && group->id[6] >> 4 == 7;
    for (size_t i = 0; i < verify->partition_count; i++) {
        const struct sl_verify_partition *partition = &verify->partitions[i];
        bool is_theirs = (verify->readers[partition->topic] >> consumer & 1) != 0;
        if (is_theirs && partition->is_trimmed &&
            (!has_time || partition->first_records == 0 || made_ms(group) <= partition->since_ms)) {
            return false;
        }
    }
    return true;
}

static void judge_consumers(struct sl_verify *verify, const struct group *group)
{
    uint64_t missing = group->expected & ~group->marked & ~group->held;
    uint64_t unfounded = group->row_count == 0 ? group->marked & ~group->in_topic : 0;
    for (size_t i = 0; (missing | unfounded) >> i != 0; i++) {
        const struct sl_verify_member *consumer = &verify->consumers[i];
        if ((missing >> i & 1) != 0) {
            if (consumer->is_trimmed && made_ms(group) <= consumer->since_ms) {
                verify->report->counts.removed++;
            } else if (group->row_count > 0) {
                struct sl_wrong wrong = wrong_of_record(verify, SL_BREACH_UNAPPLIED, group);
                sl_verify_name_row(verify, group->row.group,
                    (struct sl_position) {(int64_t) group->row.first, (int64_t) group->row.second},
                    &wrong);
                snprintf(wrong.consumer, sizeof(wrong.consumer), "%s", consumer->name);
                sl_verify_note(verify, &wrong);
            } else {
                note_consumer(verify, SL_BREACH_UNAPPLIED, group, consumer);
            }
        }
        if ((unfounded >> i & 1) != 0) {
            if (must_be_there(verify, group, i)) {
                note_consumer(verify, SL_BREACH_UNFOUNDED, group, consumer);
            } else {
                verify->report->counts.removed++;
            }
        }
    }
}

static void judge_group(struct sl_verify *verify, const struct group *group)
{
    if (group->row_count > 0) {
        judge_row(verify, group);
    } else if (group->record_count > 0) {
        judge_unknown_record(verify, group);
    }
    judge_consumers(verify, group);
}

/* The row and a record of it, for the order of the key. */
static int add_to_key(struct sl_verify *verify, const struct group *group,
    const struct sl_entry *record, bool is_copy)
{
    if (group->row.key_hash == 0) {
        return 0;
    }
    struct sl_key_entry entry = {
        .source = htobe32(group->row.group),
        .topic = htobe32(group->row.topic),
        .key_hash = group->row.key_hash,
        .tick = htobe64(group->row.first),
        .position = htobe64(group->row.second),
        .is_copy = htobe32(is_copy),
        .partition = htobe32((uint32_t) record->first),
        .offset = htobe64(record->second),
    };
    return sl_sorter_add(verify->keys, &entry, verify->error);
}

static int take_record(struct sl_verify *verify, struct group *group, const struct sl_entry *entry)
{
    bool is_own = group->row_count > 0 && entry->topic == group->row.topic;
    uint64_t readers = verify->readers[entry->topic];
    verify->report->counts.records++;
    group->in_topic |= readers;
    for (size_t i = 0; readers != 0 && i < verify->partition_count; i++) {
        size_t index = (verify->last_partition + i) % verify->partition_count;
        const struct sl_verify_partition *partition = &verify->partitions[index];
        if (partition->topic == entry->topic && partition->number == (int32_t) entry->first) {
            verify->last_partition = index;
            for (size_t j = 0; j < verify->consumer_count; j++) {
                bool is_past = (int64_t) entry->second < partition->committed[j];
                group->expected |= is_past ? UINT64_C(1) << j : 0;
            }
            break;
        }
    }
    bool is_copy = group->record_count > 0 && (group->has_own_record || !is_own);
    if (is_copy && (entry->flags & SL_ENTRY_REPLAYED) != 0) {
        verify->report->counts.replayed++;
    }
    if (group->record_count++ == 0 || (is_own && !group->has_own_record)) {
        group->record = *entry;
    }
    group->has_own_record = group->has_own_record || is_own;
    return is_own ? add_to_key(verify, group, entry, is_copy) : 0;
}

static int take(struct sl_verify *verify, struct group *group, const struct sl_entry *packed)
{
    struct sl_entry entry = *packed;
    entry.kind = be32toh(entry.kind);
    entry.group = be32toh(entry.group);
    entry.first = be64toh(entry.first);
    entry.second = be64toh(entry.second);
    group->is_hashed = (entry.flags & SL_ENTRY_HASHED_ID) != 0;
    switch ((enum sl_entry_kind) entry.kind) {
    case SL_ENTRY_ROW:
        if (group->row_count++ == 0) {
            group->row = entry;
        }
        return 0;
    case SL_ENTRY_HELD:
        if (entry.group == SL_VERIFY_RELAY_STAGE) {
            group->is_held = true;
        } else {
            group->held |= UINT64_C(1) << entry.group;
        }
        return 0;
    case SL_ENTRY_RECORD:
        return take_record(verify, group, &entry);
    case SL_ENTRY_MARKER:
        verify->report->counts.markers++;
        group->marked |= UINT64_C(1) << entry.group;
        group->marked_ms = entry.time_ms;
        return 0;
    }
    return 0;
}

static int judge_entries(struct sl_verify *verify)
{
    struct group group = {.row_count = 0};
    bool is_open = false;
    const void *record;
    int status;
    while ((status = sl_sorter_next(verify->entries, &record, verify->error)) == 1) {
        const struct sl_entry *entry = record;
        if (!is_open || memcmp(entry->id, group.id, SL_VERIFY_ID_SIZE) != 0) {
            if (is_open) {
                judge_group(verify, &group);
            }
            group = (struct group) {.row_count = 0};
            memcpy(group.id, entry->id, SL_VERIFY_ID_SIZE);
            is_open = true;
        }
        if (take(verify, &group, entry) != 0) {
            return -1;
        }
    }
    if (is_open && status == 0) {
        judge_group(verify, &group);
    }
    return status;
}

/* One key of a source in a topic, in the order of the commits. */
struct key {
    struct sl_key_entry last; /* the last first record */
    bool has_last;
    uint64_t offset_max;
    uint64_t copies[COPIES_MAX]; /* offsets of copies that nothing later stands before yet */
    size_t copy_count;
    bool is_split;
};

static void note_key(
    struct sl_verify *verify, enum sl_breach breach, const struct sl_key_entry *entry)
{
    struct sl_wrong wrong = {.breach = breach,
        .partition = (int32_t) be32toh(entry->partition),
        .offset = (int64_t) be64toh(entry->offset)};
    sl_verify_name_row(verify, be32toh(entry->source),
        (struct sl_position) {(int64_t) be64toh(entry->tick), (int64_t) be64toh(entry->position)},
        &wrong);
    snprintf(wrong.topic, sizeof(wrong.topic), "%s", verify->topics[be32toh(entry->topic)]);
    sl_verify_note(verify, &wrong);
}

/* A later event of the key: those copies that stand behind it are late. */
static void settle_copies(struct sl_verify *verify, struct key *key, uint64_t offset)
{
    size_t kept = 0;
    for (size_t i = 0; i < key->copy_count; i++) {
        if (key->copies[i] > offset) {
            verify->report->counts.late++;
        } else {
            key->copies[kept++] = key->copies[i];
        }
    }
    key->copy_count = kept;
}

static void judge_key_entry(
    struct sl_verify *verify, struct key *key, const struct sl_key_entry *entry)
{
    uint64_t offset = be64toh(entry->offset);
    if (entry->is_copy != 0) {
        if (key->copy_count < COPIES_MAX) {
            key->copies[key->copy_count++] = offset;
        }
        return;
    }
    settle_copies(verify, key, offset);
    if (key->has_last && entry->partition != key->last.partition) {
        if (!key->is_split) {
            note_key(verify, SL_BREACH_SPLIT_KEY, entry);
        }
        key->is_split = true;
    } else if (key->has_last && offset < key->offset_max) {
        note_key(verify, SL_BREACH_REORDERED, entry);
    }
    key->offset_max = offset > key->offset_max ? offset : key->offset_max;
    key->last = *entry;
    key->has_last = true;
}

static int judge_keys(struct sl_verify *verify)
{
    struct key key = {.has_last = false};
    const void *record;
    int status;
    while ((status = sl_sorter_next(verify->keys, &record, verify->error)) == 1) {
        const struct sl_key_entry *entry = record;
        if (!key.has_last || entry->source != key.last.source || entry->topic != key.last.topic ||
            entry->key_hash != key.last.key_hash) {
            key.has_last = false;
            key.is_split = false;
            key.copy_count = 0;
            key.offset_max = 0;
        }
        judge_key_entry(verify, &key, entry);
    }
    return status;
}

int sl_verify_judge(struct sl_verify *verify)
{
    struct sl_verify_report *report = verify->report;
    verify->outbox_since_ms = INT64_MIN;
    for (size_t i = 0; i < verify->store_count; i++) {
        const struct sl_verify_store *store = &verify->stores[i];
        report->source_count += store->is_source ? 1 : 0;
        if (!store->is_source ||
            sl_position_compare(store->retained_after, SL_POSITION_START) == 0) {
            continue;
        }
        int64_t since_ms = store->first_rows == 0 ? INT64_MAX : store->since_ms;
        verify->outbox_since_ms =
            since_ms > verify->outbox_since_ms ? since_ms : verify->outbox_since_ms;
    }
    report->consumer_count = verify->consumer_count;
    for (size_t i = 0; i < verify->consumer_count; i++) {
        report->idle_consumers += verify->consumers[i].has_place ? 0 : 1;
    }
    return judge_entries(verify) == 0 && judge_keys(verify) == 0 ? 0 : -1;
}
