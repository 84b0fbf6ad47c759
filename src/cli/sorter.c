#include "cli/sorter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

enum { RECORDS_MIN = 1000, RUN_BUFFER_SIZE = 64 << 10 };

/* A record by its first bytes, which settle most comparisons without touching it. */
struct item {
    uint64_t prefix;
    size_t index;
};

/* A sorted piece of the file while it is read back. */
struct run {
    off_t position; /* of what has not been read yet */
    off_t end;
    unsigned char *buffer;
    size_t size; /* of what is in the buffer */
    size_t used;
};

struct sl_sorter {
    size_t record_size;
    size_t capacity; /* records in memory */
    size_t allocated;
    size_t count;
    unsigned char *records;
    struct item *items;
    size_t next; /* reading from memory */
    bool is_reading;
    int file;
    off_t file_size;
    struct run runs[SL_SORTER_RUNS_MAX];
    size_t run_count;
    size_t heap[SL_SORTER_RUNS_MAX]; /* runs, the one with the least record first */
    size_t heap_count;
    bool is_first_taken; /* the record of heap[0] was handed out */
};

struct sl_sorter *sl_sorter_open(size_t record_size, size_t memory_max)
{
    struct sl_sorter *sorter = sl_allocate(sizeof(*sorter));
    if (sorter == NULL) {
        return NULL;
    }
    sorter->record_size = record_size;
    sorter->capacity = memory_max / (record_size + sizeof(struct item));
    if (sorter->capacity < RECORDS_MIN) {
        sorter->capacity = RECORDS_MIN;
    }
    sorter->file = -1;
    return sorter;
}

void sl_sorter_close(struct sl_sorter *sorter)
{
    if (sorter == NULL) {
        return;
    }
    for (size_t i = 0; i < sorter->run_count; i++) {
        sl_free(sorter->runs[i].buffer);
    }
    if (sorter->file >= 0) {
        close(sorter->file);
    }
    sl_free(sorter->records);
    sl_free(sorter->items);
    sl_free(sorter);
}

static int compare_items(const void *a, const void *b, void *context)
{
    const struct item *left = a;
    const struct item *right = b;
    const struct sl_sorter *sorter = context;
    if (left->prefix != right->prefix) {
        return left->prefix < right->prefix ? -1 : 1;
    }
    return memcmp(sorter->records + left->index * sorter->record_size,
        sorter->records + right->index * sorter->record_size, sorter->record_size);
}

static void sort_memory(struct sl_sorter *sorter)
{
    size_t prefix_size = sorter->record_size < 8 ? sorter->record_size : 8;
    for (size_t i = 0; i < sorter->count; i++) {
        const unsigned char *record = sorter->records + i * sorter->record_size;
        uint64_t prefix = 0;
        for (size_t j = 0; j < prefix_size; j++) {
            prefix = prefix << 8 | record[j];
        }
        sorter->items[i] = (struct item) {prefix, i};
    }
    if (sorter->count > 1) {
        qsort_r(sorter->items, sorter->count, sizeof(struct item), compare_items, sorter);
    }
}

static int fail_file(int number, struct sluice_error *error)
{
    return sl_fail_system(error, number, "cannot sort on disk in the folder of TMPDIR,",
        "which needs room for about 100 bytes an event");
}

/* A file without a name: gone with the process, however that ends. */
static int open_file(struct sl_sorter *sorter, struct sluice_error *error)
{
    const char *folder = getenv("TMPDIR");
    folder = folder == NULL || folder[0] == '\0' ? "/tmp" : folder;
    sorter->file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return sorter->file >= 0 ? 0 : fail_file(errno, error);
}

static int write_all(
    struct sl_sorter *sorter, const unsigned char *data, size_t size, struct sluice_error *error)
{
    while (size > 0) {
        ssize_t written = pwrite(sorter->file, data, size, sorter->file_size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return fail_file(written < 0 ? errno : ENOSPC, error);
        }
        data += written;
        size -= (size_t) written;
        sorter->file_size += written;
    }
    return 0;
}

/* Sort what is in memory and write it behind what the file holds. */
static int spill(struct sl_sorter *sorter, struct sluice_error *error)
{
    if (sorter->run_count == SL_SORTER_RUNS_MAX) {
        return sl_fail(error, SLUICE_NO_SPACE, SLUICE_REJECT,
            "there are more records to sort than %d times the memory given", SL_SORTER_RUNS_MAX);
    }
    if (sorter->file < 0 && open_file(sorter, error) != 0) {
        return -1;
    }
    size_t buffer_size = RUN_BUFFER_SIZE / sorter->record_size * sorter->record_size;
    buffer_size = buffer_size == 0 ? sorter->record_size : buffer_size;
    struct run *run = &sorter->runs[sorter->run_count];
    unsigned char *buffer = sl_allocate(buffer_size);
    if (buffer == NULL) {
        return sl_fail_memory(error, "sorting");
    }
    *run = (struct run) {.position = sorter->file_size, .buffer = buffer};
    sorter->run_count++;
    sort_memory(sorter);
    size_t used = 0;
    int status = 0;
    for (size_t i = 0; i < sorter->count && status == 0; i++) {
        memcpy(buffer + used, sorter->records + sorter->items[i].index * sorter->record_size,
            sorter->record_size);
        used += sorter->record_size;
        if (used == buffer_size || i + 1 == sorter->count) {
            status = write_all(sorter, buffer, used, error);
            used = 0;
        }
    }
    run->end = sorter->file_size;
    sorter->count = 0;
    return status;
}

