#include "registry/rate_limit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define SETS        1024
#define SET_PLACES  4
#define ADDRESS_MAX 16
/* Tokens are counted in thousandths, so that a millisecond is worth `per_second` of them. */
#define TOKEN 1000u

struct bucket {
    unsigned char address[ADDRESS_MAX];
    uint64_t tokens;
    uint64_t at_ms; /* when `tokens` was right; 0: a free place */
};

struct rate_limit {
    uint64_t per_second;
    uint64_t full; /* tokens of a bucket that was left alone */
    struct set {
        pthread_mutex_t lock;
        struct bucket places[SET_PLACES];
    } sets[SETS];
};

struct rate_limit *rate_limit_create(uint32_t per_second, uint32_t burst)
{
    struct rate_limit *limit = xcalloc(1, sizeof *limit);
    limit->per_second = per_second;
    limit->full = (uint64_t)(burst > 0 ? burst : per_second) * TOKEN;
    for (size_t i = 0; i < SETS; i++)
        pthread_mutex_init(&limit->sets[i].lock, NULL);
    return limit;
}

void rate_limit_destroy(struct rate_limit *limit)
{
    if (limit == NULL)
        return;
    for (size_t i = 0; i < SETS; i++)
        pthread_mutex_destroy(&limit->sets[i].lock);
    free(limit);
}

static void read_address(const char *text, unsigned char ret_address[ADDRESS_MAX])
{
    memset(ret_address, 0, ADDRESS_MAX);
    if (inet_pton(AF_INET6, text, ret_address) == 1)
        memset(ret_address + 8, 0, 8);
    else if (inet_pton(AF_INET, text, ret_address + 12) == 1)
        ret_address[11] = 0xff; /* not to be taken for an IPv6 one */
}

/* FNV-1a. Who finds addresses that meet here only makes the registry forget some of them. */
static struct set *set_of(struct rate_limit *limit, const unsigned char address[ADDRESS_MAX])
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < ADDRESS_MAX; i++)
        hash = (hash ^ address[i]) * 16777619u;
    return &limit->sets[(hash ^ hash >> 16) % SETS];
}

/* The address's bucket, or the place of the one that was quiet longest. */
static struct bucket *find(struct set *set, const unsigned char address[ADDRESS_MAX], uint64_t full,
                           uint64_t now_ms)
{
    struct bucket *oldest = &set->places[0];
    for (size_t i = 0; i < SET_PLACES; i++) {
        struct bucket *bucket = &set->places[i];
        if (bucket->at_ms != 0 && memcmp(bucket->address, address, ADDRESS_MAX) == 0)
            return bucket;
        if (bucket->at_ms < oldest->at_ms)
            oldest = bucket;
    }
    memcpy(oldest->address, address, ADDRESS_MAX);
    oldest->tokens = full;
    oldest->at_ms = now_ms;
    return oldest;
}

bool rate_limit_take(struct rate_limit *limit, const char *address, uint64_t now_ms,
                     uint64_t *ret_wait_ms)
{
    unsigned char key[ADDRESS_MAX];
    read_address(address, key);
    struct set *set = set_of(limit, key);
    pthread_mutex_lock(&set->lock);
    struct bucket *bucket = find(set, key, limit->full, now_ms);
    if (now_ms > bucket->at_ms) {
        uint64_t passed = now_ms - bucket->at_ms;
        uint64_t missing = limit->full - bucket->tokens;
        bucket->tokens = passed > missing / limit->per_second
                             ? limit->full
                             : bucket->tokens + passed * limit->per_second;
        bucket->at_ms = now_ms;
    }
    bool fits = bucket->tokens >= TOKEN;
    if (fits)
        bucket->tokens -= TOKEN;
    else
        *ret_wait_ms = (TOKEN - bucket->tokens + limit->per_second - 1) / limit->per_second;
    pthread_mutex_unlock(&set->lock);
    return fits;
}
