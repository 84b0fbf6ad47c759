#include "lib/apply.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "event/headers.h"
#include "lib/listeners.h"
#include "lib/transaction.h"
#include "store/held_copy.h"

/* A transaction is ended after this time, so that other writers of the database get their turn. */
enum {
    TRANSACTION_TIME_MAX_US = 20000,
    TAKEN_REST_MS = 50 /* until a held event is looked at again that another member tries */
};

/*
 * A chunk is for what goes well and fast: it begins after some successes in a row, since all of it
 * is done again if one fails, and grows while it takes less than half of the time.
 */
enum { CHUNK_MAX = 64, CHUNK_TIME_US = 10000, CHUNK_STREAK = 16 };

/* What a transaction has done so far, for the counters. */
struct tally {
    int64_t applied;
    int64_t duplicates;
    int64_t failures;
    bool has_held; /* something of this consumer is held, so keys must be looked up */
};

static const struct sl_applier_handler *handler_of(
    const struct sl_applier *applier, struct sl_text topic)
{
    for (size_t i = 0; i < applier->handler_count; i++) {
        if (sl_text_equal(sl_text_of(applier->handlers[i].topic), topic)) {
            return &applier->handlers[i];
        }
    }
    return NULL;
}

static enum sl_answer answer_of(enum sluice_outcome outcome)
{
    switch (outcome) {
    case SLUICE_APPLIED:
    case SLUICE_ALREADY_APPLIED:
        return SL_ANSWER_DELIVERED;
    case SLUICE_RETRY_LATER:
        return SL_ANSWER_OUTAGE;
    case SLUICE_FAILED:
        return SL_ANSWER_FAILED;
    case SLUICE_REJECTED:
        break;
    }
    return SL_ANSWER_REJECTED;
}

/* A handler that has ended the transaction, or has tried to by our own functions. */
static int check_transaction(
    sluice_database *database, const struct sl_applier_handler *handler, struct sluice_error *error)
{
    if (sl_store_in_transaction(database->store) && !database->transaction->is_misused) {
        return 0;
    }
    /* A full disk under the handler's own statement may have ended it, too: an outage. */
    if (!sl_store_in_transaction(database->store) &&
        sl_store_explain_rollback(database->store, error) != 0) {
        return -1;
    }
    return sl_fail(error, SLUICE_HANDLER, SLUICE_FATAL,
        "the handler of %s ended the transaction that it was called in; it must neither commit nor "
        "roll back",
        handler->topic);
}

/*
 * Call the handler with NUL-terminated copies of the event's texts. A handler that ends the
 * transaction itself has broken the rule that makes its effect happen once: that is fatal.
 */
static int call_handler(struct sl_applier *applier, const struct sl_event *event,
    enum sluice_outcome *ret_outcome, struct sluice_error *reason, struct sluice_error *error)
{
    const struct sl_applier_handler *handler = handler_of(applier, event->topic);
    struct sl_headers headers;
    if (handler == NULL) {
        *ret_outcome = SLUICE_REJECTED;
        sl_fail(reason, SLUICE_INVALID, SLUICE_REJECT, "no handler is subscribed to %.*s",
            (int) event->topic.size, event->topic.data);
        return 0;
    }
    if (sl_headers_parse(event->headers, &headers, reason) != 0) {
        if (reason->reaction == SLUICE_RETRY) {
            return sl_fail_memory(error, "an event for its handler");
        }
        *ret_outcome = SLUICE_REJECTED;
        return 0;
    }
    char *key = sl_copy_bytes(event->key.data, event->key.size);
    char *type = sl_copy_bytes(event->type.data, event->type.size);
    char *payload = sl_copy_bytes(event->payload.data, event->payload.size);
    int status = key == NULL || type == NULL || payload == NULL
        ? sl_fail_memory(error, "an event for its handler")
        : 0;
    if (status == 0) {
        struct sluice_event copy = {
            .topic = handler->topic,
            .key = event->has_key ? key : NULL,
            .type = type,
            .payload = payload,
            .payload_size = event->payload.size,
            .headers = headers.items,
            .header_count = headers.count,
            .id = event->id,
            .time_ms = event->time_ms,
        };
        *ret_outcome = handler->handler(applier->database, &copy, handler->context, reason);
        status = check_transaction(applier->database, handler, error);
    }
    sl_headers_deinit(&headers);
    sl_free(key);
    sl_free(type);
    sl_free(payload);
    return status;
}

/*
 * What the handler has done must be able to commit: nothing inside of it failed for good, and no
 * before-commit listener vetoes. If not, it has failed, whatever it says.
 */