static int grow(struct sl_sorter *sorter, struct sluice_error *error)
{
    size_t wanted = sorter->allocated == 0 ? RECORDS_MIN : sorter->allocated * 2;
    wanted = wanted > sorter->capacity ? sorter->capacity : wanted;
    unsigned char *records = sl_reallocate(sorter->records, wanted * sorter->record_size);
    if (records == NULL) {
        return sl_fail_memory(error, "sorting");
    }
    sorter->records = records;
    struct item *items = sl_reallocate(sorter->items, wanted * sizeof(*items));
    if (items == NULL) {
        return sl_fail_memory(error, "sorting");
    }
    sorter->items = items;
    sorter->allocated = wanted;
    return 0;
}

int sl_sorter_add(struct sl_sorter *sorter, const void *record, struct sluice_error *error)
{
    if (sorter->count == sorter->capacity && spill(sorter, error) != 0) {
        return -1;
    }
    if (sorter->count == sorter->allocated && grow(sorter, error) != 0) {
        return -1;
    }
    memcpy(sorter->records + sorter->count++ * sorter->record_size, record, sorter->record_size);
    return 0;
}

static int fill(struct sl_sorter *sorter, struct run *run, struct sluice_error *error)
{
    size_t buffer_size = RUN_BUFFER_SIZE / sorter->record_size * sorter->record_size;
    size_t wanted = buffer_size == 0 ? sorter->record_size : buffer_size;
    off_t left = run->end - run->position;
    wanted = (off_t) wanted > left ? (size_t) left : wanted;
    run->size = 0;
    run->used = 0;
    while (run->size < wanted) {
        ssize_t got =
            pread(sorter->file, run->buffer + run->size, wanted - run->size, run->position);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return fail_file(got < 0 ? errno : EIO, error);
        }
        run->size += (size_t) got;
        run->position += got;
    }
    return 0;
}

static const unsigned char *head_of(const struct sl_sorter *sorter, size_t place)
{
    const struct run *run = &sorter->runs[sorter->heap[place]];
    return run->buffer + run->used;
}

static void sink(struct sl_sorter *sorter, size_t place)
{
    for (;;) {
        size_t least = place;
        for (size_t child = place * 2 + 1; child <= place * 2 + 2; child++) {
            if (child < sorter->heap_count &&
                memcmp(head_of(sorter, child), head_of(sorter, least), sorter->record_size) < 0) {
                least = child;
            }
        }
        if (least == place) {
            return;
        }
        size_t run = sorter->heap[place];
        sorter->heap[place] = sorter->heap[least];
        sorter->heap[least] = run;
        place = least;
    }
}

static int start_reading(struct sl_sorter *sorter, struct sluice_error *error)
{
    sorter->is_reading = true;
    if (sorter->run_count == 0) {
        sort_memory(sorter);
        return 0;
    }
    if (sorter->count > 0 && spill(sorter, error) != 0) {
        return -1;
    }
    for (size_t i = 0; i < sorter->run_count; i++) {
        if (fill(sorter, &sorter->runs[i], error) != 0) {
            return -1;
        }
        sorter->heap[sorter->heap_count++] = i;
    }
    for (size_t i = sorter->heap_count; i > 0; i--) {
        sink(sorter, i - 1);
    }
    return 0;
}

/* Let the run whose record was handed out go on to its next one. */
static int advance(struct sl_sorter *sorter, struct sluice_error *error)
{
    struct run *run = &sorter->runs[sorter->heap[0]];
    sorter->is_first_taken = false;
    run->used += sorter->record_size;
    if (run->used == run->size && fill(sorter, run, error) != 0) {
        return -1;
    }
    if (run->size == 0) {
        sorter->heap[0] = sorter->heap[--sorter->heap_count];
    }
    sink(sorter, 0);
    return 0;
}

int sl_sorter_next(struct sl_sorter *sorter, const void **ret_record, struct sluice_error *error)
{
    if (!sorter->is_reading && start_reading(sorter, error) != 0) {
        return -1;
    }
    if (sorter->run_count == 0) {
        if (sorter->next == sorter->count) {
            return 0;
        }
        *ret_record = sorter->records + sorter->items[sorter->next++].index * sorter->record_size;
        return 1;
    }
    if (sorter->is_first_taken && advance(sorter, error) != 0) {
        return -1;
    }
    if (sorter->heap_count == 0) {
        return 0;
    }
    *ret_record = head_of(sorter, 0);
    sorter->is_first_taken = true;
    return 1;
}
