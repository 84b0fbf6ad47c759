#include "broker/kafka.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/url.h"
#include "broker/kafka_producer.h"

enum { PROPERTIES_SIZE_MAX = 65536, PARTITIONS_MAX = 10000 };

/* What a client of ours sets itself, since its promises hang on it. */
static const char *const owned_properties[] = {"bootstrap.servers", "enable.idempotence", "acks",
    "request.required.acks", "partitioner", "message.timeout.ms", "delivery.timeout.ms",
    "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "group.id",
    "enable.partition.eof", "transactional.id", "allow.auto.create.topics"};

static bool free_group(void *context, struct sl_text name, void *value)
{
    (void) context;
    (void) name;
    sl_kafka_client_close(value);
    sl_free(value);
    return true;
}

static void close_kafka(struct sl_broker *broker)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    sl_kafka_producer_close(kafka->producer);
    sl_table_each(&kafka->groups, free_group, NULL);
    sl_table_deinit(&kafka->groups);
    sl_kafka_client_close(&kafka->look);
    for (size_t i = 0; i < kafka->property_count; i++) {
        sl_free(kafka->properties[i].name);
        sl_free(kafka->properties[i].value);
    }
    sl_free(kafka->servers);
    sl_free(kafka);
}

static int attach(struct sl_broker *broker, uv_loop_t *loop, struct sluice_error *error)
{
    (void) error;
    ((struct sl_kafka *) broker)->loop = loop;
    return 0;
}

static int retain(struct sl_broker *broker, const struct sl_retention *retention,
    int64_t *ret_deleted, struct sluice_error *error)
{
    /* Kafka does its own, by the topics' retention.ms and retention.bytes. */
    (void) broker;
    (void) retention;
    (void) error;
    *ret_deleted = 0;
    return 0;
}

static const char *epoch(struct sl_broker *broker)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    if (kafka->base.epoch[0] == '0' && sl_kafka_look(kafka, &(struct sluice_error) {0}) == 0) {
        sl_kafka_learn_epoch(kafka, kafka->look.handle, SL_KAFKA_ASK_TIMEOUT_MS);
    }
    return kafka->base.epoch;
}

static int open_reader(struct sl_broker *broker, const struct sl_reader_options *options,
    const struct sl_reader_wake *wake, struct sl_reader **ret_reader, struct sluice_error *error)
{
    struct sl_kafka *kafka = (struct sl_kafka *) broker;
    return options->start == SL_READ_COMMITTED
        ? sl_kafka_open_member(kafka, options, wake, ret_reader, error)
        : sl_kafka_open_reader(kafka, options, wake, ret_reader, error);
}

static const struct sl_broker_ops kafka_ops = {
    .close = close_kafka,
    .epoch = epoch,
    .attach = attach,
    .append = sl_kafka_append,
    .append_once = sl_kafka_append_once,
    .source_position = sl_kafka_source_position,
    .each_partition = sl_kafka_each_partition,
    .committed = sl_kafka_committed,
    .time_at = sl_kafka_time_at,
    .retain = retain,
    .open_reader = open_reader,
};

static bool is_owned(struct sl_text name)
{
    for (size_t i = 0; i < sizeof(owned_properties) / sizeof(owned_properties[0]); i++) {
        if (sl_text_equal(name, sl_text_of(owned_properties[i]))) {
            return true;
        }
    }
    return false;
}

/* One line "name=value"; comments and empty lines are passed over. */
static int take_property(
    struct sl_kafka *kafka, struct sl_text line, int number, struct sluice_error *error)
{
    line = sl_text_trim(line);
    if (line.size == 0 || line.data[0] == '#' || line.data[0] == '!') {
        return 0;
    }
    const char *equals = memchr(line.data, '=', line.size);
    if (equals == NULL) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "line %d of the Kafka properties file is not name=value", number);
    }
    struct sl_text name = sl_text_trim((struct sl_text) {line.data, (size_t) (equals - line.data)});
    struct sl_text value =
        sl_text_trim((struct sl_text) {equals + 1, line.size - (size_t) (equals + 1 - line.data)});
    if (is_owned(name)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "line %d of the Kafka properties file sets '%.*s', which sluice sets itself; remove it",
            number, (int) name.size, name.data);
    }
    if (kafka->property_count == SL_KAFKA_PROPERTIES_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the Kafka properties file has more than %d properties", SL_KAFKA_PROPERTIES_MAX);
    }
    struct sl_kafka_property *property = &kafka->properties[kafka->property_count++];
    property->name = sl_copy_bytes(name.data, name.size);
    property->value = sl_copy_bytes(value.data, value.size);
    return property->name == NULL || property->value == NULL
        ? sl_fail_memory(error, "the Kafka properties")
        : 0;
}

