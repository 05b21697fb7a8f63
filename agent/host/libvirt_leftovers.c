#include "agent/host/libvirt_leftovers.h"

#include <dirent.h>
#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define NO_PROCESS INT32_MAX /* more than Linux ever gives: 1 << 22 */

bool libvirt_pid_is_of(const char *name, pid_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *text = NULL;
    size_t length;
    if (pid <= 1 || file_read(path, 1 << 20, &text, &length, NULL) < 0)
        return false;
    AUTO_FREE char *guest = xasprintf("guest=%s,", name);
    return memmem(text, length, guest, strlen(guest)) != NULL;
}

/* -1 also when two have that name: another agent's libvirt may have one, too. */
static pid_t search_pid(const char *name)
{
    DIR *folder = opendir("/proc");
    pid_t found = -1;
    size_t count = 0;
    uint64_t pid;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (text_parse_u64(entry->d_name, INT32_MAX, &pid) && libvirt_pid_is_of(name, (pid_t)pid)) {
            found = (pid_t)pid;
            count++;
        }
    }
    if (folder != NULL)
        closedir(folder);
    return count == 1 ? found : -1;
}

pid_t libvirt_find_pid(const char *name, const char *pid_file)
{
    AUTO_FREE char *text = NULL;
    uint64_t pid;
    if (file_read(pid_file, 64, &text, NULL, NULL) < 0)
        return search_pid(name);
    text[strcspn(text, "\n")] = '\0';
    return text_parse_u64(text, INT32_MAX, &pid) && libvirt_pid_is_of(name, (pid_t)pid) ? (pid_t)pid
                                                                                        : -1;
}

static void remove_folders(const char *pattern)
{
    glob_t found;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        rmdir(found.gl_pathv[i]); /* the kernel keeps one with processes */
    globfree(&found);
}

/* libvirt names them after its root and the domain's number, so they are nobody else's. */
static void remove_groups(const char *root, const char *name, const char *status)
{
    static const char *const below[] = {"/libvirt/*", "/*", ""};
    static const char *const hierarchies[] = {"", "/*"};
    const char *number = strstr(status, "<domain ");
    number = number != NULL ? strstr(number, " id='") : NULL;
    if (number == NULL)
        return;
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(root, strlen(root), digest);
    for (size_t i = 0; i < ARRAY_LENGTH(hierarchies) * ARRAY_LENGTH(below); i++) {
        AUTO_FREE char *pattern = xasprintf(
            "/sys/fs/cgroup%s/machine/qemu-embed-%.8s-%ld-%s.libvirt-qemu%s",
            hierarchies[i / ARRAY_LENGTH(below)], digest_hex(digest),
            strtol(number + strlen(" id='"), NULL, 10), name, below[i % ARRAY_LENGTH(below)]);
        remove_folders(pattern);
    }
}

static void settle(const char *root, const char *folder, const char *file)
{
    static const char mark[] = " pid='";
    AUTO_FREE char *name = xstrndup(file, strlen(file) - strlen(".xml"));
    AUTO_FREE char *path = xasprintf("%s/%s", folder, file);
    AUTO_FREE char *text = NULL;
    if (file_read(path, 1 << 20, &text, NULL, NULL) < 0)
        return;
    const char *status = strstr(text, "<domstatus ");
    const char *pid = status != NULL ? strstr(status, mark) : NULL;
    if (pid == NULL)
        return;
    pid += sizeof mark - 1;
    size_t digits = strspn(pid, "0123456789");
    if (digits == 0 || libvirt_pid_is_of(name, (pid_t)strtol(pid, NULL, 10)))
        return;
    AUTO_FREE char *changed =
        xasprintf("%.*s%d%s", (int)(pid - text), text, NO_PROCESS, pid + digits);
    if (file_write(path, changed, strlen(changed), 0600, NULL) < 0)
        log_warn("libvirt's note of an ended microVM cannot be changed", "file", path);
    remove_groups(root, name, status);
}

void libvirt_leftovers_settle(const char *root)
{
    AUTO_FREE char *path = xasprintf("%s/run/qemu", root);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > 4 && strcmp(entry->d_name + length - 4, ".xml") == 0)
            settle(root, path, entry->d_name);
    }
    closedir(folder);
}
