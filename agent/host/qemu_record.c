#include "agent/host/qemu_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SUFFIX     ".json"
#define RECORD_MAX 4096

static const struct json_field fields[] = {
    JSON_FIELD(struct qemu_record, identity.id, "id", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct qemu_record, identity.kernel, "kernel", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct qemu_record, identity.image, "image", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct qemu_record, identity.address, "address", JSON_STRING,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct qemu_record, identity.family, "family", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct qemu_record, pid, "pid", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = INT32_MAX),
    JSON_FIELD(struct qemu_record, started, "started", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = INT64_MAX),
    JSON_FIELD_END,
};
static const struct json_record description = {sizeof(struct qemu_record), fields};

static char *path_of(const char *folder, const char *id)
{
    return xasprintf("%s/%s" SUFFIX, folder, id);
}

static bool is_id(const char *text)
{
    unsigned char bytes[(INSTANCE_ID_MAX - 1) / 2];
    return text_parse_hex(text, bytes, sizeof bytes);
}

/* Not synced: what a crash of the machine loses, it loses with the process. */
int qemu_record_write(const char *folder, const struct qemu_record *record, struct error *error)
{
    AUTO_FREE char *path = path_of(folder, record->identity.id);
    AUTO_FREE char *beside = xasprintf("%s.new", path);
    AUTO_FREE char *text = json_record_text(&description, record);
    AUTO_CLOSE int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return error_set_errno(error, errno, "create %s", beside);
    if (file_write_all(file, text, strlen(text), error) < 0)
        return error_wrap(error, "%s", beside);
    if (rename(beside, path) < 0)
        return error_set_errno(error, errno, "rename to %s", path);
    return 0;
}

int qemu_record_read(const char *folder, const char *id, struct qemu_record *ret_record,
                     struct error *error)
{
    AUTO_FREE char *path = path_of(folder, id);
    AUTO_FREE char *text = NULL;
    struct qemu_record record = {0};
    size_t length;
    if (file_read(path, RECORD_MAX, &text, &length, error) < 0 ||
        json_parse_record(&description, text, length, JSON_LENIENT, &record, error) < 0)
        return error_wrap(error, "%s", path);
    const struct microvm_identity *identity = &record.identity;
    if (strcmp(identity->id, id) != 0 || !digest_is_valid(identity->image) ||
        (identity->kernel[0] != '\0' && !digest_is_valid(identity->kernel)))
        return error_set(error, ERROR_INVALID, "%s is not whole", path);
    *ret_record = record;
    return 0;
}

void qemu_record_remove(const char *folder, const char *id)
{
    AUTO_FREE char *path = path_of(folder, id);
    unlink(path);
}

size_t qemu_record_list(const char *folder, char (**ret_ids)[INSTANCE_ID_MAX])
{
    char(*ids)[INSTANCE_ID_MAX] = NULL;
    size_t count = 0;
    DIR *all = opendir(folder);
    struct dirent *entry;
    while (all != NULL && (entry = readdir(all)) != NULL) {
        char id[INSTANCE_ID_MAX] = "";
        if (strlen(entry->d_name) != sizeof id - 1 + strlen(SUFFIX) ||
            strcmp(entry->d_name + sizeof id - 1, SUFFIX) != 0)
            continue;
        memcpy(id, entry->d_name, sizeof id - 1);
        if (!is_id(id))
            continue;
        ids = xreallocarray(ids, count + 1, sizeof *ids);
        memcpy(ids[count++], id, sizeof id);
    }
    if (all != NULL)
        closedir(all);
    *ret_ids = ids;
    return count;
}
