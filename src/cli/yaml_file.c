#include "cli/yaml_file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/memory.h"

/* No honest config has as many keys in one mapping; the search for twins is quadratic. */
enum { FILE_SIZE_MAX = 1 << 20, MAPPING_KEYS_MAX = 1000 };

static int fail_to_read(const char *name, int number, struct sluice_error *error)
{
    if (number == ENOENT) {
        return sl_fail(error, SLUICE_NOT_FOUND, SLUICE_REJECT,
            "there is no config file '%s'; create it, or name another one with --config FILE",
            name);
    }
    return sl_fail_system(error, number, "cannot read config file", name);
}

static int read_whole(const char *name, struct sl_buffer *contents, struct sluice_error *error)
{
    struct stat status;
    FILE *stream = fopen(name, "re");
    if (stream == NULL) {
        return fail_to_read(name, errno, error);
    }
    if (fstat(fileno(stream), &status) == 0 && S_ISDIR(status.st_mode)) {
        fclose(stream);
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "config file '%s' is a directory; name the YAML file in it", name);
    }
    char piece[16384];
    size_t size;
    int result = 0;
    while (result == 0 && (size = fread(piece, 1, sizeof(piece), stream)) > 0) {
        result = sl_buffer_append(contents, piece, size);
    }
    int number = ferror(stream) ? errno : 0;
    fclose(stream);
    if (number != 0) {
        return fail_to_read(name, number, error);
    }
    return result == 0 ? 0
                       : sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT,
                             "config file '%s' is larger than 1 MiB; is it the right file?", name);
}

static int fail_to_parse(const struct sl_buffer *contents, const yaml_parser_t *parser,
    const char *name, struct sluice_error *error)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return sl_fail_memory(error, "the config file");
    }
    if (parser->error == YAML_READER_ERROR) {
        return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
            "config file '%s' is no text in UTF-8 (byte %zu: %s); save it as UTF-8", name,
            parser->problem_offset, parser->problem);
    }
    size_t line = 0;
    const char *at = contents->data;
    while (at != NULL && line < parser->problem_mark.line) {
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
        line++;
    }
    size_t blank = at == NULL ? 0 : strspn(at, " \t");
    bool is_tab = blank > 0 && memchr(at, '\t', blank) != NULL;
    return sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
        "%s line %zu column %zu: not valid YAML: %s%s%s%s", name, parser->problem_mark.line + 1,
        parser->problem_mark.column + 1, parser->problem,
        parser->context == NULL ? "" : " ", parser->context == NULL ? "" : parser->context,
        is_tab ? "; indent with spaces, not with tabs" : "");
}

/* In the tree an alias is a second parent of the same node; the root has no parent at all. */
static int refuse_aliases(struct sl_yaml_file *file, struct sluice_error *error)
{
    size_t count = (size_t) (file->document.nodes.top - file->document.nodes.start);
    unsigned char *parents = sl_allocate(count + 1);
    if (parents == NULL) {
        return sl_fail_memory(error, "the config file");
    }
    const yaml_node_t *culprit = NULL;
    parents[1] = 1;
    for (yaml_node_t *node = file->document.nodes.start; node < file->document.nodes.top; node++) {
        if (node->type == YAML_SEQUENCE_NODE) {
            for (yaml_node_item_t *item = node->data.sequence.items.start;
                item < node->data.sequence.items.top; item++) {
                culprit = parents[*item]++ > 0 ? node : culprit;
                parents[*item] = 1;
            }
        } else if (node->type == YAML_MAPPING_NODE) {
            for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
                pair < node->data.mapping.pairs.top; pair++) {
                culprit = parents[pair->key]++ > 0 ? node : culprit;
                culprit = parents[pair->value]++ > 0 ? node : culprit;
                parents[pair->key] = parents[pair->value] = 1;
            }
        }
    }
    sl_free(parents);
    return culprit == NULL
        ? 0
        : sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
              "%s: the list or mapping that begins in line %d uses an alias (*name); aliases are "
              "not allowed in a config: write the value out", file->name, sl_yaml_line(culprit));
}

