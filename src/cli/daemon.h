/*
 * cli/daemon.h - the parts of a process that serves: relays, gateway, console, and its signals.
 *
 *   state      | opened         | SIGTERM, SIGINT, HUP  | all parts have stopped
 *   -----------+----------------+-----------------------+------------------------
 *   opening    | serving (ready |                       |
 *              | line)          |                       |
 *   serving    |                | stopping              |
 *   stopping   |                | the process ends at   | ended
 *              |                | once (a second signal)|
 *
 * A part that cannot be opened ends what is open already; the error is the process' one message.
 */
#ifndef SL_CLI_DAEMON_H
#define SL_CLI_DAEMON_H

#include "cli/gateway_part.h"
#include "cli/relay_thread.h"

struct sl_daemon;

struct sl_daemon_options {
    const struct sl_config *config; /* borrowed until the daemon is closed */
    bool has_relay;
    bool has_gateway;
    const char *data_folder; /* for the ready line, or NULL */
};

/**
 * Open every part that the options and the config name.
 *
 * On success `*ret_daemon` is the caller's, to be given to sl_daemon_close after sl_daemon_run. On
 * failure everything is closed again, and the loop must turn once more.
 */
int sl_daemon_open(uv_loop_t *loop, const struct sl_daemon_options *options,
    struct sl_daemon **ret_daemon, struct sluice_error *error) __attribute__((warn_unused_result));

/**
 * Print the ready line and serve until a signal, or until a relay that is alone has halted. Returns
 * the exit status. `on_stop` (may be NULL) is called once when stopping begins: whoever added
 * handles of his own to the loop closes them then.
 */
int sl_daemon_run(struct sl_daemon *daemon, void (*on_stop)(void *context), void *context)
    __attribute__((warn_unused_result));

/**
 * Close a daemon that has run; its memory is freed when the loop has turned once more.
 */
void sl_daemon_close(struct sl_daemon *daemon);

/**
 * The gateway's and the console's URLs, or NULL. The daemon's.
 */
const char *sl_daemon_gateway_url(const struct sl_daemon *daemon);
/** As above. */
const char *sl_daemon_console_url(const struct sl_daemon *daemon);

#endif
