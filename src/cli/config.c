#include "cli/config.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "cli/suggest.h"

enum { NAME_SIZE_MAX = 128, SECRET_FILE_SIZE_MAX = 4096 };

/* Where a value stands, while it is read. */
struct place {
    enum sl_config_source source;
    int line;
    const char *text; /* for messages */
};

static void forget(struct sl_config_value *value)
{
    for (size_t i = 0; i < value->item_count; i++) {
        sl_free(value->items[i]);
    }
    *value = (struct sl_config_value) {.source = SL_FROM_DEFAULT};
}

/* Add one item to an option; the first from a stronger source throws out what was there. */
static void set_item(struct sl_config *config, enum sl_option_id id, struct sl_text text,
    const struct place *place, struct sl_problems *problems)
{
    const struct sl_option *option = sl_option_of(id);
    struct sl_config_value *value = &config->values[id];
    char reason[SL_OPTION_REASON_SIZE];
    int64_t number;
    if (option->type == SL_OPTION_SECRET && place->source != SL_FROM_ENVIRONMENT) {
        char name[64];
        sl_option_environment_name(option, name);
        sl_problems_add(problems,
            "'%s' in %s: a secret does not belong there, where others can read "
            "it; set %s_FILE to a file's name, or %s",
            option->name, place->text, name, name);
        return;
    }
    if (sl_option_check(option, text, &number, reason) != 0) {
        sl_problems_add(problems, "'%s' in %s: %s", option->name, place->text, reason);
        return;
    }
    if (value->source != place->source) {
        forget(value);
    }
    if (value->item_count > 0 && !sl_option_is_list(option)) {
        if (place->source == SL_FROM_FILE) {
            return; /* a key that stands twice is told by the check of its mapping */
        }
        sl_problems_add(problems, "'%s' in %s: it is there twice; give it once", option->name,
            place->text);
        return;
    }
    if (value->item_count == SL_OPTION_ITEMS_MAX) {
        sl_problems_add(problems, "'%s' in %s: more than %d values", option->name, place->text,
            SL_OPTION_ITEMS_MAX);
        return;
    }
    char *copy = sl_copy_bytes(text.data, text.size);
    if (copy == NULL) {
        sl_problems_add(problems, "out of memory for the config");
        return;
    }
    value->source = place->source;
    value->line = value->item_count == 0 ? place->line : value->line;
    value->items[value->item_count++] = copy;
    value->number = number;
}

/* Whether a URL of this option begins here, so that a comma before it is no part of the last. */
static bool begins_url(const struct sl_option *option, struct sl_text text)
{
    struct sl_text known[2] = {sl_text_of(option->choices), sl_text_of(option->later)};
    struct sl_text scheme;
    for (int i = 0; i < 2; i++) {
        while (sl_text_split(&known[i], ' ', &scheme)) {
            if (text.size > scheme.size && text.data[scheme.size] == ':' &&
                memcmp(text.data, scheme.data, scheme.size) == 0) {
                return true;
            }
        }
    }
    return false;
}

/*
 * A list in one text: addresses are separated by commas. URLs may hold commas of their own
 * (postgresql://a,b/app), so these are separated by a comma only where another URL begins.
 */
static void set_list(struct sl_config *config, enum sl_option_id id, struct sl_text text,
    const struct place *place, struct sl_problems *problems)
{
    const struct sl_option *option = sl_option_of(id);
    size_t start = 0;
    if (!sl_option_is_list(option)) {
        set_item(config, id, text, place, problems);
        return;
    }
    for (size_t i = 0; i < text.size; i++) {
        struct sl_text rest = {text.data + i + 1, text.size - i - 1};
        if (text.data[i] == ',' &&
            (option->type != SL_OPTION_URLS || begins_url(option, sl_text_trim(rest)))) {
            struct sl_text item = {text.data + start, i - start};
            set_item(config, id, sl_text_trim(item), place, problems);
            start = i + 1;
        }
    }
    struct sl_text last = {text.data + start, text.size - start};
    set_item(config, id, sl_text_trim(last), place, problems);
}

