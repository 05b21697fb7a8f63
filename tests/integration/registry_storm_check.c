/* Looks whether a registry has what it acknowledged (storm.h), for
 * tests/integration/registry_kill.sh:
 *
 *   registry_storm_check PORT JOURNAL
 *
 * Every blob is read and hashed, every manifest read, with all it refers to; tags are what they
 * were last set to, what was deleted is gone, uploads go on to their ends (which is added to the
 * journal). Then everything that the registry lists is followed down to its blobs. Prints what is
 * wrong and "N blobs, ..."; ends with 0 when nothing is. */
#include <stdarg.h>
#include <stdio.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "tests/integration/raw_http.h"
#include "tests/integration/storm.h"

/* What the journal says last of one thing. */
struct entry {
    char *key; /* "blob REPOSITORY DIGEST", ... */
    char *wanted, *perhaps;
    unsigned long long size, seed;
    struct entry *next; /* in its chain of the table */
};

enum { CHAINS = 1 << 16 };

struct check {
    struct raw_client http;
    FILE *journal;
    struct entry *chains[CHAINS];
    unsigned wrong, blobs, manifests, tags, uploads;
};

static struct entry *entry_of(struct check *check, const char *key)
{
    uint64_t hash = 0;
    for (const char *at = key; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    struct entry **chain = &check->chains[hash % CHAINS];
    for (struct entry *entry = *chain; entry != NULL; entry = entry->next) {
        if (strcmp(entry->key, key) == 0)
            return entry;
    }
    struct entry *entry = xcalloc(1, sizeof *entry);
    entry->key = xstrdup(key);
    entry->next = *chain;
    *chain = entry;
    return entry;
}

static void set(char **text, const char *value)
{
    free(*text);
    *text = value != NULL ? xstrdup(value) : NULL;
}

static void wrong(struct check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void wrong(struct check *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (check->wrong++ < 20) {
        vprintf(format, arguments);
        printf("\n");
    }
    va_end(arguments);
}

/* The status; the registry must answer. */
static int ask(struct check *check, const char *method, const char *target, const char *headers,
               const void *body, size_t length, struct raw_answer *ret_answer)
{
    if (raw_client_ask(&check->http, method, target, headers, body, length, ret_answer) == 0)
        return ret_answer->status;
    printf("the registry does not answer %s %s\n", method, target);
    exit(1);
}

/* --- what may be referred to --- */

static void check_manifest(struct check *check, const char *repository, const char *reference);

static void check_blob(struct check *check, const char *repository, const char *digest)
{
    AUTO_FREE char *key = xasprintf("seen blob %s %s", repository, digest);
    AUTO_FREE char *target = xasprintf("/v2/%s/blobs/%s", repository, digest);
    struct entry *seen = entry_of(check, key);
    struct raw_answer answer = {0};
    char found[DIGEST_TEXT_MAX];
    if (seen->wanted != NULL)
        return;
    set(&seen->wanted, "seen");
    check->blobs++;
    if (ask(check, "GET", target, "", NULL, 0, &answer) != 200) {
        wrong(check, "status %d for blob %s of %s", answer.status, digest, repository);
    } else {
        digest_of_bytes(answer.body, answer.length, found);
        if (strcmp(found, digest) != 0)
            wrong(check, "blob %s of %s has %zu other bytes", digest, repository, answer.length);
    }
    raw_answer_finish(&answer);
}

static void check_descriptor(struct check *check, const char *repository,
                             struct json_object *descriptor, bool is_manifest)
{
    struct json_object *digest;
    if (!json_object_object_get_ex(descriptor, "digest", &digest))
        wrong(check, "a descriptor without a digest in %s", repository);
    else if (is_manifest)
        check_manifest(check, repository, json_object_get_string(digest));
    else
        check_blob(check, repository, json_object_get_string(digest));
}

static void check_descriptors(struct check *check, const char *repository,
                              struct json_object *document, const char *key, bool is_manifest)
{
    struct json_object *list;
    if (!json_object_object_get_ex(document, key, &list))
        return;
    for (size_t i = 0; i < json_object_array_length(list); i++)
        check_descriptor(check, repository, json_object_array_get_idx(list, i), is_manifest);
}

static void check_references(struct check *check, const char *repository,
                             const struct raw_answer *answer)
{
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *config;
    if (json_parse(answer->body, answer->length, &document, NULL) < 0) {
        wrong(check, "a manifest of %s is no JSON", repository);
        return;
    }
    if (json_object_object_get_ex(document, "config", &config))
        check_descriptor(check, repository, config, false);
    check_descriptors(check, repository, document, "layers", false);
    check_descriptors(check, repository, document, "manifests", true);
}

/* Reads the manifest; its digest goes to ret_digest, "" when there is none. */
static void read_manifest(struct check *check, const char *repository, const char *reference,
                          char ret_digest[DIGEST_TEXT_MAX], struct raw_answer *ret_answer)
{
    AUTO_FREE char *target = xasprintf("/v2/%s/manifests/%s", repository, reference);
    ret_digest[0] = '\0';
    int status = ask(check, "GET", target, "", NULL, 0, ret_answer);
    if (status == 200)
        digest_of_bytes(ret_answer->body, ret_answer->length, ret_digest);
    else if (status != 404)
        wrong(check, "status %d for manifest %s of %s", status, reference, repository);
    AUTO_FREE char *told =
        status == 200 ? raw_answer_header(ret_answer, "Docker-Content-Digest") : NULL;
    if (status == 200 && (told == NULL || strcmp(told, ret_digest) != 0))
        wrong(check, "manifest %s of %s is not of its digest", reference, repository);
}

/* One that must be there, whole, with all it refers to. */
static void check_manifest(struct check *check, const char *repository, const char *reference)
{
    AUTO_FREE char *key = xasprintf("seen manifest %s %s", repository, reference);
    struct entry *seen = entry_of(check, key);
    struct raw_answer answer = {0};
    char digest[DIGEST_TEXT_MAX];
    if (seen->wanted != NULL)
        return;
    set(&seen->wanted, "seen");
    check->manifests++;
    read_manifest(check, repository, reference, digest, &answer);
    if (digest[0] == '\0')
        wrong(check, "manifest %s of %s is gone", reference, repository);
    else if (strncmp(reference, "sha256:", 7) == 0 && strcmp(digest, reference) != 0)
        wrong(check, "manifest %s of %s has other bytes", reference, repository);
    else
        check_references(check, repository, &answer);
    raw_answer_finish(&answer);
}

/* --- the journal --- */

static void read_words(struct check *check, char **words)
{
    AUTO_FREE char *thing = xasprintf("%s %s %s", words[0], words[1], words[2]);
    if (strcmp(words[0], "blob") == 0) {
        set(&entry_of(check, thing)->wanted, "there");
    } else if (strcmp(words[0], "manifest") == 0) {
        set(&entry_of(check, thing)->wanted, "there");
    } else if (strncmp(words[0], "delet", 5) == 0) {
        AUTO_FREE char *key = xasprintf("manifest %s %s", words[1], words[2]);
        struct entry *entry = entry_of(check, key);
        set(&entry->wanted, strcmp(words[0], "deleted") == 0 ? "gone" : "either");
    } else if (strncmp(words[0], "tagg", 4) == 0) {
        AUTO_FREE char *key = xasprintf("tag %s %s", words[1], words[2]);
        struct entry *entry = entry_of(check, key);
        bool is_done = strcmp(words[0], "tagged") == 0;
        set(&entry->perhaps, words[3]);
        if (is_done)
            set(&entry->wanted, words[3]);
    } else if (strcmp(words[0], "upload") == 0 || strcmp(words[0], "ended") == 0) {
        AUTO_FREE char *key = xasprintf("upload %s", words[1]);
        struct entry *entry = entry_of(check, key);
        set(&entry->wanted, words[0]);
        entry->size = strtoull(words[2], NULL, 10);
        entry->seed = strtoull(words[3], NULL, 10);
    }
}

static void read_journal(struct check *check, const char *path)
{
    AUTO_FCLOSE FILE *file = fopen(path, "r");
    char line[1024], *words[4];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *rest = line;
        for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
            words[i] = strtok_r(rest, " \n", &rest);
            if (words[i] == NULL)
                words[i] = rest = line + strlen(line); /* "" */
        }
        read_words(check, words);
    }
}