static void check_commit(
    struct sl_applier *applier, enum sluice_outcome *outcome, struct sluice_error *reason)
{
    struct sluice_error veto;
    if (sl_transaction_check_doom(applier->database, &veto) == 0 &&
        sl_listeners_before_commit(applier->database, &veto) == 0) {
        return;
    }
    *reason = veto;
    *outcome = veto.reaction == SLUICE_RETRY ? SLUICE_RETRY_LATER : SLUICE_FAILED;
}

/*
 * Keep what the handler has done. In PostgreSQL a statement that failed under the handler (a unique
 * violation, say) lets the transaction take nothing but the end of the savepoint: then the work is
 * undone. If the handler took that for "already applied", the marker alone is set again.
 */
static int keep(struct sl_applier *applier, const struct sl_mark *mark,
    const struct sl_event *event, enum sluice_outcome *outcome, struct sluice_error *reason,
    struct sluice_error *error)
{
    struct sluice_error refused;
    bool is_new;
    if (sl_transaction_unmark(applier->database, mark, true, &refused) == 0) {
        return 0;
    }
    if (refused.reaction == SLUICE_RETRY ||
        sl_transaction_unmark(applier->database, mark, false, error) != 0) {
        *error = refused;
        return -1;
    }
    if (*outcome == SLUICE_ALREADY_APPLIED) {
        return sl_store_inbox_begin(sl_database_store(applier->database), applier->name, event->id,
            sl_clock_wall_ms(), &is_new, error);
    }
    *outcome = SLUICE_FAILED;
    *reason = refused;
    return 0;
}

/* Marker, savepoint, handler. The work is there or it is not; the marker goes with it. */
static int attempt(struct sl_applier *applier, const struct sl_event *event, struct tally *tally,
    enum sl_answer *ret_answer, struct sluice_error *reason, struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(applier->database);
    struct sl_mark mark;
    bool is_new = false;
    if (sl_transaction_mark(applier->database, &mark, error) != 0) {
        return -1;
    }
    if (sl_store_inbox_begin(store, applier->name, event->id, sl_clock_wall_ms(), &is_new, error) !=
        0) {
        return -1;
    }
    if (!is_new) {
        tally->duplicates++;
        *ret_answer = SL_ANSWER_DELIVERED;
        return sl_transaction_unmark(applier->database, &mark, true, error);
    }
    enum sluice_outcome outcome = SLUICE_FAILED;
    *reason = (struct sluice_error) {.code = SLUICE_OK};
    if (call_handler(applier, event, &outcome, reason, error) != 0) {
        return -1;
    }
    if (answer_of(outcome) == SL_ANSWER_DELIVERED) {
        check_commit(applier, &outcome, reason);
    }
    int status = answer_of(outcome) == SL_ANSWER_DELIVERED
        ? keep(applier, &mark, event, &outcome, reason, error)
        : sl_transaction_unmark(applier->database, &mark, false, error);
    if (status != 0) {
        return -1;
    }
    enum sl_answer answer = answer_of(outcome);
    tally->applied += outcome == SLUICE_APPLIED ? 1 : 0;
    tally->duplicates += outcome == SLUICE_ALREADY_APPLIED ? 1 : 0;
    tally->failures += answer == SL_ANSWER_FAILED || answer == SL_ANSWER_REJECTED ? 1 : 0;
    if (reason->text[0] == '\0') {
        snprintf(reason->text, sizeof(reason->text), "the handler gave no reason");
    }
    *ret_answer = answer;
    return 0;
}

/* Apply one record, or hold it. *ret_is_outage: it stays where it is. */
static int apply_one(struct sl_applier *applier, const struct sl_event *event, struct tally *tally,
    bool *ret_is_outage, struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(applier->database);
    int64_t now_ms = sl_clock_wall_ms();
    struct sl_hold hold = {
        .stage = applier->name,
        .event = event,
        .state = SL_HELD_WAITING,
        .now_ms = now_ms,
        .reason = "waits behind an earlier event of its key",
    };
    if (tally->has_held) {
        struct sl_key_state key;
        if (sl_store_key_state(store, applier->name, event, SL_POSITION_END, &key, error) != 0) {
            return -1;
        }
        if (sl_delivery_must_wait(&applier->policy, &key)) {
            return sl_store_hold(store, &hold, error);
        }
    }
    enum sl_answer answer;
    struct sluice_error reason;
    if (attempt(applier, event, tally, &answer, &reason, error) != 0) {
        return -1;
    }
    struct sl_decision decision =
        sl_delivery_decide(&applier->policy, 0, answer, now_ms, sl_random_u64());
    if (decision.verdict == SL_VERDICT_DONE || decision.verdict == SL_VERDICT_AGAIN) {
        *ret_is_outage = decision.verdict == SL_VERDICT_AGAIN;
        return 0;
    }
    hold.state = decision.verdict == SL_VERDICT_RETRY ? SL_HELD_RETRYING : SL_HELD_FAILED;
    hold.attempts = decision.attempts;
    hold.next_attempt_ms = decision.retry_at_ms;
    hold.reason = reason.text;
    tally->has_held = true;
    return sl_store_hold(store, &hold, error);
}

