#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "image-format/layout.h"
#include "image-format/layout_store.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define PREFIX ".scratch."

/* The lock of a folder that is in use is held by the process that made it. */
static bool lock_folder(const char *path, int *ret_lock)
{
    AUTO_CLOSE int lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        return false;
    *ret_lock = TAKE_DESCRIPTOR(lock);
    return true;
}

static void remove_abandoned(const char *folder)
{
    DIR *store = opendir(folder);
    if (store == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(store)) != NULL;) {
        AUTO_FREE char *path = xasprintf("%s/%s", folder, entry->d_name);
        AUTO_CLOSE int lock = -1;
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 && lock_folder(path, &lock))
            file_remove_tree(path, NULL);
    }
    closedir(store);
}

int layout_scratch_create(const char *folder, struct layout_scratch *ret_scratch,
                          struct error *error)
{
    AUTO_CLOSE int store = -1;
    AUTO_CLOSE int lock = -1;
    AUTO_FREE char *path = xasprintf("%s/" PREFIX "XXXXXX", folder);
    /* Under the store's lock, so that nobody takes a new folder for an abandoned one. */
    if (layout_create(folder, error) < 0 || layout_lock(folder, &store, error) < 0)
        return -1;
    remove_abandoned(folder);
    if (mkdtemp(path) == NULL || !lock_folder(path, &lock))
        return error_set_errno(error, errno, "create a folder in %s", folder);
    ret_scratch->path = TAKE_POINTER(path);
    ret_scratch->lock = TAKE_DESCRIPTOR(lock);
    return 0;
}

void layout_scratch_remove(struct layout_scratch *scratch)
{
    if (scratch->path == NULL)
        return;
    file_remove_tree(scratch->path, NULL);
    close(scratch->lock);
    free(scratch->path);
    *scratch = (struct layout_scratch){0};
}
