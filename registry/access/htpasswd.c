#include "registry/access/htpasswd.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define BCRYPT_ALPHABET "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static bool is_bcrypt(const char *hash)
{
    return strlen(hash) == HTPASSWD_HASH_MAX - 1 && hash[0] == '$' && hash[1] == '2' &&
           strchr("aby", hash[2]) != NULL && hash[3] == '$' && strchr("0123", hash[4]) != NULL &&
           strchr("0123456789", hash[5]) != NULL && hash[6] == '$' &&
           strspn(hash + 7, BCRYPT_ALPHABET) == HTPASSWD_HASH_MAX - 1 - 7;
}

static unsigned bcrypt_cost(const char *hash)
{
    return (unsigned)(hash[4] - '0') * 10 + (unsigned)(hash[5] - '0');
}

static int check_hash(const char *path, size_t number, const char *hash, struct error *error)
{
    if (!is_bcrypt(hash))
        return error_set(
            error, ERROR_INVALID,
            "%s:%zu: not a bcrypt hash ($2y$...), and others are not taken: make it by "
            "`shoal-registry passwd NAME` or `htpasswd -B`",
            path, number);
    unsigned cost = bcrypt_cost(hash);
    if (cost < 4 || cost > HTPASSWD_COST_MAX)
        return error_set(error, ERROR_INVALID,
                         "%s:%zu: a bcrypt cost of %u is not taken: 4 to %d (`htpasswd -B -C 10`)",
                         path, number, cost, HTPASSWD_COST_MAX);
    return 0;
}

/* One line without its end; 0 with `user->name` empty: a line without a user. */
static int parse_line(const char *path, size_t number, const char *line, size_t length,
                      struct htpasswd_user *user, struct error *error)
{
    user->name[0] = '\0';
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0 || line[0] == '#')
        return 0;
    if (length > HTPASSWD_LINE_MAX)
        return error_set(error, ERROR_INVALID, "%s:%zu: longer than %d characters", path, number,
                         HTPASSWD_LINE_MAX);
    if (memchr(line, '\0', length) != NULL)
        return error_set(error, ERROR_INVALID, "%s:%zu: not text", path, number);
    AUTO_FREE char *name = xstrndup(line, length);
    char *colon = strchr(name, ':');
    if (colon == NULL)
        return error_set(error, ERROR_INVALID, "%s:%zu: not of the form NAME:HASH", path, number);
    *colon = '\0';
    if (!user_name_is_valid(name))
        return error_set(error, ERROR_INVALID,
                         "%s:%zu: \"%.40s\" cannot be a user's name: up to %d printable "
                         "characters, neither \"*\" nor \"anonymous\"",
                         path, number, name, USER_NAME_MAX - 1);
    if (check_hash(path, number, colon + 1, error) < 0)
        return -1;
    text_copy(user->name, sizeof user->name, name);
    text_copy(user->hash, sizeof user->hash, colon + 1);
    return 0;
}

static int compare_users(const void *one, const void *other)
{
    return strcmp(((const struct htpasswd_user *)one)->name,
                  ((const struct htpasswd_user *)other)->name);
}

static int sort_users(const char *path, struct htpasswd *htpasswd, struct error *error)
{
    if (htpasswd->count > 0)
        qsort(htpasswd->users, htpasswd->count, sizeof *htpasswd->users, compare_users);
    for (size_t i = 1; i < htpasswd->count; i++) {
        if (compare_users(&htpasswd->users[i - 1], &htpasswd->users[i]) == 0)
            return error_set(error, ERROR_INVALID, "%s: \"%s\" is there twice: keep one line", path,
                             htpasswd->users[i].name);
    }
    return 0;
}

static int parse_lines(const char *path, const char *text, size_t length, struct htpasswd *htpasswd,
                       struct error *error)
{
    const char *end = text + length;
    size_t capacity = 0;
    for (size_t number = 1; text < end; number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;
        struct htpasswd_user user;
        if (parse_line(path, number, text, (size_t)(line_end - text), &user, error) < 0)
            return -1;
        text = line_end + 1;
        if (user.name[0] == '\0')
            continue;
        if (htpasswd->count == HTPASSWD_USERS_MAX)
            return error_set(error, ERROR_TOO_LARGE, "%s:%zu: more than %d users", path, number,
                             HTPASSWD_USERS_MAX);
        if (htpasswd->count == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 16;
            htpasswd->users = xreallocarray(htpasswd->users, capacity, sizeof *htpasswd->users);
        }
        htpasswd->users[htpasswd->count++] = user;
    }
    return sort_users(path, htpasswd, error);
}

