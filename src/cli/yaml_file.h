/*
 * cli/yaml_file.h - one YAML file as a tree of nodes that know their lines.
 *
 * What is dangerous or of no use in a config is refused here, once: files over 1 MiB, several
 * documents, anchors that are used again (an alias in an alias grows without bound), and keys that
 * are no plain text or stand twice in one mapping.
 */
#ifndef SL_CLI_YAML_FILE_H
#define SL_CLI_YAML_FILE_H

#include <yaml.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/problems.h"

struct sl_yaml_file {
    const char *name; /* borrowed: as the user wrote it, for messages */
    yaml_document_t document;
};

/* One key of a mapping and what stands under it; they belong to the file. */
struct sl_yaml_pair {
    struct sl_text key;
    const yaml_node_t *value;
    int line;
};

/**
 * Read and parse a file. `name` must outlive the object; "-" is no special name.
 *
 * Blocks for the disk. On failure the error names the file, the line where there is one, and what
 * to do. On success sl_yaml_file_close must follow.
 */
int sl_yaml_file_open(struct sl_yaml_file *ret_file, const char *name, struct sluice_error *error)
    __attribute__((warn_unused_result));

/**
 * Free the tree.
 */
void sl_yaml_file_close(struct sl_yaml_file *file);

/**
 * The root node, or NULL of an empty file. The file's.
 */
const yaml_node_t *sl_yaml_root(struct sl_yaml_file *file);

/**
 * The line a node begins in, from 1.
 */
int sl_yaml_line(const yaml_node_t *node);

/**
 * Whether the node is nothing: an empty value, `~` or `null`, not in quotes.
 */
bool sl_yaml_is_null(const yaml_node_t *node);

/**
 * The text of a scalar node, empty for others. The file's.
 */
struct sl_text sl_yaml_text(const yaml_node_t *node);

/**
 * What a node is, for messages: "a list", "a mapping", "a single value".
 */
const char *sl_yaml_kind(const yaml_node_t *node);

/**
 * The n-th item of a sequence, or NULL after the last one.
 */
const yaml_node_t *sl_yaml_item(
    struct sl_yaml_file *file, const yaml_node_t *sequence, size_t index);

/**
 * The n-th pair of a mapping; false after the last one.
 */
bool sl_yaml_pair(struct sl_yaml_file *file, const yaml_node_t *mapping, size_t index,
    struct sl_yaml_pair *ret_pair);

/**
 * Note each key of a mapping that is no plain text or stands in it twice, and keys over 1,000.
 */
void sl_yaml_check_keys(
    struct sl_yaml_file *file, const yaml_node_t *mapping, struct sl_problems *problems);

#endif
