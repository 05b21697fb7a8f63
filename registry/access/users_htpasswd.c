/* Users of a htpasswd file. bcrypt is slow on purpose: what was right is remembered for a minute,
 * and only some run at once, so that a flood of logins leaves threads and processors to others. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/access/htpasswd.h"
#include "registry/access/remembered.h"
#include "registry/access/users.h"

enum { REMEMBERED_MS = 60000, WAITING_MAX = 32 };

/* What a name is checked against where nobody is known: cost 10, of nothing. */
#define NOBODYS_HASH "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"

struct users_htpasswd {
    struct users users;
    char *path;
    struct remembered *remembered;
    pthread_rwlock_t lock;
    struct htpasswd file; /* under lock */
    pthread_mutex_t turn_lock;
    pthread_cond_t turn_free;
    unsigned turns, waiting; /* free ones; under turn_lock */
};

/* False: too many wait already. */
static bool take_turn(struct users_htpasswd *source)
{
    pthread_mutex_lock(&source->turn_lock);
    bool taken = source->turns > 0 || source->waiting < WAITING_MAX;
    if (taken) {
        source->waiting++;
        while (source->turns == 0)
            pthread_cond_wait(&source->turn_free, &source->turn_lock);
        source->waiting--;
        source->turns--;
    }
    pthread_mutex_unlock(&source->turn_lock);
    return taken;
}

static void leave_turn(struct users_htpasswd *source)
{
    pthread_mutex_lock(&source->turn_lock);
    source->turns++;
    pthread_cond_signal(&source->turn_free);
    pthread_mutex_unlock(&source->turn_lock);
}

/* Some other user's hash, always the same one for a name: with hashes of several costs, the time
 * then tells no more than with one. */
static const char *decoy(struct users_htpasswd *source, const char *name)
{
    char digest[DIGEST_TEXT_MAX];
    unsigned char bytes[4];
    if (source->file.count == 0)
        return NOBODYS_HASH;
    digest_of_bytes(name, strlen(name), digest);
    char start[9];
    memcpy(start, digest_hex(digest), 8);
    start[8] = '\0';
    text_parse_hex(start, bytes, sizeof bytes);
    size_t number =
        (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | (size_t)bytes[3];
    return source->file.users[number % source->file.count].hash;
}

/* The hash to check a name's password against; false: it cannot turn out right. */
static bool find_hash(struct users_htpasswd *source, const char *name,
                      char ret_hash[HTPASSWD_HASH_MAX])
{
    pthread_rwlock_rdlock(&source->lock);
    const struct htpasswd_user *user = htpasswd_find(&source->file, name);
    strcpy(ret_hash, user != NULL ? user->hash : decoy(source, name));
    pthread_rwlock_unlock(&source->lock);
    return user != NULL;
}

static enum users_answer check(struct users *users, const char *name, const char *password,
                               struct error *error)
{
    (void)error;
    struct users_htpasswd *source = (struct users_htpasswd *)users;
    char hash[HTPASSWD_HASH_MAX];
    struct proof proof;
    /* A name has no colon. The proof is taken before the hash is looked up: a reload between them
     * makes it worthless. */
    char *text = xasprintf("%s:%s", name, password);
    remembered_proof(source->remembered, text, strlen(text), &proof);
    explicit_bzero(text, strlen(text));
    free(text);
    if (remembered_has(source->remembered, &proof, clock_monotonic_ms(clock_system())))
        return USERS_GOOD;
    if (!take_turn(source))
        return USERS_BUSY;
    bool is_known = find_hash(source, name, hash);
    bool is_good = htpasswd_check(hash, password) && is_known;
    leave_turn(source);
    if (is_good)
        remembered_add(source->remembered, &proof, clock_monotonic_ms(clock_system()));
    return is_good ? USERS_GOOD : USERS_WRONG;
}

static bool mark(struct users *users, const char *name, char ret_mark[USERS_MARK_MAX])
{
    struct users_htpasswd *source = (struct users_htpasswd *)users;
    char digest[DIGEST_TEXT_MAX];
    pthread_rwlock_rdlock(&source->lock);
    const struct htpasswd_user *user = htpasswd_find(&source->file, name);
    /* Nobody gets from there to the hash, which has 128 random bits of salt in it. */
    if (user != NULL)
        digest_of_bytes(user->hash, strlen(user->hash), digest);
    pthread_rwlock_unlock(&source->lock);
    if (user == NULL)
        return false;
    memcpy(ret_mark, digest_hex(digest), USERS_MARK_MAX - 1);
    ret_mark[USERS_MARK_MAX - 1] = '\0';
    return true;
}

static int read_users(const char *path, struct htpasswd *ret_file, struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, HTPASSWD_FILE_MAX, &text, &length, error) < 0 ||
        htpasswd_parse(path, text, length, ret_file, error) < 0)
        return error_wrap(error, "users");
    if (ret_file->count == 0)
        log_warn("the file of users is empty, nobody can log in: shoal-registry passwd adds one",
                 "file", path);
    return 0;
}

static int reload(struct users *users, struct error *error)
{
    struct users_htpasswd *source = (struct users_htpasswd *)users;
    struct htpasswd file;
    if (read_users(source->path, &file, error) < 0)
        return -1;
    pthread_rwlock_wrlock(&source->lock);
    struct htpasswd before = source->file;
    source->file = file;
    pthread_rwlock_unlock(&source->lock);
    htpasswd_release(&before);
    remembered_clear(source->remembered);
    return 0;
}

static void destroy(struct users *users)
{
    struct users_htpasswd *source = (struct users_htpasswd *)users;
    remembered_destroy(source->remembered);
    htpasswd_release(&source->file);
    pthread_rwlock_destroy(&source->lock);
    pthread_mutex_destroy(&source->turn_lock);
    pthread_cond_destroy(&source->turn_free);
    free(source->path);
    free(source);
}

static const struct users_operations operations = {check, mark, reload, destroy};

int users_htpasswd_open(const char *path, struct users **ret_users, struct error *error)
{
    struct htpasswd file;
    if (read_users(path, &file, error) < 0)
        return -1;
    struct users_htpasswd *source = xcalloc(1, sizeof *source);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    source->users.operations = &operations;
    source->path = xstrdup(path);
    source->file = file;
    source->remembered = remembered_create(REMEMBERED_MS);
    source->turns = processors > 2 ? (unsigned)processors / 2 : 1;
    pthread_rwlock_init(&source->lock, NULL);
    pthread_mutex_init(&source->turn_lock, NULL);
    pthread_cond_init(&source->turn_free, NULL);
    *ret_users = &source->users;
    return 0;
}
