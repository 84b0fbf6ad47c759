/*
 * Clients of librdkafka: their properties, their words, and what their errors mean to us.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/kafka.h"

enum { LOG_INTERVAL_MS = 5000 };

/* Of all clients; the user's properties come after them, a client's own last. */
static const char *const common_properties[] = {
    "client.id",
    "sluice",
    "socket.keepalive.enable",
    "true",
    "socket.nagle.disable",
    "true",
    "reconnect.backoff.ms",
    "50",
    "reconnect.backoff.max.ms",
    "1000",
    "allow.auto.create.topics",
    "false",
    "log.connection.close",
    "false",
    NULL,
};

/*
 * librdkafka logs from threads of its own, and says the same thing over and over while the cluster
 * is away. What matters comes back as an error of a call; of the rest one line in a while is kept.
 */
static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    static _Atomic int64_t logged_ms;
    int64_t now_ms = sl_clock_monotonic_ms();
    int64_t last_ms = atomic_load(&logged_ms);
    bool is_due = last_ms == 0 || now_ms - last_ms >= LOG_INTERVAL_MS;
    if (level > LOG_ERR) {
        sl_log(SL_LOG_DEBUG, "librdkafka", "client=%s about=%s text=\"%s\"", rd_kafka_name(handle),
            facility, text);
    } else if (is_due && atomic_compare_exchange_strong(&logged_ms, &last_ms, now_ms)) {
        sl_log(SL_LOG_WARN, "librdkafka", "client=%s about=%s text=\"%s\"", rd_kafka_name(handle),
            facility, text);
    }
}

static void on_error(rd_kafka_t *handle, int code, const char *reason, void *opaque)
{
    struct sl_kafka_client *client = opaque;
    (void) handle;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        client->is_down = true;
        return; /* the reason was the error before */
    }
    snprintf(client->cause, sizeof(client->cause), "%s", reason);
}

static int set_property(
    rd_kafka_conf_t *conf, const char *name, const char *value, struct sluice_error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof(reason)) == RD_KAFKA_CONF_OK) {
        return 0;
    }
    /* librdkafka's reason may quote the value, which may be a password. */
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "the Kafka client refuses the property '%.100s'; see librdkafka's CONFIGURATION.md for "
        "names and values, and the properties file of the broker's URL",
        name);
}

static int set_properties(
    rd_kafka_conf_t *conf, const char *const *properties, struct sluice_error *error)
{
    for (size_t i = 0; properties != NULL && properties[i] != NULL; i += 2) {
        if (set_property(conf, properties[i], properties[i + 1], error) != 0) {
            return -1;
        }
    }
    return 0;
}

static int fill_conf(const struct sl_kafka *kafka, const struct sl_kafka_setup *setup,
    rd_kafka_conf_t *conf, struct sluice_error *error)
{
    if (set_properties(conf, common_properties, error) != 0 ||
        set_properties(conf, setup->defaults, error) != 0 ||
        set_property(conf, "bootstrap.servers", kafka->servers, error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < kafka->property_count; i++) {
        const struct sl_kafka_property *property = &kafka->properties[i];
        if (set_property(conf, property->name, property->value, error) != 0) {
            return -1;
        }
    }
    if (set_properties(conf, setup->properties, error) != 0) {
        return -1;
    }
    return setup->group == NULL ? 0 : set_property(conf, "group.id", setup->group, error);
}

int sl_kafka_client_open(struct sl_kafka *kafka, const struct sl_kafka_setup *setup,
    struct sl_kafka_client *client, struct sluice_error *error)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (fill_conf(kafka, setup, conf, error) != 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    client->kafka = kafka;
    client->is_down = false;
    client->cause[0] = '\0';
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (setup->on_delivery != NULL) {
        rd_kafka_conf_set_dr_msg_cb(conf, setup->on_delivery);
    }
    if (setup->on_rebalance != NULL) {
        rd_kafka_conf_set_rebalance_cb(conf, setup->on_rebalance);
    }
    client->handle = rd_kafka_new(setup->type, conf, reason, sizeof(reason));
    if (client->handle == NULL) {
        rd_kafka_conf_destroy(conf);
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "cannot make a Kafka client: %.300s; check the properties file of the broker's URL",
            reason);
    }
    return 0;
}

