#include "tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_SIZE = 129, TOKENS_MAX = 10000 };

struct token {
    char text[TOKEN_SIZE];
    int64_t user_id;
};

struct tokens {
    size_t count;
    struct token list[TOKENS_MAX];
};

struct tokens *tokens_load(const char *file, struct sluice_error *error)
{
    char line[TOKEN_SIZE + 32];
    int number = 0;
    FILE *stream = fopen(file, "r");
    struct tokens *tokens = stream != NULL ? calloc(1, sizeof(*tokens)) : NULL;
    *error = (struct sluice_error){.code = SLUICE_INVALID, .reaction = SLUICE_FATAL};
    if (tokens == NULL) {
        snprintf(error->text, sizeof(error->text), "cannot read the tokens in %s: %s", file,
            strerror(errno));
        if (stream != NULL) {
            fclose(stream);
        }
        return NULL;
    }
    while (fgets(line, sizeof(line), stream) != NULL) {
        struct token *token = &tokens->list[tokens->count];
        char user[24];
        number++;
        if (line[strspn(line, " \t\n")] == '\0' || line[0] == '#') {
            continue;
        }
        token->user_id = sscanf(line, "%128s %23s", token->text, user) == 2 ? parse_id(user) : -1;
        if (token->user_id < 0 || ++tokens->count == TOKENS_MAX) {
            snprintf(error->text, sizeof(error->text),
                "%s line %d is not a token and a user's number, or one too many", file, number);
            fclose(stream);
            tokens_free(tokens);
            return NULL;
        }
    }
    fclose(stream);
    return tokens;
}

int64_t tokens_user(const struct tokens *tokens, const struct request *request)
{
    static const char scheme[] = "Bearer ";
    const char *value = request_header(request, "Authorization");
    if (value == NULL || strncmp(value, scheme, sizeof(scheme) - 1) != 0) {
        return -1;
    }
    for (size_t i = 0; i < tokens->count; i++) {
        if (strcmp(tokens->list[i].text, value + sizeof(scheme) - 1) == 0) {
            return tokens->list[i].user_id;
        }
    }
    return -1;
}

void tokens_free(struct tokens *tokens)
{
    free(tokens);
}
