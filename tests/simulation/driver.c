/*
 * Runs seed after seed in a child process; if one fails, or dies, tries again with ever fewer of
 * its steps, and prints the shortest run that still fails in the same way.
 */
#include "driver.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"

enum { SHRINK_SECONDS_MAX = 60, TRY_SECONDS_MAX = 20, EXIT_FAILED = 3 };

struct sim_driver sim_driver;

static const struct sim_program *program;

void sim_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sim_driver.shared->failure, sizeof(sim_driver.shared->failure), format, arguments);
    va_end(arguments);
    fflush(NULL);
    _exit(EXIT_FAILED);
}

void sim_count_step(void)
{
    sim_driver.shared->steps_total++;
}

static void keep_all(bool is_kept)
{
    memset(sim_driver.kept, is_kept, sizeof(sim_driver.kept));
}

/* Wait for the child; true if it has failed. */
static bool has_failed(pid_t child)
{
    struct sim_shared *shared = sim_driver.shared;
    int status = 0;
    if (waitpid(child, &status, 0) < 0) {
        return false;
    }
    if (WIFSIGNALED(status)) {
        snprintf(shared->failure, sizeof(shared->failure), "killed by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0 && shared->failure[0] == '\0') {
        snprintf(shared->failure, sizeof(shared->failure), "exit status %d", WEXITSTATUS(status));
    }
    return shared->failure[0] != '\0';
}

static bool try_again(uint64_t seed)
{
    sim_driver.shared->failure[0] = '\0';
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(1);
        }
        alarm(TRY_SECONDS_MAX);
        program->run(seed);
        _exit(0);
    }
    return child > 0 && has_failed(child);
}

/* Whether two failures are the same but for the numbers in them. */
static bool is_same_failure(const char *a, const char *b)
{
    for (;;) {
        a += strspn(a, "0123456789");
        b += strspn(b, "0123456789");
        if (*a != *b || *a == '\0') {
            return *a == *b;
        }
        a++;
        b++;
    }
}

/* Leave out pieces of the schedule while what is left fails in the same way. */
static void shrink(uint64_t seed)
{
    char failure[sizeof(sim_driver.shared->failure)];
    memcpy(failure, sim_driver.shared->failure, sizeof(failure));
    time_t end = time(NULL) + SHRINK_SECONDS_MAX;
    bool is_shorter = false;
    for (int size = SIM_STEPS / 2; size > 0; size = size == 1 && is_shorter ? 1 : size / 2) {
        is_shorter = false;
        for (int at = 0; at < SIM_STEPS && time(NULL) < end; at += size) {
            bool before[SIM_STEPS];
            memcpy(before, sim_driver.kept, sizeof(before));
            bool is_changed = false;
            for (int i = at; i < at + size && i < SIM_STEPS; i++) {
                is_changed = is_changed || sim_driver.kept[i];
                sim_driver.kept[i] = false;
            }
            if (!is_changed) {
                continue;
            }
            if (!try_again(seed) || !is_same_failure(failure, sim_driver.shared->failure)) {
                memcpy(sim_driver.kept, before, sizeof(before));
            } else {
                is_shorter = true;
            }
        }
    }
    memcpy(sim_driver.shared->failure, failure, sizeof(failure));
}

static void print_kept(void)
{
    const char *comma = "";
    for (int i = 0; i < SIM_STEPS; i++) {
        if (!sim_driver.kept[i]) {
            continue;
        }
        int last = i;
        while (last + 1 < SIM_STEPS && sim_driver.kept[last + 1]) {
            last++;
        }
        printf(last == i ? "%s%d" : "%s%d-%d", comma, i, last);
        comma = ",";
        i = last;
    }
    printf("%s\n", comma[0] == '\0' ? "none" : "");
}

/* "3,17-19": the steps to keep; "none" or "all". */
static bool parse_kept(const char *text)
{
    keep_all(strcmp(text, "all") == 0);
    if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0) {
        return true;
    }
    while (*text != '\0') {
        int first = 0;
        int last = 0;
        int size = 0;
        if (sscanf(text, "%4d-%4d%n", &first, &last, &size) != 2) {
            if (sscanf(text, "%4d%n", &first, &size) != 1) {
                return false;
            }
            last = first;
        }
        if (first < 0 || last >= SIM_STEPS || last < first) {
            return false;
        }
        memset(sim_driver.kept + first, true, (size_t) (last - first + 1));
        text += size;
        text += *text == ',' ? 1 : 0;
    }
    return true;
}

static int report(uint64_t seed, bool is_shrunk)
{
    printf("seed %" PRIu64 ", step %d: %s\n", seed, sim_driver.shared->step,
        sim_driver.shared->failure);
    fflush(stdout);
    if (is_shrunk) {
        shrink(seed);
    }
    printf("what happened, step by step: %s replay %" PRIu64 " ", program->name, seed);
    print_kept();
    printf("0 passed, 1 failed\n");
    return 1;
}

static int replay(uint64_t seed, const char *kept)
{
    if (!parse_kept(kept)) {
        fprintf(stderr, "'%s' are no steps: 3,17-19 or all, each below %d\n", kept, SIM_STEPS);
        return 2;
    }
    sim_driver.is_tracing = true;
    sim_driver.shared->failure[0] = '\0';
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        program->run(seed);
        fflush(NULL);
        _exit(0);
    }
    bool is_failed = child > 0 && has_failed(child);
    printf("%s\n", is_failed ? sim_driver.shared->failure : "nothing is wrong");
    return is_failed ? 1 : 0;
}

static int run_seeds(uint64_t first_seed, int64_t steps_max, bool is_shrunk)
{
    struct sim_shared *shared = sim_driver.shared;
    keep_all(true);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 2;
    }
    if (child == 0) {
        for (shared->seed = first_seed; shared->steps_total < steps_max; shared->seed++) {
            program->run(shared->seed);
        }
        printf("%" PRId64 " steps from %" PRIu64 " seeds from %" PRIu64 " on: %s%s\n",
            shared->steps_total, shared->seed - first_seed, first_seed, program->promise,
            program->figures == NULL ? "" : program->figures());
        exit(0); /* not _exit: what a sanitizer or the coverage has to say comes now */
    }
    if (has_failed(child)) {
        return report(shared->seed, is_shrunk);
    }
    return 0;
}

static int usage(void)
{
    fprintf(stderr,
        "usage: %s STEPS [SEED [whole]]  seeds from SEED (1) on until STEPS are done; a run that\n"
        "                                fails is made short, unless it is to be left whole\n"
        "       %s replay SEED STEPS     one seed with these steps only (3,17-19; all), told\n",
        program->name, program->name);
    return 2;
}

int sim_main(int argument_count, char **arguments, const struct sim_program *the_program)
{
    uint64_t seed = 1;
    int64_t steps_max = 1000000;
    program = the_program;
    sl_log_set_level(SL_LOG_ERROR);
    sim_driver.shared = mmap(NULL, sizeof(*sim_driver.shared), PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sim_driver.shared == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (argument_count == 4 && strcmp(arguments[1], "replay") == 0) {
        return sl_parse_u64(sl_text_of(arguments[2]), &seed) ? replay(seed, arguments[3]) : usage();
    }
    bool is_whole = argument_count == 4 && strcmp(arguments[3], "whole") == 0;
    if ((argument_count > 3 && !is_whole) ||
        (argument_count > 1 && !sl_parse_i64(sl_text_of(arguments[1]), &steps_max)) ||
        (argument_count > 2 && !sl_parse_u64(sl_text_of(arguments[2]), &seed))) {
        return usage();
    }
    return run_seeds(seed, steps_max, !is_whole);
}