static int mark_chunk(struct sl_applier *applier, const struct sl_record *records, size_t count,
    bool *ret_is_new, struct sluice_error *error)
{
    const char *event_ids[CHUNK_MAX];
    for (size_t i = 0; i < count; i++) {
        event_ids[i] = records[i].event.id;
    }
    return sl_store_inbox_begin_all(sl_database_store(applier->database), applier->name,
        &(struct sl_inbox_ids) {event_ids, count}, sl_clock_wall_ms(), ret_is_new, error);
}

/* One event of a chunk, behind its marker: it may stay, or nothing of the chunk may. */
static int try_event(struct sl_applier *applier, const struct sl_event *event, struct tally *tally,
    bool *ret_is_fine, struct sluice_error *error)
{
    enum sluice_outcome outcome = SLUICE_FAILED;
    struct sluice_error reason = {.code = SLUICE_OK};
    if (call_handler(applier, event, &outcome, &reason, error) != 0) {
        return -1;
    }
    if (answer_of(outcome) == SL_ANSWER_DELIVERED) {
        check_commit(applier, &outcome, &reason);
    }
    tally->applied += outcome == SLUICE_APPLIED ? 1 : 0;
    tally->duplicates += outcome == SLUICE_ALREADY_APPLIED ? 1 : 0;
    *ret_is_fine = answer_of(outcome) == SL_ANSWER_DELIVERED &&
        !sl_store_is_spoilt(sl_database_store(applier->database));
    return 0;
}

