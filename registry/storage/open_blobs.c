#include "registry/storage/open_blobs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crypto.h"
#include "lib/xalloc.h"

#define PLACES 64

/* A digest has one place. */
struct place {
    pthread_mutex_t lock;
    char digest[DIGEST_ANY_MAX]; /* "": free */
    int descriptor;
    uint64_t forgotten; /* how often somebody forgot a digest of this place */
};

struct open_blobs {
    struct place places[PLACES];
};

struct open_blobs *open_blobs_create(void)
{
    struct open_blobs *open = xcalloc(1, sizeof *open);
    for (size_t i = 0; i < PLACES; i++)
        pthread_mutex_init(&open->places[i].lock, NULL);
    return open;
}

static void empty(struct place *place)
{
    if (place->digest[0] != '\0')
        close(place->descriptor);
    place->digest[0] = '\0';
}

void open_blobs_destroy(struct open_blobs *open)
{
    if (open == NULL)
        return;
    for (size_t i = 0; i < PLACES; i++) {
        empty(&open->places[i]);
        pthread_mutex_destroy(&open->places[i].lock);
    }
    free(open);
}

/* Locked. */
static struct place *place_of(struct open_blobs *open, const char *digest)
{
    const char first[] = {digest_hex(digest)[0], digest_hex(digest)[1], '\0'};
    struct place *place = &open->places[strtoul(first, NULL, 16) % PLACES];
    pthread_mutex_lock(&place->lock);
    return place;
}

bool open_blobs_take(struct open_blobs *open, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, uint64_t *ret_ticket)
{
    struct place *place = place_of(open, digest);
    struct stat status;
    int descriptor = -1;
    if (strcmp(place->digest, digest) == 0) {
        if (fstat(place->descriptor, &status) == 0 && status.st_nlink > 0)
            descriptor = fcntl(place->descriptor, F_DUPFD_CLOEXEC, 0);
        else
            empty(place);
    }
    *ret_ticket = place->forgotten;
    pthread_mutex_unlock(&place->lock);
    if (descriptor < 0)
        return false;
    *ret_descriptor = descriptor;
    *ret_size = (uint64_t)status.st_size;
    return true;
}

void open_blobs_keep(struct open_blobs *open, const char *digest, int descriptor, uint64_t ticket)
{
    struct place *place = place_of(open, digest);
    int copy = place->forgotten == ticket ? fcntl(descriptor, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0) {
        empty(place);
        strcpy(place->digest, digest);
        place->descriptor = copy;
    }
    pthread_mutex_unlock(&place->lock);
}

void open_blobs_forget(struct open_blobs *open, const char *digest)
{
    struct place *place = place_of(open, digest);
    place->forgotten++;
    if (strcmp(place->digest, digest) == 0)
        empty(place);
    pthread_mutex_unlock(&place->lock);
}
