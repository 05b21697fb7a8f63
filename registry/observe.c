#include "registry/observe.h"

#include <stdio.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "registry/registry.h"
#include "registry/routes.h"

static const struct {
    http_handler *handler;
    enum metrics_route route;
} kinds[] = {
    {route_blob_get, ROUTE_BLOB},       {route_manifest_get, ROUTE_MANIFEST},
    {route_upload_patch, ROUTE_UPLOAD}, {route_upload_put, ROUTE_UPLOAD},
    {route_upload_post, ROUTE_UPLOAD},  {route_manifest_put, ROUTE_MANIFEST},
    {route_version_check, ROUTE_BASE},  {route_tags_list, ROUTE_TAGS},
    {route_referrers, ROUTE_REFERRERS}, {route_catalog, ROUTE_CATALOG},
    {route_upload_get, ROUTE_UPLOAD},   {route_upload_delete, ROUTE_UPLOAD},
    {route_token_get, ROUTE_TOKEN},     {route_token_post, ROUTE_TOKEN},
    {route_blob_delete, ROUTE_BLOB},    {route_manifest_delete, ROUTE_MANIFEST},
};

static enum metrics_route kind_of(const struct http_route *route)
{
    for (size_t i = 0; route != NULL && i < ARRAY_LENGTH(kinds); i++) {
        if (kinds[i].handler == route->handler)
            return kinds[i].route;
    }
    return ROUTE_OTHER;
}

static void write_line(struct log_file *file, const struct http_summary *summary)
{
    char milliseconds[32];
    snprintf(milliseconds, sizeof milliseconds, "%llu.%03u",
             (unsigned long long)(summary->microseconds / 1000),
             (unsigned)(summary->microseconds % 1000));
    log_file_write(file, "client", summary->peer, "user", summary->user, "method", summary->method,
                   "path", summary->path, "status", LOG_NUMBER(summary->status), "in",
                   LOG_NUMBER(summary->bytes_in), "out", LOG_NUMBER(summary->bytes_out), "ms",
                   milliseconds, (char *)0);
}

void observe_request(const struct http_summary *summary, void *data)
{
    struct registry *registry = data;
    metrics_observe(&registry->metrics, kind_of(summary->route), summary->method, summary->status,
                    summary->bytes_in, summary->bytes_out, summary->microseconds);
    if (registry->access_log != NULL)
        write_line(registry->access_log, summary);
}
