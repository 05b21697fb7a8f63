#include "registry/access/remembered.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

enum { SETS = 512, WAYS = 4, KEY_LENGTH = 32 };

struct place {
    struct proof proof;
    uint64_t ends_ms; /* 0: empty */
};

struct remembered {
    pthread_mutex_t lock;
    uint64_t lifetime_ms;
    unsigned char key[KEY_LENGTH]; /* of this process; new with each clearing */
    struct place places[SETS][WAYS];
};

struct remembered *remembered_create(uint64_t lifetime_ms)
{
    struct remembered *remembered = xcalloc(1, sizeof *remembered);
    pthread_mutex_init(&remembered->lock, NULL);
    remembered->lifetime_ms = lifetime_ms;
    random_bytes(remembered->key, sizeof remembered->key);
    return remembered;
}

void remembered_destroy(struct remembered *remembered)
{
    if (remembered == NULL)
        return;
    pthread_mutex_destroy(&remembered->lock);
    explicit_bzero(remembered, sizeof *remembered);
    free(remembered);
}

void remembered_proof(struct remembered *remembered, const void *text, size_t length,
                      struct proof *ret_proof)
{
    unsigned char key[KEY_LENGTH];
    pthread_mutex_lock(&remembered->lock);
    memcpy(key, remembered->key, sizeof key);
    pthread_mutex_unlock(&remembered->lock);
    hmac_sha256(key, sizeof key, text, length, ret_proof->mac);
}

/* The key is secret, so where a proof goes tells nobody anything. */
static struct place *set_of(struct remembered *remembered, const struct proof *proof)
{
    return remembered->places[(proof->mac[0] << 8 | proof->mac[1]) % SETS];
}

bool remembered_has(struct remembered *remembered, const struct proof *proof, uint64_t now_ms)
{
    bool found = false;
    const struct place *set = set_of(remembered, proof);
    pthread_mutex_lock(&remembered->lock);
    for (size_t i = 0; i < WAYS; i++)
        found |= set[i].ends_ms > now_ms &&
                 bytes_equal_constant_time(&set[i].proof, proof, sizeof *proof);
    pthread_mutex_unlock(&remembered->lock);
    return found;
}

void remembered_add(struct remembered *remembered, const struct proof *proof, uint64_t now_ms)
{
    struct place *set = set_of(remembered, proof), *oldest = set;
    pthread_mutex_lock(&remembered->lock);
    for (size_t i = 1; i < WAYS; i++) {
        if (set[i].ends_ms < oldest->ends_ms)
            oldest = &set[i];
    }
    *oldest = (struct place){*proof, now_ms + remembered->lifetime_ms};
    pthread_mutex_unlock(&remembered->lock);
}

void remembered_clear(struct remembered *remembered)
{
    pthread_mutex_lock(&remembered->lock);
    random_bytes(remembered->key, sizeof remembered->key);
    memset(remembered->places, 0, sizeof remembered->places);
    pthread_mutex_unlock(&remembered->lock);
}
