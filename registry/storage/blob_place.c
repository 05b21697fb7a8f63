#include "registry/storage/blob_place.h"

#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define PLACE_LIMIT 4096

static char *path_of(const char *state)
{
    return xasprintf("%s/place", state);
}

int blob_place_check(const char *state, const char *place, struct error *error)
{
    AUTO_FREE char *path = path_of(state);
    AUTO_FREE char *line = xasprintf("%s\n", place);
    AUTO_FREE char *known = NULL;
    struct error why = ERROR_INIT;
    if (file_read(path, PLACE_LIMIT, &known, NULL, &why) < 0)
        return why.code == ERROR_NOT_FOUND ? 0 : error_copy(error, &why);
    if (strcmp(known, line) == 0)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "the blobs of %s are in \"%.*s\", and the settings say \"%s\": correct "
                     "\"storage\", or copy the blobs there and remove %s",
                     state, (int)strcspn(known, "\n"), known, place, path);
}

int blob_place_keep(const char *state, const char *place, struct error *error)
{
    AUTO_FREE char *path = path_of(state);
    AUTO_FREE char *line = xasprintf("%s\n", place);
    if (access(path, F_OK) == 0)
        return 0;
    return file_write(path, line, strlen(line), 0600, error);
}