static int parse(struct sl_yaml_file *file, const struct sl_buffer *contents,
    struct sluice_error *error)
{
    yaml_parser_t parser;
    yaml_document_t second;
    if (!yaml_parser_initialize(&parser)) {
        return sl_fail_memory(error, "the config file");
    }
    yaml_parser_set_input_string(
        &parser, (const unsigned char *) (contents->data == NULL ? "" : contents->data),
        contents->size);
    if (!yaml_parser_load(&parser, &file->document)) {
        int result = fail_to_parse(contents, &parser, file->name, error);
        yaml_parser_delete(&parser);
        return result;
    }
    int result = 0;
    if (yaml_document_get_root_node(&file->document) != NULL) {
        if (!yaml_parser_load(&parser, &second)) {
            result = fail_to_parse(contents, &parser, file->name, error);
        } else {
            if (yaml_document_get_root_node(&second) != NULL) {
                result = sl_fail(error, SLUICE_INVALID, SLUICE_REJECT,
                    "%s line %zu: a second document begins here; a config is one document: remove "
                    "the '---'", file->name, second.start_mark.line + 1);
            }
            yaml_document_delete(&second);
        }
        result = result == 0 ? refuse_aliases(file, error) : result;
    }
    yaml_parser_delete(&parser);
    if (result != 0) {
        yaml_document_delete(&file->document);
    }
    return result;
}

int sl_yaml_file_open(struct sl_yaml_file *ret_file, const char *name, struct sluice_error *error)
{
    struct sl_yaml_file file = {.name = name};
    struct sl_buffer contents;
    sl_buffer_init(&contents, FILE_SIZE_MAX);
    int result = read_whole(name, &contents, error);
    if (result == 0) {
        result = parse(&file, &contents, error);
    }
    sl_buffer_deinit(&contents);
    if (result == 0) {
        *ret_file = file;
    }
    return result;
}

void sl_yaml_file_close(struct sl_yaml_file *file)
{
    yaml_document_delete(&file->document);
}

const yaml_node_t *sl_yaml_root(struct sl_yaml_file *file)
{
    return yaml_document_get_root_node(&file->document);
}

int sl_yaml_line(const yaml_node_t *node)
{
    return (int) node->start_mark.line + 1;
}

struct sl_text sl_yaml_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE) {
        return SL_TEXT("");
    }
    return (struct sl_text) {(const char *) node->data.scalar.value, node->data.scalar.length};
}

bool sl_yaml_is_null(const yaml_node_t *node)
{
    struct sl_text text = sl_yaml_text(node);
    return node->type == YAML_SCALAR_NODE &&
        node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        (text.size == 0 || sl_text_equal(text, SL_TEXT("~")) ||
            sl_text_equal(text, SL_TEXT("null")));
}

const char *sl_yaml_kind(const yaml_node_t *node)
{
    return node->type == YAML_SEQUENCE_NODE ? "a list"
        : node->type == YAML_MAPPING_NODE   ? "a mapping"
                                            : "a single value";
}

const yaml_node_t *sl_yaml_item(
    struct sl_yaml_file *file, const yaml_node_t *sequence, size_t index)
{
    yaml_node_item_t *item = sequence->data.sequence.items.start + index;
    if (item >= sequence->data.sequence.items.top) {
        return NULL;
    }
    return yaml_document_get_node(&file->document, *item);
}

bool sl_yaml_pair(struct sl_yaml_file *file, const yaml_node_t *mapping, size_t index,
    struct sl_yaml_pair *ret_pair)
{
    yaml_node_pair_t *pair = mapping->data.mapping.pairs.start + index;
    if (pair >= mapping->data.mapping.pairs.top) {
        return false;
    }
    const yaml_node_t *key = yaml_document_get_node(&file->document, pair->key);
    *ret_pair = (struct sl_yaml_pair) {.key = sl_yaml_text(key),
        .value = yaml_document_get_node(&file->document, pair->value),
        .line = sl_yaml_line(key)};
    return true;
}

void sl_yaml_check_keys(
    struct sl_yaml_file *file, const yaml_node_t *mapping, struct sl_problems *problems)
{
    struct sl_yaml_pair pair;
    struct sl_yaml_pair earlier;
    for (size_t i = 0; sl_yaml_pair(file, mapping, i, &pair); i++) {
        if (i == MAPPING_KEYS_MAX) {
            sl_problems_add(problems, "%s line %d: more than %d keys in one mapping; is this the "
                "right file?", file->name, pair.line, MAPPING_KEYS_MAX);
            return;
        }
        if (pair.key.size == 0) {
            sl_problems_add(problems, "%s line %d: this key is empty, or a list or mapping; a key "
                "is a plain word", file->name, pair.line);
            continue;
        }
        for (size_t j = 0; j < i && sl_yaml_pair(file, mapping, j, &earlier); j++) {
            if (sl_text_equal(earlier.key, pair.key)) {
                sl_problems_add(problems, "%s line %d: key '%.*s' is there twice, first in line "
                    "%d; remove one of them", file->name, pair.line, (int) pair.key.size,
                    pair.key.data, earlier.line);
                break;
            }
        }
    }
}