static void read_value(struct sl_config *config, enum sl_option_id id, struct sl_yaml_file *file,
    const struct sl_yaml_pair *pair, struct sl_problems *problems)
{
    const struct sl_option *option = sl_option_of(id);
    const yaml_node_t *node = pair->value;
    const yaml_node_t *item;
    char text[SL_OPTION_REASON_SIZE];
    snprintf(text, sizeof(text), "%.200s line %d", file->name, pair->line);
    struct place place = {SL_FROM_FILE, pair->line, text};
    if (node->type == YAML_SEQUENCE_NODE && sl_option_is_list(option)) {
        for (size_t i = 0; (item = sl_yaml_item(file, node, i)) != NULL; i++) {
            snprintf(text, sizeof(text), "%.200s line %d", file->name, sl_yaml_line(item));
            set_item(config, id, sl_yaml_text(item), &place, problems);
        }
        if (sl_yaml_item(file, node, 0) == NULL) {
            sl_problems_add(problems, "'%s' in %s: the list is empty; name at least one, or remove "
                "the key for its default", option->name, text);
        }
        return;
    }
    if (node->type != YAML_SCALAR_NODE || sl_yaml_is_null(node)) {
        struct sl_buffer allowed;
        sl_buffer_init(&allowed, SL_OPTION_REASON_SIZE);
        sl_option_describe(option, &allowed);
        sl_problems_add(problems, "'%s' in %s: %s%s; allowed: %s", option->name, text,
            sl_yaml_is_null(node) ? "it has no value" : "it is ",
            sl_yaml_is_null(node) ? "" : sl_yaml_kind(node), allowed.data);
        sl_buffer_deinit(&allowed);
        return;
    }
    set_item(config, id, sl_yaml_text(node), &place, problems);
}

static void report_unknown(const char *name, const char *place, struct sl_problems *problems)
{
    const char *nearest = sl_option_nearest(sl_text_of(name));
    sl_problems_add(problems, "unknown key '%s' in %s%s%s%s", name, place,
        nearest == NULL ? "; `sluice help config` lists the keys" : "; did you mean '",
        nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
}

static void read_mapping(struct sl_config *config, struct sl_yaml_file *file,
    const yaml_node_t *node, const char *prefix, struct sl_problems *problems)
{
    struct sl_yaml_pair pair;
    char name[NAME_SIZE_MAX];
    char place[SL_OPTION_REASON_SIZE];
    sl_yaml_check_keys(file, node, problems);
    for (size_t i = 0; sl_yaml_pair(file, node, i, &pair); i++) {
        snprintf(name, sizeof(name), "%s%.*s", prefix,
            (int) (pair.key.size > 80 ? 80 : pair.key.size), pair.key.data);
        snprintf(place, sizeof(place), "%.200s line %d", file->name, pair.line);
        int id = sl_option_find(sl_text_of(name));
        if (id >= 0) {
            read_value(config, (enum sl_option_id) id, file, &pair, problems);
        } else if (strcmp(name, "gateway.routes") == 0) {
            /* Given twice, the mapping's check has told already. */
            sl_routes_deinit(&config->routes);
            if (!sl_yaml_is_null(pair.value) &&
                sl_routes_read(file, pair.value, &config->routes, problems) != 0) {
                sl_problems_add(problems, "out of memory for the routes");
            }
        } else if (!sl_option_is_section(sl_text_of(name))) {
            if (pair.key.size > 0) {
                report_unknown(name, place, problems);
            }
        } else if (pair.value->type == YAML_MAPPING_NODE) {
            char deeper[NAME_SIZE_MAX + 1];
            snprintf(deeper, sizeof(deeper), "%s.", name);
            read_mapping(config, file, pair.value, deeper, problems);
        } else if (!sl_yaml_is_null(pair.value)) {
            sl_problems_add(problems, "'%s' in %s is %s; it takes keys of its own below it, "
                "indented", name, place, sl_yaml_kind(pair.value));
        }
    }
}

static void read_file(struct sl_config *config, const char *name, struct sl_problems *problems)
{
    struct sl_yaml_file file;
    struct sluice_error error;
    if (sl_yaml_file_open(&file, name, &error) != 0) {
        sl_problems_add(problems, "%s", error.text);
        return;
    }
    const yaml_node_t *root = sl_yaml_root(&file);
    if (root != NULL && root->type == YAML_MAPPING_NODE) {
        read_mapping(config, &file, root, "", problems);
    } else if (root != NULL && !sl_yaml_is_null(root)) {
        sl_problems_add(problems, "%s line %d: the file is %s; a config is a mapping of keys, as "
            "in 'database: sqlite:app.db'", name, sl_yaml_line(root), sl_yaml_kind(root));
    }
    sl_yaml_file_close(&file);
}

/* The value of NAME=value in the environment, or NULL. */
static const char *environment_value(char *const *environment, const char *name)
{
    size_t size = strlen(name);
    for (char *const *entry = environment; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, name, size) == 0 && (*entry)[size] == '=') {
            return *entry + size + 1;
        }
    }
    return NULL;
}