/* --- what it says --- */

static void check_manifest_entry(struct check *check, const struct entry *entry)
{
    char repository[64], reference[DIGEST_TEXT_MAX], digest[DIGEST_TEXT_MAX];
    struct raw_answer answer = {0};
    if (sscanf(entry->key, "manifest %63s %71s", repository, reference) != 2)
        abort();
    if (strcmp(entry->wanted, "there") == 0) {
        check_manifest(check, repository, reference);
        return;
    }
    read_manifest(check, repository, reference, digest, &answer);
    if (strcmp(entry->wanted, "gone") == 0 && digest[0] != '\0')
        wrong(check, "manifest %s of %s was deleted and is there", reference, repository);
    raw_answer_finish(&answer);
}

/* A tag goes with the manifest that it points at, when that one is deleted. */
static bool may_be_gone(struct check *check, const char *repository, const char *digest)
{
    AUTO_FREE char *key = xasprintf("manifest %s %s", repository, digest);
    const struct entry *entry = entry_of(check, key);
    return entry->wanted != NULL && strcmp(entry->wanted, "there") != 0;
}

static void check_tag_entry(struct check *check, const struct entry *entry)
{
    char repository[64], tag[64], digest[DIGEST_TEXT_MAX];
    struct raw_answer answer = {0};
    if (entry->wanted == NULL)
        return; /* asked for and never answered */
    if (sscanf(entry->key, "tag %63s %63s", repository, tag) != 2)
        abort();
    check->tags++;
    read_manifest(check, repository, tag, digest, &answer);
    bool is_wanted = strcmp(digest, entry->wanted) == 0 || strcmp(digest, entry->perhaps) == 0 ||
                     (digest[0] == '\0' && (may_be_gone(check, repository, entry->wanted) ||
                                            may_be_gone(check, repository, entry->perhaps)));
    if (!is_wanted)
        wrong(check, "tag %s of %s is %s, not %s", tag, repository, digest, entry->wanted);
    raw_answer_finish(&answer);
}