void sl_kafka_client_close(struct sl_kafka_client *client)
{
    if (client->handle != NULL) {
        rd_kafka_destroy_flags(client->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        client->handle = NULL;
    }
}

bool sl_kafka_is_condemning(rd_kafka_resp_err_t code)
{
    switch ((int) code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return true;
    default:
        return false;
    }
}

/* Whether nobody has answered, so that what is known of the connection is the reason. */
static bool is_silence(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT ||
        code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
        code == RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE || code == RD_KAFKA_RESP_ERR__RESOLVE;
}

/* Something answers there, but does not speak as a Kafka broker does to a client like this one. */
static bool is_another_protocol(const char *cause)
{
    return strstr(cause, "ApiVersion") != NULL || strstr(cause, "Invalid response size") != NULL ||
        strstr(cause, "SSL handshake") != NULL || strstr(cause, "security.protocol") != NULL;
}

static int fail_silence(
    const struct sl_kafka_client *client, const char *what, struct sluice_error *error)
{
    const char *servers = client->kafka->servers;
    const char *cause = client->cause[0] == '\0' ? "no answer in time" : client->cause;
    if (strstr(cause, "uthentication") != NULL || strstr(cause, "SASL") != NULL) {
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
            "%s: Kafka at %.100s does not let this client in: %.150s; check security.protocol, "
            "user and password in the properties file",
            what, servers, cause);
    }
    if (is_another_protocol(cause)) {
        return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
            "%s: what answers at %.100s is no Kafka broker, or wants TLS: %.150s; check the port, "
            "or set security.protocol in the properties file",
            what, servers, cause);
    }
    return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY,
        "%s: no Kafka broker answers at %.100s: %.200s; start it, or correct the address", what,
        servers, cause);
}

int sl_kafka_fail(struct sl_kafka_client *client, rd_kafka_resp_err_t code, const char *what,
    struct sluice_error *error)
{
    const char *reason = rd_kafka_err2str(code);
    if (client->handle != NULL && !client->is_member && is_silence(code)) {
        rd_kafka_poll(client->handle, 0); /* what it has to say of its connections */
    }
    if (is_silence(code)) {
        fail_silence(client, what, error);
    } else if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
        code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE) {
        sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
            "%s: Kafka finds it too large; raise the topic's max.message.bytes, or publish a "
            "reference to the payload",
            what);
    } else if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
        code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
        code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) {
        sl_fail(error, SLUICE_READ_ONLY,
            sl_kafka_is_condemning(code) ? SLUICE_REJECT : SLUICE_RETRY,
            "%s: Kafka does not allow it to this user (%s); give the user the right (ACL)", what,
            reason);
    } else if (code == RD_KAFKA_RESP_ERR_INVALID_RECORD) {
        sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "%s: Kafka does not take the record (%s); a compacted topic takes none without a key",
            what, reason);
    } else {
        sl_fail(error,
            code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? SLUICE_NOT_FOUND : SLUICE_UNAVAILABLE,
            sl_kafka_is_condemning(code) ? SLUICE_REJECT : SLUICE_RETRY, "%s: Kafka says: %s", what,
            reason);
    }
    error->library_code = (int) code;
    return -1;
}

int sl_kafka_fail_ask(struct sl_kafka_client *client, rd_kafka_resp_err_t code, const char *what,
    struct sluice_error *error)
{
    sl_kafka_fail(client, code, what, error);
    if (is_silence(code)) {
        client->kafka->down_until_ms = sl_clock_monotonic_ms() + SL_KAFKA_DOWN_MS;
        client->kafka->down_error = *error;
    }
    return -1;
}

int sl_kafka_look(struct sl_kafka *kafka, struct sluice_error *error)
{
    static const char *const properties[] = {"enable.partition.eof", "true", "fetch.wait.max.ms",
        "100", "enable.auto.commit", "false", "auto.offset.reset", "earliest", NULL};
    if (sl_clock_monotonic_ms() < kafka->down_until_ms) {
        *error = kafka->down_error;
        return -1;
    }
    if (kafka->look.handle != NULL) {
        rd_kafka_poll(kafka->look.handle, 0);
        return 0;
    }
    const struct sl_kafka_setup setup = {.type = RD_KAFKA_CONSUMER, .properties = properties};
    return sl_kafka_client_open(kafka, &setup, &kafka->look, error);
}