/* All markers, then all handlers, behind one savepoint. `*ret_is_kept`: or all is as before. */
static int apply_chunk(struct sl_applier *applier, const struct sl_record *records, size_t count,
    struct tally *tally, bool *ret_is_kept, struct sluice_error *error)
{
    struct tally sum = *tally;
    struct sl_mark mark;
    bool is_new[CHUNK_MAX];
    bool is_fine = true;
    if (sl_transaction_mark(applier->database, &mark, error) != 0 ||
        mark_chunk(applier, records, count, is_new, error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count && is_fine; i++) {
        if (!is_new[i]) {
            sum.duplicates++;
        } else if (try_event(applier, &records[i].event, &sum, &is_fine, error) != 0) {
            return -1;
        }
    }
    struct sluice_error refused = {.code = SLUICE_OK};
    if (is_fine && sl_transaction_unmark(applier->database, &mark, true, &refused) == 0) {
        *tally = sum;
        *ret_is_kept = true;
        return 0;
    }
    *ret_is_kept = false;
    if (is_fine && refused.reaction == SLUICE_RETRY) {
        *error = refused;
        return -1;
    }
    return sl_transaction_unmark(applier->database, &mark, false, error);
}

static size_t chunk_size_of(
    const struct sl_applier *applier, const struct tally *tally, size_t left)
{
    size_t size = applier->chunk_size < left ? applier->chunk_size : left;
    return tally->has_held || applier->streak < CHUNK_STREAK || size == 0 ? 1 : size;
}

/* The next events, as many as go together. */
static int apply_some(struct sl_applier *applier, const struct sl_record *records, size_t left,
    struct tally *tally, size_t *ret_done, bool *ret_is_outage, struct sluice_error *error)
{
    int64_t begun_us = sl_clock_monotonic_us();
    size_t count = chunk_size_of(applier, tally, left);
    bool is_kept = true;
    *ret_done = 0;
    if (count > 1) {
        if (apply_chunk(applier, records, count, tally, &is_kept, error) != 0) {
            return -1;
        }
        if (!is_kept) {
            applier->streak = 0;
            return 0;
        }
    } else if (apply_one(applier, &records[0].event, tally, ret_is_outage, error) != 0) {
        return -1;
    } else if (*ret_is_outage) {
        applier->streak = 0;
        return 0;
    }
    *ret_done = count;
    applier->streak = tally->has_held ? 0 : applier->streak + count;
    int64_t took_us = sl_clock_monotonic_us() - begun_us;
    if (took_us > CHUNK_TIME_US) {
        applier->chunk_size = count / 2;
    } else if (took_us < CHUNK_TIME_US / 2) {
        applier->chunk_size = count < CHUNK_MAX / 2 ? count * 2 : CHUNK_MAX;
    }
    return 0;
}

static int finish(
    struct sl_applier *applier, const struct tally *tally, int status, struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(applier->database);
    if (status == 0 && tally->applied + tally->duplicates + tally->failures > 0) {
        status = sl_store_count_consumed(store, applier->name, tally->applied, tally->duplicates,
            tally->failures, sl_clock_wall_ms(), error);
    }
    if (status == 0) {
        return sl_transaction_commit(applier->database, error);
    }
    sl_transaction_rollback(applier->database);
    return -1;
}

int sl_applier_apply(struct sl_applier *applier, const struct sl_record *records, size_t count,
    size_t *ret_done, bool *ret_is_outage, struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(applier->database);
    struct tally tally = {0};
    if (sl_transaction_begin(applier->database, SL_BY_CONSUMER, error) != 0) {
        return -1;
    }
    int64_t end_us = sl_clock_monotonic_us() + TRANSACTION_TIME_MAX_US;
    size_t done = 0;
    int status = sl_store_has_held(store, applier->name, &tally.has_held, error);
    while (status == 0 && done < count) {
        size_t more;
        status =
            apply_some(applier, records + done, count - done, &tally, &more, ret_is_outage, error);
        if (status != 0 || *ret_is_outage) {
            break;
        }
        done += more;
        if (sl_clock_monotonic_us() > end_us) {
            break;
        }
    }
    if (finish(applier, &tally, status, error) != 0) {
        return -1;
    }
    *ret_done = done;
    return 0;
}

static int settle(struct sl_applier *applier, const struct sl_held_copy *held,
    enum sl_answer answer, const struct sluice_error *reason, bool *ret_is_outage,
    struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(applier->database);
    int64_t now_ms = sl_clock_wall_ms();
    struct sl_decision decision =
        sl_delivery_decide(&applier->policy, held->attempts, answer, now_ms, sl_random_u64());
    switch (decision.verdict) {
    case SL_VERDICT_DONE:
        return sl_store_held_remove(store, held->number, now_ms, error);
    case SL_VERDICT_AGAIN:
        *ret_is_outage = true;
        return 0;
    case SL_VERDICT_RETRY:
        return sl_store_held_update(store, held->number, SL_HELD_RETRYING, decision.attempts,
            decision.retry_at_ms, reason->text, error);
    case SL_VERDICT_DEAD_LETTER:
    case SL_VERDICT_HALT:
        break;
    }
    return sl_store_held_update(
        store, held->number, SL_HELD_FAILED, decision.attempts, 0, reason->text, error);
}

static int try_held(struct sl_applier *applier, const struct sl_held_copy *held,
    struct tally *tally, bool *ret_is_outage, struct sluice_error *error)
{
    enum sl_answer answer;
    struct sluice_error reason;
    return attempt(applier, &held->event, tally, &answer, &reason, error) == 0
        ? settle(applier, held, answer, &reason, ret_is_outage, error)
        : -1;
}

int sl_applier_retry_due(struct sl_applier *applier, int64_t *ret_due_ms, bool *ret_is_outage,
    struct sluice_error *error)
{
    struct sl_store *store = sl_database_store(applier->database);
    int64_t now_ms = sl_clock_wall_ms();
    struct sl_held_copy held = {0};
    applier->is_retry_next = false;
    if (sl_store_held_due(store, applier->name, SL_POSITION_START, now_ms, sl_held_copy_take, &held,
            ret_due_ms, error) != 0) {
        return -1;
    }
    if (held.is_out_of_memory) {
        return sl_fail_memory(error, "a held event");
    }
    if (!held.is_due) {
        return 0;
    }
    bool is_ours = false;
    int status = sl_transaction_begin(applier->database, SL_BY_CONSUMER, error);
    if (status == 0) {
        struct tally tally = {0};
        status = sl_store_held_lock(store, held.number, held.attempts, &is_ours, error);
        if (status == 0 && is_ours) {
            status = try_held(applier, &held, &tally, ret_is_outage, error);
        }
        status = finish(applier, &tally, status, error);
    }
    sl_held_copy_deinit(&held);
    if (status == 0 && !is_ours) {
        *ret_due_ms = sl_clock_wall_ms() + TAKEN_REST_MS;
    }
    applier->is_retry_next = status == 0 && is_ours && !*ret_is_outage;
    return status;
}
