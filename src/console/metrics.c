#include "console/metrics.h"

static const char *const type_names[] = {
    [SL_METRICS_COUNTER] = "counter",
    [SL_METRICS_GAUGE] = "gauge",
    [SL_METRICS_HISTOGRAM] = "histogram",
};

void sl_metrics_init(struct sl_metrics *metrics)
{
    sl_buffer_init(&metrics->text, SL_METRICS_SIZE_MAX);
    metrics->name = NULL;
}

void sl_metrics_deinit(struct sl_metrics *metrics)
{
    sl_buffer_deinit(&metrics->text);
}

void sl_metrics_begin(
    struct sl_metrics *metrics, const char *name, enum sl_metrics_type type, const char *help)
{
    metrics->name = name;
    sl_buffer_append_format(
        &metrics->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_names[type]);
}

/* A label's value: backslash, quote and line end escaped, as the format has it. */
static void append_escaped(struct sl_buffer *line, struct sl_text value)
{
    for (size_t i = 0; i < value.size; i++) {
        char c = value.data[i];
        if (c == '\n') {
            sl_buffer_append_text(line, "\\n");
            continue;
        }
        if (c == '\\' || c == '"') {
            sl_buffer_append_text(line, "\\");
        }
        sl_buffer_append(line, &c, 1);
    }
}

static void append_labels(struct sl_buffer *line, const struct sl_metrics_label *labels,
    size_t label_count, const char *bound)
{
    size_t count = label_count + (bound == NULL ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        bool is_bound = i == label_count;
        sl_buffer_append_format(
            line, "%s%s=\"", i == 0 ? "{" : ",", is_bound ? "le" : labels[i].name);
        append_escaped(line, is_bound ? sl_text_of(bound) : labels[i].value);
        sl_buffer_append_text(line, "\"");
    }
    sl_buffer_append_text(line, count == 0 ? " " : "} ");
}

/* ms as seconds: exact, without floating point. */
static void append_seconds(struct sl_buffer *line, int64_t value_ms)
{
    int64_t magnitude = value_ms < 0 ? -value_ms : value_ms;
    sl_buffer_append_format(line, "%s%lld.%03lld", value_ms < 0 ? "-" : "",
        (long long) (magnitude / 1000), (long long) (magnitude % 1000));
}

/* Lines are whole or absent: a page that is full must not end in half a sample. */
static void append_line(struct sl_metrics *metrics, struct sl_buffer *line)
{
    sl_buffer_append_text(line, "\n");
    if (!line->is_failed) {
        sl_buffer_append(&metrics->text, line->data, line->size);
    }
    sl_buffer_deinit(line);
}

static void begin_line(struct sl_buffer *line, const char *name, const char *suffix)
{
    sl_buffer_init(line, 16384);
    sl_buffer_append_format(line, "%s%s", name, suffix);
}

void sl_metrics_number(struct sl_metrics *metrics, const struct sl_metrics_label *labels,
    size_t label_count, int64_t value)
{
    struct sl_buffer line;
    begin_line(&line, metrics->name, "");
    append_labels(&line, labels, label_count, NULL);
    sl_buffer_append_format(&line, "%lld", (long long) value);
    append_line(metrics, &line);
}

void sl_metrics_time(struct sl_metrics *metrics, const struct sl_metrics_label *labels,
    size_t label_count, int64_t value_ms)
{
    struct sl_buffer line;
    begin_line(&line, metrics->name, "");
    append_labels(&line, labels, label_count, NULL);
    append_seconds(&line, value_ms);
    append_line(metrics, &line);
}

void sl_metrics_buckets(struct sl_metrics *metrics, const struct sl_metrics_label *labels,
    size_t label_count, const struct sl_metrics_histogram *histogram)
{
    int64_t total = 0;
    struct sl_buffer line;
    for (size_t i = 0; i < histogram->count; i++) {
        struct sl_buffer bound;
        sl_buffer_init(&bound, 64);
        if (i + 1 == histogram->count) {
            sl_buffer_append_text(&bound, "+Inf");
        } else {
            append_seconds(&bound, histogram->bounds_ms[i]);
        }
        total += histogram->counts[i];
        begin_line(&line, metrics->name, "_bucket");
        append_labels(&line, labels, label_count, bound.data == NULL ? "" : bound.data);
        sl_buffer_append_format(&line, "%lld", (long long) total);
        append_line(metrics, &line);
        sl_buffer_deinit(&bound);
    }
    begin_line(&line, metrics->name, "_sum");
    append_labels(&line, labels, label_count, NULL);
    append_seconds(&line, histogram->sum_ms);
    append_line(metrics, &line);
    begin_line(&line, metrics->name, "_count");
    append_labels(&line, labels, label_count, NULL);
    sl_buffer_append_format(&line, "%lld", (long long) total);
    append_line(metrics, &line);
}