/* Sends the rest of it and the digest. */
static void end_upload(struct check *check, const char *location, const struct entry *entry,
                       size_t have)
{
    AUTO_FREE char *bytes = storm_content(entry->seed);
    size_t size = storm_size(entry->seed);
    char digest[DIGEST_TEXT_MAX];
    struct raw_answer answer = {0};
    digest_of_bytes(bytes, size, digest);
    AUTO_FREE char *target = xasprintf("%s?digest=%s", location, digest);
    AUTO_FREE char *range =
        have < size ? xasprintf("Content-Range: %zu-%zu\r\n", have, size - 1) : xstrdup("");
    if (have > size || ask(check, "PUT", target, range, bytes + have, size - have, &answer) != 201)
        wrong(check, "upload %s of %zu bytes does not go on at %zu: status %d", location, size,
              have, answer.status);
    fprintf(check->journal, "ended %s\n", location);
    raw_answer_finish(&answer);
}

static void check_upload_entry(struct check *check, const struct entry *entry)
{
    const char *location = entry->key + strlen("upload ");
    struct raw_answer answer = {0};
    unsigned long long last = 0;
    if (strcmp(entry->wanted, "upload") != 0)
        return;
    check->uploads++;
    int status = ask(check, "GET", location, "", NULL, 0, &answer);
    AUTO_FREE char *range = status == 204 ? raw_answer_header(&answer, "Range") : NULL;
    if (range == NULL || sscanf(range, "0-%llu", &last) != 1 || last + 1 < entry->size)
        wrong(check, "upload %s had %llu bytes, and now status %d, %s", location, entry->size,
              status, range != NULL ? range : "no Range");
    else
        end_upload(check, location, entry, (size_t)last + 1);
    raw_answer_finish(&answer);
}

static void check_entry(struct check *check, const struct entry *entry)
{
    char repository[64], digest[DIGEST_TEXT_MAX];
    if (sscanf(entry->key, "blob %63s %71s", repository, digest) == 2)
        check_blob(check, repository, digest);
    else if (strncmp(entry->key, "manifest ", 9) == 0 && entry->wanted != NULL)
        check_manifest_entry(check, entry);
    else if (strncmp(entry->key, "tag ", 4) == 0)
        check_tag_entry(check, entry);
    else if (strncmp(entry->key, "upload ", 7) == 0)
        check_upload_entry(check, entry);
}

static void check_entries(struct check *check)
{
    for (size_t i = 0; i < CHAINS; i++) {
        for (const struct entry *entry = check->chains[i]; entry != NULL; entry = entry->next)
            check_entry(check, entry);
    }
}

/* --- what the registry lists --- */

/* Calls `each` for the names in a list, page after page. */
static void follow_list(struct check *check, const char *list, const char *member,
                        const char *repository,
                        void (*each)(struct check *, const char *repository, const char *name))
{
    AUTO_FREE char *last = xstrdup("");
    for (size_t length = 1; length > 0;) {
        AUTO_FREE char *target = xasprintf("%s?n=500%s%s", list, *last ? "&last=" : "", last);
        AUTO_JSON struct json_object *document = NULL;
        struct json_object *names = NULL;
        struct raw_answer answer = {0};
        int status = ask(check, "GET", target, "", NULL, 0, &answer);
        if (status == 200)
            json_parse(answer.body, answer.length, &document, NULL);
        raw_answer_finish(&answer);
        if (status != 200 || !json_object_object_get_ex(document, member, &names)) {
            wrong(check, "status %d for %s", status, target);
            return;
        }
        length = json_object_array_length(names);
        for (size_t i = 0; i < length; i++) {
            set(&last, json_object_get_string(json_object_array_get_idx(names, i)));
            each(check, repository, last);
        }
    }
}

static void check_listed_repository(struct check *check, const char *nothing, const char *name)
{
    AUTO_FREE char *list = xasprintf("/v2/%s/tags/list", name);
    (void)nothing;
    follow_list(check, list, "tags", name, check_manifest);
}

int main(int count, char **arguments)
{
    static struct check check;
    if (count != 3 || (check.journal = fopen(arguments[2], "a")) == NULL) {
        fprintf(stderr, "usage: registry_storm_check PORT JOURNAL\n");
        return 2;
    }
    raw_client_init(&check.http, (uint16_t)atoi(arguments[1]));
    read_journal(&check, arguments[2]);
    check_entries(&check);
    follow_list(&check, "/v2/_catalog", "repositories", "", check_listed_repository);
    printf("%u blobs, %u manifests, %u tags, %u uploads\n", check.blobs, check.manifests,
           check.tags, check.uploads);
    return fclose(check.journal) == 0 && check.wrong == 0 ? 0 : 1;
}
