/*
 * tests/fuzz/driver.c - runs a fuzz target over files instead of under libFuzzer, so that corpora
 * are plain tests: every input that ever broke something is tried by each build.
 *
 * usage: PROGRAM FILE-OR-FOLDER ...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Run one file, in memory of exactly its size so that a sanitizer sees a read past its end. */
static void run_file(const char *path, int *count)
{
    struct stat state;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &state) != 0) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t) state.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size);
    if (data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    (*count)++;
}

static void run_path(const char *path, int *count)
{
    struct stat state;
    if (stat(path, &state) != 0) {
        perror(path);
        exit(1);
    }
    if (!S_ISDIR(state.st_mode)) {
        run_file(path, count);
        return;
    }
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char file[4096];
        if (entry->d_name[0] != '.') {
            snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
            run_path(file, count);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

int main(int argument_count, char **arguments)
{
    int count = 0;
    for (int i = 1; i < argument_count; i++) {
        run_path(arguments[i], &count);
    }
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
