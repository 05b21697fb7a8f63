/*
 * counter: a number that survives. It is kept in the volume whose device is "data" (or as --device
 * says) and goes on counting after a restart, an upgrade, or the death of its microVM:
 *
 *     8080  GET  /         the number
 *           POST /         adds one, and answers the new number once it is safe
 *           GET  /healthz  200 "ok", or 503 once the disk has failed
 *
 * The number has two places on the disk, in blocks of their own, which are written in turn: a write
 * that is cut short spoils the older one, and the newer one that is whole counts. What was answered
 * was flushed before.
 */
#include <string.h>

#include <shoal/runtime.h>

#define PORT           8080
#define MAGIC          0x7265746e756f6331ULL /* "1counter" */
#define PLACES         2
#define PLACE_DISTANCE 8 /* sectors: a block of the host's disk */

/* Fills a sector with what follows, which is zero. */
struct record {
    uint64_t magic;
    uint64_t generation; /* ascending with each write */
    uint64_t value;
    uint64_t checksum; /* of the three above */
    uint8_t rest[SHOAL_DISK_SECTOR - 4 * sizeof(uint64_t)];
};

_Static_assert(sizeof(struct record) == SHOAL_DISK_SECTOR, "a record is a sector");

static struct {
    struct shoal_disk *disk;
    const char *device;
    uint64_t generation;
    uint64_t value;
    bool healthy;
} counter = {.device = "data", .healthy = true};

/* FNV-1a, which a sector of other contents passes by no accident worth speaking of. */
static uint64_t checksum_of(const struct record *record)
{
    const uint8_t *bytes = (const uint8_t *)record;
    uint64_t sum = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < offsetof(struct record, checksum); i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3ULL;
    }
    return sum;
}

static bool is_whole(const struct record *record)
{
    return record->magic == MAGIC && record->checksum == checksum_of(record);
}

static bool is_empty(const struct record *record)
{
    const uint8_t *bytes = (const uint8_t *)record;
    for (size_t i = 0; i < sizeof(*record); i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* A new volume holds nothing; one that holds something else is left alone. */
static int load(void)
{
    static struct record record;
    bool found = false, empty = true;
    for (uint64_t place = 0; place < PLACES; place++) {
        if (shoal_disk_read(counter.disk, place * PLACE_DISTANCE, &record, 1) != 0) {
            shoal_log("counter: the disk %s cannot be read", counter.device);
            return -1;
        }
        empty = empty && is_empty(&record);
        if (is_whole(&record) && (!found || record.generation > counter.generation)) {
            found = true;
            counter.generation = record.generation;
            counter.value = record.value;
        }
    }
    if (!found && !empty) {
        shoal_log("counter: the disk %s holds something else, which is not overwritten",
                  counter.device);
        return -1;
    }
    return 0;
}

/* The next record goes over the older one. Nothing has changed here unless it is safe there. */
static int store(uint64_t value)
{
    static struct record record;
    uint64_t generation = counter.generation + 1;
    record = (struct record){.magic = MAGIC, .generation = generation, .value = value};
    record.checksum = checksum_of(&record);
    if (shoal_disk_write(counter.disk, generation % PLACES * PLACE_DISTANCE, &record, 1) != 0 ||
        shoal_disk_flush(counter.disk) != 0) {
        return -1;
    }
    counter.generation = generation;
    counter.value = value;
    return 0;
}

static void answer_number(const struct shoal_http_request *request,
                          struct shoal_http_response *response)
{
    if (strcmp(request->method, "POST") == 0 && store(counter.value + 1) != 0) {
        counter.healthy = false;
        shoal_log("counter: the disk %s cannot be written", counter.device);
        shoal_http_answer(response, 500, "not counted: the disk cannot be written\n");
        return;
    }
    shoal_http_answer(response, 200, "%lu\n", (unsigned long)counter.value);
}

static void answer(const struct shoal_http_request *request, struct shoal_http_response *response)
{
    if (strcmp(request->path, "/") == 0) {
        answer_number(request, response);
    } else if (strcmp(request->path, "/healthz") == 0) {
        shoal_http_answer(response, counter.healthy ? 200 : 503, "%s\n",
                          counter.healthy ? "ok" : "the disk cannot be written");
    } else {
        shoal_http_answer(response, 404, "not found\n");
    }
}

static int read_arguments(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--device") == 0 && i + 1 < argc) {
            counter.device = argv[++i];
        } else if (strncmp(argv[i], "--device=", 9) == 0) {
            counter.device = argv[i] + 9;
        } else {
            shoal_log("counter: unknown argument or missing value: %s (known: --device NAME)",
                      argv[i]);
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
    counter.disk = shoal_disk_find(counter.device);
    if (counter.disk == NULL || shoal_disk_sectors(counter.disk) < PLACES * PLACE_DISTANCE) {
        shoal_log("counter: there is no disk %s, or it is too small: give the service "
                  "volumes: [{name: data, size: 1Mi}]",
                  counter.device);
        return -1;
    }
    if (load() != 0) {
        return -1;
    }
    if (shoal_http_listen_for_changes(PORT, answer) != 0) {
        shoal_log("counter: cannot listen");
        return -1;
    }
    shoal_log("counter 1.0 goes on from %lu, listening on %s:%d", (unsigned long)counter.value,
              shoal_address(), PORT);
    return 0;
}

const struct shoal_application shoal_application = {"counter", "1.0", start};