/* SLUICE_DATABASE_FILE=/run/secrets/database: the value is the file's first line. */
static void read_secret_file(struct sl_config *config, enum sl_option_id id, const char *variable,
    const char *name, struct sl_problems *problems)
{
    char line[SECRET_FILE_SIZE_MAX + 2];
    struct place place = {SL_FROM_ENVIRONMENT, 0, variable};
    FILE *stream = fopen(name, "re");
    const char *read = stream == NULL ? NULL : fgets(line, sizeof(line), stream);
    int number = stream == NULL || ferror(stream) ? errno : 0;
    if (stream != NULL) {
        fclose(stream);
    }
    if (read == NULL) {
        sl_problems_add(problems, "'%s' in %s: cannot read '%s': %s; it must be a file whose first "
            "line is the value", sl_option_of(id)->name, variable, name,
            number == 0 ? "it is empty" : strerror(number));
        return;
    }
    line[strcspn(line, "\r\n")] = '\0';
    set_list(config, id, sl_text_trim(sl_text_of(line)), &place, problems);
}

static void read_environment(
    struct sl_config *config, char *const *environment, struct sl_problems *problems)
{
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        enum sl_option_id id = (enum sl_option_id) i;
        char name[64 + 8];
        sl_option_environment_name(sl_option_of(id), name);
        const char *value = environment_value(environment, name);
        struct place place = {SL_FROM_ENVIRONMENT, 0, name};
        if (value != NULL) {
            set_list(config, id, sl_text_of(value), &place, problems);
        }
        size_t size = strlen(name);
        snprintf(name + size, sizeof(name) - size, "_FILE");
        const char *file =
            sl_option_of(id)->is_secret ? environment_value(environment, name) : NULL;
        if (file != NULL && value != NULL) {
            sl_problems_add(problems, "both %.*s and %s are set; keep one of them", (int) size,
                name, name);
        } else if (file != NULL) {
            read_secret_file(config, id, name, file, problems);
        }
    }
}

void sl_config_check_environment(char *const *environment, struct sl_problems *warnings)
{
    for (char *const *entry = environment; entry != NULL && *entry != NULL; entry++) {
        struct sl_suggestion suggestion;
        struct sl_text name = {*entry, strcspn(*entry, "=")};
        char known[SL_OPTION_COUNT][64 + 8];
        if (strncmp(*entry, "SLUICE_", 7) != 0) {
            continue;
        }
        sl_suggestion_init(&suggestion, name);
        for (int i = 0; i < SL_OPTION_COUNT; i++) {
            sl_option_environment_name(sl_option_of((enum sl_option_id) i), known[i]);
            sl_suggestion_offer(&suggestion, known[i]);
        }
        if (suggestion.distance > 0 && suggestion.distance <= 2) {
            sl_problems_add(warnings, "the variable %.*s has no effect; did you mean %s?",
                (int) name.size, name.data, suggestion.best);
        }
    }
}

static void set_defaults(struct sl_config *config, struct sl_problems *problems)
{
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        enum sl_option_id id = (enum sl_option_id) i;
        struct place place = {SL_FROM_DEFAULT, 0, "the table of options"};
        if (sl_option_of(id)->default_text != NULL) {
            set_item(config, id, sl_text_of(sl_option_of(id)->default_text), &place, problems);
        }
    }
}

int sl_config_load(const struct sl_config_sources *sources, struct sl_config *ret_config,
    struct sl_problems *problems)
{
    struct sl_config config = {0};
    set_defaults(&config, problems);
    if (sources->file != NULL) {
        config.file = sl_copy_text(sources->file);
        read_file(&config, sources->file, problems);
    }
    read_environment(&config, sources->environment, problems);
    for (size_t i = 0; i < sources->flag_count; i++) {
        const struct sl_config_flag *flag = &sources->flags[i];
        char name[64];
        snprintf(name, sizeof(name), "--%s", sl_option_of(flag->id)->name);
        struct place place = {SL_FROM_FLAG, 0, name};
        set_list(&config, flag->id, sl_text_of(flag->value), &place, problems);
    }
    if (sources->file != NULL && config.file == NULL) {
        sl_problems_add(problems, "out of memory for the config");
    }
    sl_config_check_whole(&config, problems);
    if (problems->count > 0) {
        sl_config_deinit(&config);
        return -1;
    }
    *ret_config = config;
    return 0;
}

void sl_config_deinit(struct sl_config *config)
{
    for (int i = 0; i < SL_OPTION_COUNT; i++) {
        forget(&config->values[i]);
    }
    sl_routes_deinit(&config->routes);
    sl_free(config->file);
    config->file = NULL;
}

const char *sl_config_text(const struct sl_config *config, enum sl_option_id id)
{
    const struct sl_config_value *value = &config->values[id];
    return value->item_count == 0 ? NULL : value->items[0];
}

