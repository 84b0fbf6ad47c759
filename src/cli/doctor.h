/*
 * cli/doctor.h - what could keep a system from working, looked for one by one.
 *
 * Each check leaves one finding: what was looked at, how it is, why, and what to do. Nothing is
 * changed: what has to be tried is tried in a transaction that is rolled back.
 */
#ifndef SL_CLI_DOCTOR_H
#define SL_CLI_DOCTOR_H

#include <jansson.h>

#include "broker/broker.h"
#include "cli/config.h"
#include "store/store.h"

enum sl_finding_level { SL_FINDING_OK, SL_FINDING_WARN, SL_FINDING_FAIL };

struct sl_doctor {
    const struct sl_config *config;
    json_t *findings; /* [{"level", "check", "subject", "text"}] */
    size_t counts[3]; /* by level */
    int64_t now_ms;
    const json_t *databases; /* the states of those that could be read, as console/state.h has it */
};

/**
 * Leave a finding; the text is printf's: what is wrong, why, and what to do, in one line.
 */
void sl_doctor_find(struct sl_doctor *doctor, enum sl_finding_level level, const char *check,
    const char *subject, const char *format, ...) __attribute__((format(printf, 5, 6)));

/**
 * A level's word: "ok", "warn", "fail".
 */
const char *sl_finding_name(enum sl_finding_level level);

/**
 * Look at this machine: the ports, the process that has them, and the limit of open files.
 */
void sl_doctor_look_at_machine(struct sl_doctor *doctor);

/**
 * Look at a database: whether it can be reached, read and written, and how it stands. On success
 * its state is appended to `states`; `broker` may be NULL.
 */
void sl_doctor_look_at_database(
    struct sl_doctor *doctor, const char *url, struct sl_broker *broker, json_t *states);

/**
 * Look at the broker: whether it can be reached, its topics, and where the consumers of the
 * databases stand. `broker` is NULL if it could not be opened, which was found already.
 */
void sl_doctor_look_at_broker(struct sl_doctor *doctor, struct sl_broker *broker);

/**
 * Look at the file of a URL: its owner, that of what SQLite keeps beside it, and the space left.
 */
void sl_doctor_look_at_file(struct sl_doctor *doctor, const char *path);

#endif
