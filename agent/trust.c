#include "agent/trust.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define KEY_FILE_MAX 65536

static int add_local(struct trust *trust, const char *path, struct error *error)
{
    AUTO_FREE char *pem = NULL;
    size_t length;
    struct public_key *key;
    if (file_read(path, KEY_FILE_MAX, &pem, &length, error) < 0 ||
        public_key_from_pem(pem, length, &key, error) < 0)
        return error_wrap(error, "trust folder: %s", path);
    trust->local_ids =
        xreallocarray(trust->local_ids, trust->local_count + 1, sizeof *trust->local_ids);
    public_key_id(key, trust->local_ids[trust->local_count++]);
    public_key_destroy(key);
    return 0;
}

static int read_local(struct trust *trust, const char *directory, struct error *error)
{
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return error_set_errno(error, errno, "trust folder %s", directory);
    const struct dirent *entry;
    int status = 0;
    while (status == 0 && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        AUTO_FREE char *path = xasprintf("%s/%s", directory, entry->d_name);
        status = add_local(trust, path, error);
    }
    closedir(dir);
    return status;
}

int trust_init(struct trust *ret_trust, const char *directory, struct error *error)
{
    struct trust trust = {.has_local = directory != NULL};
    if (directory != NULL && read_local(&trust, directory, error) < 0) {
        trust_finish(&trust);
        return -1;
    }
    *ret_trust = trust;
    return 0;
}

static bool is_local(const struct trust *trust, const char *id)
{
    for (size_t i = 0; i < trust->local_count; i++) {
        if (strcmp(trust->local_ids[i], id) == 0)
            return true;
    }
    return !trust->has_local;
}

static void free_policies(struct trust *trust)
{
    for (size_t i = 0; i < trust->policy_count; i++)
        json_record_release(&api_policy_record, &trust->policies[i]);
    free(trust->policies);
    trust->policies = NULL;
    trust->policy_count = 0;
}

static void take_policies(struct trust *trust, const struct api_trust *document)
{
    free_policies(trust);
    trust->policies = xcalloc(document->policy_count + 1, sizeof *trust->policies);
    trust->policy_count = document->policy_count;
    for (size_t i = 0; i < document->policy_count; i++)
        json_record_copy(&api_policy_record, &document->policies[i], &trust->policies[i]);
}

void trust_apply(struct trust *trust, const struct api_trust *document)
{
    struct trusted_key *keys = xcalloc(document->key_count + 1, sizeof *keys);
    size_t count = 0;
    for (size_t i = 0; i < document->key_count; i++) {
        const struct api_key *key = &document->keys[i];
        struct error error = ERROR_INIT;
        if (trusted_key_parse(key->name, key->pem, strlen(key->pem), &keys[count], &error) < 0) {
            log_error("a trusted key cannot be read", "name", key->name, "reason", error.message);
        } else if (!is_local(trust, keys[count].id)) {
            log_warn("a trusted key does not count here: it is not in the trust folder", "name",
                     key->name, "key", keys[count].id);
            public_key_destroy(keys[count].key);
        } else {
            count++;
        }
    }
    trusted_keys_free(trust->keys, trust->key_count);
    trust->keys = keys;
    trust->key_count = count;
    take_policies(trust, document);
    trust->term = document->term;
    trust->revision = document->revision;
    log_info("trust applied", "revision", LOG_NUMBER(trust->revision), "keys", LOG_NUMBER(count),
             "policies", LOG_NUMBER(trust->policy_count));
}

struct image_rules trust_rules(const struct trust *trust, const char *registry,
                               const char *repository)
{
    return (struct image_rules){
        .keys = trust->keys,
        .key_count = trust->key_count,
        .policies = trust->policies,
        .policy_count = trust->policy_count,
        .registry = registry,
        .repository = repository,
        .now_ms = clock_wall_ms(clock_system()),
        .needs_trusted_key = trust->has_local,
    };
}

bool trust_is_since(const struct trust *trust, uint64_t term, uint64_t revision)
{
    return trust->revision > 0 &&
           (trust->term > term || (trust->term == term && trust->revision >= revision));
}

void trust_finish(struct trust *trust)
{
    trusted_keys_free(trust->keys, trust->key_count);
    free_policies(trust);
    free(trust->local_ids);
    *trust = (struct trust){0};
}
