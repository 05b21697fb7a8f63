/* Tags, repositories, referrers. Lists come in pages of at most PAGE_MAX with a Link to the next.
 */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/oci.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

#define PAGE_MAX 1000
/* Manifests that one page of referrers has, and the bytes of all their annotations together. */
#define REFERRERS_MAX       1000
#define REFERRERS_BYTES_MAX OCI_MANIFEST_LIMIT

struct page {
    const char *last;
    uint64_t count; /* as asked, at most PAGE_MAX */
};

/* -1 after answering. */
static int read_page(struct http_request *request, struct page *ret_page)
{
    const char *count = http_request_query(request, "n");
    const char *last = http_request_query(request, "last");
    uint64_t number = PAGE_MAX;
    if (count != NULL && !text_parse_u64(count, INT64_MAX, &number)) {
        oci_error_respond_status(request, OCI_UNSUPPORTED, 400, "n=%.40s is no number", count);
        return -1;
    }
    ret_page->last = last != NULL ? last : "";
    ret_page->count = number < PAGE_MAX ? number : PAGE_MAX;
    return 0;
}

/* Answers with the page, of which one name more was asked for to know whether there is another. */
static void respond_page(struct http_request *request, const struct page *page,
                         const char *repository, const char *key, struct json_strings *names)
{
    struct json_object *object = json_object_new_object();
    struct json_object *list = json_object_new_array();
    if (repository != NULL)
        json_object_object_add(object, "name", json_object_new_string(repository));
    for (size_t i = 0; i < names->count && i < page->count; i++)
        json_object_array_add(list, json_object_new_string(names->items[i]));
    json_object_object_add(object, key, list);
    if (names->count > page->count && page->count > 0) {
        AUTO_FREE char *last = http_encode_segment(names->items[page->count - 1]);
        route_add_header(request, "Link", "<%s?n=%llu&last=%s>; rel=\"next\"",
                         http_request_path(request), (unsigned long long)page->count, last);
    }
    json_strings_release(names);
    http_request_respond_json(request, 200, object);
}

void route_tags_list(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    struct json_strings names = {0};
    struct page page;
    const char *repository = route_repository(request);
    if (repository == NULL || read_page(request, &page) < 0)
        return;
    int found = metadata_has_repository(registry->metadata, repository, &error);
    if (found == 0) {
        oci_error_respond(request, OCI_NAME_UNKNOWN, "there is no repository %s", repository);
        return;
    }
    if (found == 1)
        found = metadata_list_tags(registry->metadata, repository, page.last, page.count + 1,
                                   &names, &error);
    if (found < 0)
        oci_error_respond_failure(request, &error);
    else
        respond_page(request, &page, repository, "tags", &names);
}

void route_catalog(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    struct json_strings names = {0};
    struct page page;
    if (read_page(request, &page) < 0)
        return;
    if (metadata_list_repositories(registry->metadata, page.last, page.count + 1, &names, &error) <
        0)
        oci_error_respond_failure(request, &error);
    else
        respond_page(request, &page, NULL, "repositories", &names);
}

/* --- referrers --- */

struct referrers {
    const char *wanted_type; /* NULL: any */
    struct json_object *list;
    size_t count;
    size_t bytes;
    uint64_t last; /* id of the last one looked at */
    bool has_more;
};

static void add_referrer(struct referrers *referrers, const struct metadata_referrer *referrer)
{
    struct json_object *entry = json_object_new_object(), *annotations = NULL;
    json_object_object_add(entry, "mediaType", json_object_new_string(referrer->media_type));
    json_object_object_add(entry, "digest", json_object_new_string(referrer->digest));
    json_object_object_add(entry, "size", json_object_new_uint64(referrer->size));
    if (referrer->artifact_type != NULL)
        json_object_object_add(entry, "artifactType",
                               json_object_new_string(referrer->artifact_type));
    if (referrer->annotations != NULL &&
        json_parse(referrer->annotations, strlen(referrer->annotations), &annotations, NULL) == 0)
        json_object_object_add(entry, "annotations", annotations);
    json_object_array_add(referrers->list, entry);
}

static bool take_referrer(const struct metadata_referrer *referrer, void *data)
{
    struct referrers *referrers = data;
    size_t bytes = referrer->annotations != NULL ? strlen(referrer->annotations) : 0;
    /* At least one a page, so that every page leads on. */
    if (referrers->count > 0 &&
        (referrers->count == REFERRERS_MAX || bytes > REFERRERS_BYTES_MAX - referrers->bytes)) {
        referrers->has_more = true;
        return false;
    }
    referrers->count++;
    referrers->bytes += bytes;
    referrers->last = referrer->id;
    add_referrer(referrers, referrer);
    return true;
}

/* Of the query, what the next page repeats. */
static void add_next_referrers(struct http_request *request, const struct referrers *referrers)
{
    AUTO_FREE char *type =
        referrers->wanted_type != NULL ? http_encode_segment(referrers->wanted_type) : NULL;
    route_add_header(request, "Link", "<%s?last=%llu%s%s>; rel=\"next\"",
                     http_request_path(request), (unsigned long long)referrers->last,
                     type != NULL ? "&artifactType=" : "", type != NULL ? type : "");
}

void route_referrers(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const char *repository = route_repository(request);
    const char *digest = repository != NULL ? route_digest(request) : NULL;
    if (digest == NULL)
        return;
    const char *text_of_last = http_request_query(request, "last");
    uint64_t last = 0;
    if (text_of_last != NULL && !text_parse_u64(text_of_last, INT64_MAX, &last)) {
        oci_error_respond_status(request, OCI_UNSUPPORTED, 400, "last=%.40s is no number",
                                 text_of_last);
        return;
    }
    const char *type = http_request_query(request, "artifactType");
    struct referrers referrers = {.wanted_type = type != NULL && type[0] != '\0' ? type : NULL,
                                  .list = json_object_new_array()};
    AUTO_JSON struct json_object *index = json_object_new_object();
    json_object_object_add(index, "schemaVersion", json_object_new_int(2));
    json_object_object_add(index, "mediaType", json_object_new_string(OCI_INDEX_TYPE));
    json_object_object_add(index, "manifests", referrers.list);
    if (metadata_list_referrers(registry->metadata, repository, digest, referrers.wanted_type, last,
                                take_referrer, &referrers, &error) < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    if (referrers.wanted_type != NULL)
        http_request_add_header(request, "OCI-Filters-Applied", "artifactType");
    if (referrers.has_more)
        add_next_referrers(request, &referrers);
    AUTO_FREE char *text = json_text(index);
    http_request_respond(request, 200, OCI_INDEX_TYPE, text, strlen(text));
}