int64_t sl_config_number(const struct sl_config *config, enum sl_option_id id)
{
    return config->values[id].number;
}

void sl_config_write_place(
    const struct sl_config *config, enum sl_option_id id, struct sl_buffer *buffer)
{
    char name[64];
    switch (config->values[id].source) {
    case SL_FROM_DEFAULT:
        sl_buffer_append_text(buffer, "default");
        return;
    case SL_FROM_FILE:
        sl_buffer_append_format(buffer, "%s line %d", config->file, config->values[id].line);
        return;
    case SL_FROM_ENVIRONMENT:
        sl_option_environment_name(sl_option_of(id), name);
        sl_buffer_append_text(buffer, name);
        return;
    case SL_FROM_FLAG:
        sl_buffer_append_format(buffer, "--%s", sl_option_of(id)->name);
        return;
    }
}

bool sl_config_mapping(const struct sl_config *config, struct sl_mapping *ret_mapping)
{
    struct sl_mapping mapping = {
        .table = sl_config_text(config, SL_OPTION_RELAY_TABLE),
        .type = sl_config_text(config, SL_OPTION_RELAY_TYPE),
        .deletes_sent = sl_config_number(config, SL_OPTION_RELAY_DELETE_SENT) != 0,
    };
    /* The options stand in the order of the enum. */
    for (int i = 0; i < SL_MAPPED_COLUMN_COUNT; i++) {
        mapping.columns[i] =
            sl_config_text(config, (enum sl_option_id) (SL_OPTION_RELAY_COLUMNS_ID + i));
    }
    *ret_mapping = mapping;
    return mapping.table != NULL;
}

static void check_mapping(const struct sl_config *config, struct sl_problems *problems)
{
    struct sl_mapping mapping;
    struct sluice_error error;
    if (!sl_config_mapping(config, &mapping)) {
        for (int i = SL_OPTION_RELAY_COLUMNS_ID; i <= SL_OPTION_RELAY_DELETE_SENT; i++) {
            if (config->values[i].source != SL_FROM_DEFAULT) {
                sl_problems_add(problems,
                    "'%s' is set, but 'relay.table' is not; name the table that it is about",
                    sl_option_of((enum sl_option_id) i)->name);
            }
        }
    } else if (sl_mapping_check(&mapping, &error) != 0) {
        sl_problems_add(problems, "%s", error.text);
    } else if (config->values[SL_OPTION_DATABASE].item_count > 1) {
        sl_problems_add(problems,
            "'relay.table' is set, and 'database' has %zu URLs; a table is of one database: give "
            "each its own config and relay",
            config->values[SL_OPTION_DATABASE].item_count);
    }
}

void sl_config_check_whole(const struct sl_config *config, struct sl_problems *problems)
{
    check_mapping(config, problems);
    const struct sl_config_value *delay = &config->values[SL_OPTION_RELAY_RETRY_DELAY];
    const struct sl_config_value *delay_max = &config->values[SL_OPTION_RELAY_RETRY_DELAY_MAX];
    if (delay->item_count > 0 && delay_max->item_count > 0 && delay->number > delay_max->number) {
        sl_problems_add(problems, "'relay.retry_delay' (%s) is longer than 'relay.retry_delay_max' "
            "(%s); make the second one at least as long", delay->items[0], delay_max->items[0]);
    }
    bool has_keys = config->values[SL_OPTION_GATEWAY_TOKEN_KEY_FILES].item_count > 0 ||
        config->values[SL_OPTION_GATEWAY_TOKEN_SECRET].item_count > 0;
    if (has_keys && config->values[SL_OPTION_GATEWAY_TOKEN_AUDIENCE].item_count == 0) {
        sl_problems_add(problems,
            "'gateway.token.audience' is not set; tokens need it: the aud that "
            "says that a token is for this service and no other");
    }
    for (size_t i = 0; i < config->routes.count; i++) {
        const struct sl_config_route *route = &config->routes.routes[i];
        if (route->publish_count > 0 && config->values[SL_OPTION_BROKER].item_count == 0) {
            sl_problems_add(problems,
                "'gateway.routes' in %s line %d: publish %s needs 'broker', "
                "which is not set; add a line as 'broker: local:events.db'",
                config->file, route->line, route->path);
            return;
        }
        if (route->topic != NULL && config->values[SL_OPTION_BROKER].item_count == 0) {
            sl_problems_add(problems, "'gateway.routes' in %s line %d: stream %s needs 'broker', "
                "which is not set; add a line as 'broker: local:events.db'", config->file,
                route->line, route->path);
            return;
        }
    }
}
