/* `make sim`: plays scenarios until one breaks a promise, then the fewest steps that still do.
 *
 *   simulation [--seeds N] [--first SEED]       N scenarios (1000), of SEED and the ones after it
 *   simulation --seed SEED [--steps 0,3,5-9]    one, or some steps of it, with its whole trace */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/scenario.h"

#define TRACE_LINES 200

struct arguments {
    uint64_t seeds;
    uint64_t first;
    bool single;
    const char *steps;
};

static int read_arguments(int argc, char **argv, struct arguments *ret_arguments)
{
    struct arguments arguments = {.seeds = 1000, .first = (uint64_t)time(NULL) * 1000000};
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--seeds") == 0) {
            arguments.seeds = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--first") == 0) {
            arguments.first = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            arguments.first = strtoull(value, NULL, 10);
            arguments.single = true;
        } else if (strcmp(argv[i], "--steps") == 0) {
            arguments.steps = value;
        } else {
            fprintf(stderr,
                    "usage: %s [--seeds N] [--first SEED] | --seed SEED [--steps 0,3,5-9]\n",
                    argv[0]);
            return -1;
        }
    }
    *ret_arguments = arguments;
    return 0;
}

static int play_one(const struct arguments *arguments)
{
    struct scenario scenario = scenario_of_seed(arguments->first);
    if (arguments->steps != NULL && scenario_keep(&scenario, arguments->steps) < 0) {
        fprintf(stderr, "--steps are numbers like 0,3,5-9\n");
        return 2;
    }
    struct scenario_result result = scenario_play(&scenario, SIZE_MAX);
    printf("seed %" PRIu64 ": %s\n", arguments->first,
           result.failure != NULL ? result.failure : "every promise was kept");
    int status = result.failure != NULL;
    free(result.failure);
    return status;
}

static void tell_failure(struct scenario *scenario, const char *failure)
{
    printf("seed %" PRIu64 ": %s\nlooking for a smaller one ...\n", scenario->seed, failure);
    fflush(stdout);
    scenario_shrink(scenario);
    struct scenario_result result = scenario_play(scenario, TRACE_LINES);
    char *steps = scenario_kept(scenario);
    printf("seed %" PRIu64 ", steps %s: %s\nreplay: make sim SEED=%" PRIu64 " STEPS=%s\n",
           scenario->seed, steps, result.failure != NULL ? result.failure : "?", scenario->seed,
           steps);
    free(steps);
    free(result.failure);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    if (read_arguments(argc, argv, &arguments) < 0)
        return 2;
    if (arguments.single)
        return play_one(&arguments);
    uint64_t events = 0;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint64_t i = 0; i < arguments.seeds; i++) {
        struct scenario scenario = scenario_of_seed(arguments.first + i);
        struct scenario_result result = scenario_play(&scenario, 0);
        events += result.events;
        if (result.failure != NULL) {
            tell_failure(&scenario, result.failure);
            free(result.failure);
            return 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%" PRIu64 " scenarios from seed %" PRIu64 ", %" PRIu64
           " events: every promise was kept (%.1f s, %.0f scenarios a minute)\n",
           arguments.seeds, arguments.first, events, seconds,
           (double)arguments.seeds / seconds * 60);
    return 0;
}
