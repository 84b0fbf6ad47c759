/*
 * lib/listeners.h - who hears an event, and calling them.
 */
#ifndef SL_LIB_LISTENERS_H
#define SL_LIB_LISTENERS_H

#include "lib/database.h"

/**
 * The first listener that hears an event in any phase, or NULL.
 */
const struct sl_listener *sl_listeners_first(
    const struct sl_registry *registry, const struct sluice_event *event);

/**
 * A copy of an event, to be freed by sl_heard_free; NULL if there is no memory.
 */
struct sl_heard *sl_heard_copy(const struct sluice_event *event, int generation)
    __attribute__((warn_unused_result));

/**
 * Keep a copy of the event, if a listener will hear it: `*ret_heard` is NULL if none will. It must
 * be given to sl_heard_keep or sl_heard_free.
 *
 * -1 if the transaction may not publish it: a limit, or nobody could be told of its end.
 */
int sl_heard_prepare(sluice_database *database, const struct sluice_event *event,
    struct sl_heard **ret_heard, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * The event is written: it belongs to the transaction. Cannot fail. NULL is fine.
 */
void sl_heard_keep(sluice_database *database, struct sl_heard *take_heard);

/**
 * Free a copy; NULL is fine.
 */
void sl_heard_free(struct sl_heard *heard);

/**
 * Forget the events that were published after the first `count`.
 */
void sl_heard_cut(struct sl_transaction *transaction, size_t count);

/**
 * Call the before-commit listeners for every event that they have not heard, those that they
 * publish meanwhile too, and wait for their tasks. -1: a veto, or a rule was broken.
 */
int sl_listeners_before_commit(sluice_database *database, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Call the listeners of the phases after the end. What fails is reported and changes nothing.
 */
void sl_listeners_after(sluice_database *database, enum sluice_completion completion);

/**
 * Fail in the name of the listener that is being called in an after-phase: `what` cannot be done
 * there. It is told as that listener's failure even if the listener ignores it.
 */
int sl_listeners_refuse(sluice_database *database, const char *what, struct sluice_error *error);

/**
 * Free the listeners of a root, after waiting for the detached ones.
 */
void sl_registry_deinit(struct sl_registry *registry);

/**
 * Free a listener; NULL is fine.
 */
void sl_listener_free(struct sl_listener *listener);

/**
 * Tell of a listener that failed after the end.
 */
void sl_listeners_report(struct sl_registry *registry, const struct sl_listener *listener,
    const struct sluice_event *event, const struct sluice_error *error);

#endif