int htpasswd_parse(const char *path, const char *text, size_t length, struct htpasswd *ret_htpasswd,
                   struct error *error)
{
    struct htpasswd htpasswd = {0};
    if (length > HTPASSWD_FILE_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%s: more than %d bytes", path, HTPASSWD_FILE_MAX);
    if (parse_lines(path, text, length, &htpasswd, error) < 0) {
        htpasswd_release(&htpasswd);
        return -1;
    }
    *ret_htpasswd = htpasswd;
    return 0;
}

void htpasswd_release(struct htpasswd *htpasswd)
{
    free(htpasswd->users);
    *htpasswd = (struct htpasswd){0};
}

const struct htpasswd_user *htpasswd_find(const struct htpasswd *htpasswd, const char *name)
{
    struct htpasswd_user wanted = {0};
    if (htpasswd->count == 0 || !text_copy(wanted.name, sizeof wanted.name, name))
        return NULL;
    return bsearch(&wanted, htpasswd->users, htpasswd->count, sizeof wanted, compare_users);
}

/* --- bcrypt --- */

/* `setting` may be a whole hash. False: libcrypt does not take it. */
static bool run_crypt(const char *password, const char *setting, char ret_hash[HTPASSWD_HASH_MAX])
{
    struct crypt_data *data = xcalloc(1, sizeof *data); /* 32 KiB: not for the stack */
    const char *hash = crypt_rn(password, setting, data, sizeof *data);
    bool done = hash != NULL && text_copy(ret_hash, HTPASSWD_HASH_MAX, hash);
    explicit_bzero(data, sizeof *data);
    free(data);
    return done;
}

bool htpasswd_check(const char *hash, const char *password)
{
    char made[HTPASSWD_HASH_MAX];
    return strlen(hash) == sizeof made - 1 && run_crypt(password, hash, made) &&
           strlen(made) == sizeof made - 1 && bytes_equal_constant_time(made, hash, sizeof made);
}

int htpasswd_make(const char *password, unsigned cost, char ret_hash[HTPASSWD_HASH_MAX],
                  struct error *error)
{
    char salt[CRYPT_GENSALT_OUTPUT_SIZE], random[16], hash[HTPASSWD_HASH_MAX];
    random_bytes(random, sizeof random);
    if (crypt_gensalt_rn("$2y$", cost, random, sizeof random, salt, sizeof salt) == NULL ||
        !run_crypt(password, salt, hash) || !is_bcrypt(hash))
        return error_set(error, ERROR_INTERNAL, "libcrypt makes no bcrypt hash");
    memcpy(ret_hash, hash, sizeof hash);
    return 0;
}

/* --- changing a file --- */

static bool line_is_of(const char *line, size_t length, const char *name)
{
    size_t name_length = strlen(name);
    return length > name_length && memcmp(line, name, name_length) == 0 && line[name_length] == ':';
}

/* Copies the lines; the user's becomes the new one. Returns whether there was one. */
static bool replace_line(const char *text, const char *name, const char *hash, struct buffer *copy)
{
    bool found = false;
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        if (!line_is_of(text, length, name)) {
            buffer_append(copy, text, length);
            buffer_append_text(copy, "\n");
        } else if (!found && hash != NULL) {
            buffer_printf(copy, "%s:%s\n", name, hash);
        }
        found = found || line_is_of(text, length, name);
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    if (!found && hash != NULL)
        buffer_printf(copy, "%s:%s\n", name, hash);
    return found;
}

/* Writers take turns by their folder's lock, since the file itself is replaced. */
static int take_turn(const char *path, int *ret_descriptor, struct error *error)
{
    AUTO_FREE char *copy = xstrdup(path);
    const char *folder = dirname(copy);
    AUTO_CLOSE int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0 || flock(descriptor, LOCK_EX) < 0)
        return error_set_errno(error, errno, "lock %s", folder);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

/* The registry may run as another user than who changes its file. */
static int replace_file(const char *path, const struct buffer *text, const struct stat *before,
                        struct error *error)
{
    if (file_write(path, buffer_text(text), text->length, before->st_mode & 07777, error) < 0)
        return -1;
    bool is_ours = before->st_uid == geteuid() && before->st_gid == getegid();
    if (!is_ours && chown(path, before->st_uid, before->st_gid) < 0)
        return error_set_errno(error, errno, "give %s back to its owner", path);
    return 0;
}

int htpasswd_update(const char *path, const char *name, const char *hash, bool *ret_was_there,
                    struct error *error)
{
    AUTO_CLOSE int turn = -1;
    AUTO_FREE char *text = NULL;
    AUTO_BUFFER struct buffer copy = {0};
    struct error why = ERROR_INIT;
    struct htpasswd parsed;
    struct stat status = {.st_mode = 0600, .st_uid = geteuid(), .st_gid = getegid()};
    size_t length;
    if (take_turn(path, &turn, error) < 0)
        return -1;
    if (file_read(path, HTPASSWD_FILE_MAX, &text, &length, &why) < 0) {
        if (why.code != ERROR_NOT_FOUND || hash == NULL)
            return error_copy(error, &why);
        text = xstrdup("");
        length = 0;
    } else if (stat(path, &status) < 0) {
        return error_set_errno(error, errno, "stat %s", path);
    }
    /* What the registry does not read is not made worse. */
    if (htpasswd_parse(path, text, length, &parsed, error) < 0)
        return -1;
    htpasswd_release(&parsed);
    bool was_there = replace_line(text, name, hash, &copy);
    if (!was_there && hash == NULL)
        return error_set(error, ERROR_NOT_FOUND, "%s has no user \"%s\"", path, name);
    if (replace_file(path, &copy, &status, error) < 0)
        return -1;
    if (ret_was_there != NULL)
        *ret_was_there = was_there;
    return 0;
}
