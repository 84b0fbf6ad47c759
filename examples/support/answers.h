/*
 * support/answers.h - the parts of a JSON body, checked, and the answers that every service gives.
 *
 * What is wrong with a request is put into `problem`, one line that goes into the 400 as it is:
 * which field, and what it must be.
 */
#ifndef EXAMPLES_SUPPORT_ANSWERS_H
#define EXAMPLES_SUPPORT_ANSWERS_H

#include "service.h"

enum { PROBLEM_SIZE = 256, ALLOW_SIZE = 64 };

/**
 * The body as a JSON object, for the caller to json_decref (which takes NULL, too); NULL with the
 * reason in `problem` if it is none.
 */
json_t *request_object(const struct request *request, char problem[PROBLEM_SIZE]);

/**
 * Refuse a body with a field that is not in the list, which ends with NULL: a misspelt field must
 * not be ignored. 0, or -1 with the reason.
 */
int check_known(const json_t *object, const char *const *names, char problem[PROBLEM_SIZE]);

/**
 * Copy a text field of `size_min` bytes to what `target` holds with its NUL; a missing one is an
 * error. No control characters. 0, or -1 with the reason.
 */
int take_text(const json_t *object, const char *name, size_t size_min, char *target,
    size_t target_size, char problem[PROBLEM_SIZE]);

/**
 * Take a field that is a whole number within bounds. 0, or -1 with the reason.
 */
int take_number(const json_t *object, const char *name, int64_t smallest, int64_t largest,
    int64_t *ret_number, char problem[PROBLEM_SIZE]);

/**
 * Whether the request has this method and a path of `prefix` and one more part, which goes to
 * `*ret_name`: at least a byte. Borrowed from the request.
 */
int request_names(
    const struct request *request, const char *method, const char *prefix, const char **ret_name);

/**
 * Answer after the database refused: 503 if the same request may work later, 500
 * otherwise. Nothing was stored.
 */
enum MHD_Result answer_failure(const struct request *request, const struct sluice_error *error);

/**
 * Add a method to what a field Allow lists; with GET comes HEAD. All that a path takes fits.
 */
void allow_method(char list[ALLOW_SIZE], const char *method);

/**
 * Answer a request that nobody took: 405 if its path is that of some routes (a list that ends with
 * NULL, like "GET /users/#"; `*` stands for one part, `#` for one that is a whole number above 0),
 * 400 if all that is wrong with it is a part that is no such number, else 404.
 */
enum MHD_Result answer_unknown(const struct request *request, const char *const *routes);

#endif
