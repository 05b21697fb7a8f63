/*
 * batch: the smallest job worth running. It counts the primes of its share of the numbers, prints
 * how many there are, and ends: the completion 0 has the first SIZE numbers, 1 the next, and so on.
 *
 *     --slot=N       which share (the platform says so: ${instance.slot})
 *     --size N       numbers of a share (default 20000)
 *     --fail         ends as a failure, which is a panic
 *     --fail-slot N  the same, but only there
 *     --forever      never ends by itself
 */
#include <string.h>

#include <shoal/runtime.h>

#define SIZE_DEFAULT 20000
#define SIZE_LIMIT   10000000
#define SLOT_MAX     100000
#define NOWHERE      UINT64_MAX

static struct {
    uint64_t slot;
    uint64_t size;
    uint64_t fail_slot;
    bool fail;
    bool forever;
} batch = {.size = SIZE_DEFAULT, .fail_slot = NOWHERE};

static bool is_prime(uint64_t number)
{
    for (uint64_t divisor = 2; divisor * divisor <= number; divisor++) {
        if (number % divisor == 0) {
            return false;
        }
    }
    return number >= 2;
}

static bool read_number(const char *text, uint64_t limit, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && number <= limit; at++) {
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *ret_number = number;
    return at != text && *at == '\0' && number <= limit;
}

static bool read_argument(const char *name, const char *value)
{
    if (strcmp(name, "--slot") == 0) {
        return read_number(value, SLOT_MAX, &batch.slot);
    }
    if (strcmp(name, "--size") == 0) {
        return read_number(value, SIZE_LIMIT, &batch.size);
    }
    if (strcmp(name, "--fail-slot") == 0) {
        return read_number(value, SLOT_MAX, &batch.fail_slot);
    }
    return false;
}

static bool read_flag(const char *name)
{
    bool is_fail = strcmp(name, "--fail") == 0, is_forever = strcmp(name, "--forever") == 0;
    batch.fail = batch.fail || is_fail;
    batch.forever = batch.forever || is_forever;
    return is_fail || is_forever;
}

/* The value of "NAME=VALUE", whose name is cut off in place, or of "NAME" "VALUE"; NULL without. */
static const char *take_value(int argc, char **argv, int *index)
{
    for (char *at = argv[*index]; *at != '\0'; at++) {
        if (*at == '=') {
            *at = '\0';
            return at + 1;
        }
    }
    return *index + 1 < argc ? argv[++*index] : NULL;
}

static int read_arguments(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i];
        if (read_flag(name)) {
            continue;
        }
        const char *value = take_value(argc, argv, &i);
        if (value == NULL || !read_argument(name, value)) {
            shoal_log("batch: %s: unknown, or its value makes no sense (known: --slot N, --size N, "
                      "--fail, --fail-slot N, --forever)",
                      name);
            return -1;
        }
    }
    return 0;
}

static int start(int argc, char **argv)
{
    if (read_arguments(argc, argv) != 0) {
        return -1;
    }
    uint64_t first = batch.slot * batch.size, count = 0;
    for (uint64_t i = 0; i < batch.size; i++) {
        count += is_prime(first + i);
    }
    shoal_log("batch: share %lu: %lu primes from %lu to %lu", (unsigned long)batch.slot,
              (unsigned long)count, (unsigned long)first, (unsigned long)(first + batch.size - 1));
    if (batch.fail || batch.slot == batch.fail_slot) {
        shoal_panic("batch: share %lu fails on request", (unsigned long)batch.slot);
    }
    if (!batch.forever) {
        shoal_power_off();
    }
    return 0;
}

const struct shoal_application shoal_application = {"batch", "1.0", start};
