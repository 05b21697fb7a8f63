#include "scheduler/store_open.h"

#include <string.h>

#include "scheduler/store_etcd.h"
#include "scheduler/store_sqlite.h"

#define SQLITE "sqlite:"
#define ETCD   "etcd:"

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0 && text[strlen(start)] != '\0';
}

const char *store_place_check(const char *place)
{
    if (begins_with(place, SQLITE) || begins_with(place, ETCD "http://") ||
        begins_with(place, ETCD "https://"))
        return NULL;
    return "sqlite:FOLDER or etcd:http://HOST:2379[,http://HOST:2379...] is needed";
}

static int open_place(uv_loop_t *loop, const char *place, bool restored,
                      const struct store_identity *adopt, struct store **ret_store,
                      struct error *error)
{
    const char *wrong = store_place_check(place);
    if (wrong != NULL)
        return error_set(error, ERROR_INVALID, "the store \"%s\": %s", place, wrong);
    if (begins_with(place, ETCD)) {
        struct store_etcd_options etcd = {
            .endpoints = place + strlen(ETCD), .restored = restored, .adopt = adopt};
        return store_etcd_open(loop, &etcd, ret_store, error);
    }
    struct store_sqlite_options sqlite = {place + strlen(SQLITE), restored};
    if (adopt != NULL)
        return store_sqlite_open_empty(loop, sqlite.directory, adopt, ret_store, error);
    return store_sqlite_open(loop, &sqlite, ret_store, error);
}

int store_open(uv_loop_t *loop, const char *place, bool restored, struct store **ret_store,
               struct error *error)
{
    return open_place(loop, place, restored, NULL, ret_store, error);
}

int store_open_empty(uv_loop_t *loop, const char *place, const struct store_identity *adopt,
                     struct store **ret_store, struct error *error)
{
    return open_place(loop, place, false, adopt, ret_store, error);
}
