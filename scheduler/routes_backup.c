/* GET /v1/store/backup: a copy of the store as of one moment (store_copy.h). It is made as a file
 * in the state folder, which has no name any more when it is sent. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "scheduler/core.h"
#include "scheduler/routes.h"
#include "scheduler/store_backup.h"

struct backup_request {
    struct http_request *request; /* NULL: who asked is gone */
    char *path;
};

static void send_file(struct http_request *request, const char *path)
{
    struct error error;
    struct stat about;
    AUTO_CLOSE int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) < 0) {
        error_set_errno(&error, errno, "read %s", path);
        http_request_respond_error(request, &error);
        return;
    }
    http_request_respond_file(request, 200, "application/x-ndjson", TAKE_DESCRIPTOR(file), 0,
                              (uint64_t)about.st_size);
}

static void on_backup(const struct error *error, void *data)
{
    struct backup_request *asked = data;
    if (asked->request != NULL && error != NULL)
        http_request_respond_error(asked->request, error);
    else if (asked->request != NULL)
        send_file(asked->request, asked->path);
    if (error == NULL)
        unlink(asked->path);
    free(asked->path);
    free(asked);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct backup_request *)data)->request = NULL;
}

void routes_back_up_store(struct http_request *request, void *data)
{
    struct core *core = data;
    struct error error = ERROR_INIT;
    if (file_make_directory(core->options->state, 0700, &error) < 0) {
        http_request_respond_error(request, &error);
        return;
    }
    struct backup_request *asked = xcalloc(1, sizeof *asked);
    asked->request = request;
    asked->path = xasprintf("%s/backup", core->options->state);
    http_request_on_abandoned(request, on_abandoned, asked);
    store_back_up(core->store, core->loop, asked->path, on_backup, asked);
}