static int read_file(const char *path, char *ret_text, size_t *ret_size, struct sluice_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return sl_fail_system(error, errno, "cannot read the Kafka properties file", path);
    }
    *ret_size = fread(ret_text, 1, PROPERTIES_SIZE_MAX, file);
    bool is_failed = ferror(file) != 0;
    fclose(file);
    if (is_failed || *ret_size == PROPERTIES_SIZE_MAX) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "the Kafka properties file %.200s cannot be read, or is no text of less than 64 KiB",
            path);
    }
    return 0;
}

static int take_properties(struct sl_kafka *kafka, struct sl_text path, struct sluice_error *error)
{
    char *name = sl_copy_bytes(path.data, path.size);
    char *text = sl_allocate(PROPERTIES_SIZE_MAX);
    struct sl_text rest = {text, 0};
    struct sl_text line;
    int status = name == NULL || text == NULL ? sl_fail_memory(error, "the Kafka properties")
                                              : read_file(name, text, &rest.size, error);
    for (int number = 1; status == 0 && sl_text_split(&rest, '\n', &line); number++) {
        if (line.size > 0 && line.data[line.size - 1] == '\r') {
            line.size--;
        }
        status = take_property(kafka, line, number, error);
    }
    if (text != NULL) {
        explicit_bzero(text, PROPERTIES_SIZE_MAX);
    }
    sl_free(text);
    sl_free(name);
    return status;
}

static int take_parameter(
    struct sl_kafka *kafka, struct sl_text name, struct sl_text value, struct sluice_error *error)
{
    int64_t number;
    if (sl_text_equal(name, SL_TEXT("create_topics"))) {
        kafka->may_create_topics = sl_text_equal(value, SL_TEXT("true"));
        if (kafka->may_create_topics || sl_text_equal(value, SL_TEXT("false"))) {
            return 0;
        }
    } else if (sl_text_equal(name, SL_TEXT("partitions"))) {
        if (sl_parse_i64(value, &number) && number >= 1 && number <= PARTITIONS_MAX) {
            kafka->partition_count = (int) number;
            return 0;
        }
    } else if (sl_text_equal(name, SL_TEXT("properties")) && value.size > 0) {
        return take_properties(kafka, value, error);
    }
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "the broker's URL has '%.*s=...', which is not create_topics=true|false, partitions=1..%d "
        "or properties=FILE",
        (int) (name.size > 64 ? 64 : name.size), name.data, PARTITIONS_MAX);
}

static bool are_servers(struct sl_text servers)
{
    struct sl_text rest = servers;
    struct sl_text server;
    bool is_first = true;
    while (sl_text_split(&rest, ',', &server)) {
        struct sl_text host;
        uint16_t port;
        is_first = false;
        if (server.size == 0 || server.data[0] == ':' || memchr(server.data, '@', server.size) ||
            memchr(server.data, '/', server.size) || !sl_url_parse_address(server, &host, &port) ||
            port == 0) {
            return false;
        }
    }
    return !is_first;
}

static int parse_url(struct sl_kafka *kafka, const char *url, struct sluice_error *error)
{
    static const char scheme[] = "kafka://";
    struct sl_text rest = sl_text_of(url);
    struct sl_text servers = {NULL, 0};
    struct sl_text parameter;
    if (strncmp(url, scheme, sizeof(scheme) - 1) == 0) {
        rest = (struct sl_text) {url + sizeof(scheme) - 1, rest.size - (sizeof(scheme) - 1)};
        sl_text_split(&rest, '?', &servers);
    }
    if (servers.size > 0 && servers.data[servers.size - 1] == '/') {
        servers.size--;
    }
    if (!are_servers(servers)) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "a Kafka broker's URL is kafka://host:port[,host:port...]; users and passwords go "
            "into a file: kafka://host:port?properties=FILE");
    }
    kafka->servers = sl_copy_bytes(servers.data, servers.size);
    if (kafka->servers == NULL) {
        return sl_fail_memory(error, "a broker");
    }
    while (rest.data != NULL && sl_text_split(&rest, '&', &parameter)) {
        struct sl_text name;
        sl_text_split(&parameter, '=', &name);
        if (take_parameter(kafka, name, parameter, error) != 0) {
            return -1;
        }
    }
    return 0;
}

int sl_kafka_open(const char *url, struct sl_broker **ret_broker, struct sluice_error *error)
{
    struct sl_kafka *kafka = sl_allocate(sizeof(*kafka));
    if (kafka == NULL) {
        return sl_fail_memory(error, "a broker");
    }
    kafka->base.ops = &kafka_ops;
    kafka->base.needs_lease = true;
    snprintf(kafka->base.epoch, sizeof(kafka->base.epoch), "00000000");
    kafka->may_create_topics = true;
    kafka->partition_count = -1;
    kafka->append_ms_max = SL_KAFKA_APPEND_MS;
    sl_table_init(&kafka->groups);
    if (parse_url(kafka, url, error) != 0) {
        close_kafka(&kafka->base);
        return -1;
    }
    *ret_broker = &kafka->base;
    return 0;
}
