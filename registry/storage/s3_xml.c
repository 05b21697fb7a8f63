#include "registry/storage/s3_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define PAGE_OBJECTS_MAX 1000 /* S3 gives no more */

static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void cleanup_document(xmlDoc **document)
{
    if (*document != NULL)
        xmlFreeDoc(*document);
}

#define AUTO_DOCUMENT __attribute__((cleanup(cleanup_document)))

/* NULL when the bytes are no XML, or more than data: S3 never sends a document type. */
static xmlDoc *parse(const void *bytes, size_t length)
{
    pthread_once(&prepared, xmlInitParser);
    if (length == 0 || length > S3_XML_LIMIT ||
        memmem(bytes, length, "<!DOCTYPE", sizeof "<!DOCTYPE" - 1) != NULL)
        return NULL;
    xmlDoc *document = xmlReadMemory(bytes, (int)length, NULL, NULL,
                                     XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                                         XML_PARSE_NOCDATA);
    /* In another encoding it may have had one all the same. */
    if (document != NULL && (document->intSubset != NULL || document->extSubset != NULL)) {
        xmlFreeDoc(document);
        return NULL;
    }
    return document;
}

static bool is_named(const xmlNode *node, const char *name)
{
    return node != NULL && node->type == XML_ELEMENT_NODE &&
           strcmp((const char *)node->name, name) == 0;
}

/* Whatever the namespace: S3's own is left out by some of its like. */
static xmlNode *root_of(xmlDoc *document, const char *name)
{
    xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;
    return is_named(root, name) ? root : NULL;
}

/* The text of the child of that name, for the caller to free; NULL when there is none. */
static char *text_of(const xmlNode *parent, const char *name)
{
    for (xmlNode *child = parent->children; child != NULL; child = child->next) {
        if (!is_named(child, name))
            continue;
        xmlChar *content = xmlNodeGetContent(child);
        char *text = xstrdup(content != NULL ? (const char *)content : "");
        xmlFree(content);
        return text;
    }
    return NULL;
}

static void copy_cut(char *ret_text, size_t size, const char *text)
{
    size_t length = text != NULL ? strnlen(text, size - 1) : 0;
    memcpy(ret_text, text != NULL ? text : "", length);
    ret_text[length] = '\0';
}

bool s3_xml_read_failure(const void *bytes, size_t length, struct s3_failure *ret_failure)
{
    AUTO_DOCUMENT xmlDoc *document = parse(bytes, length);
    const xmlNode *root = root_of(document, "Error");
    if (root == NULL)
        return false;
    AUTO_FREE char *code = text_of(root, "Code");
    AUTO_FREE char *message = text_of(root, "Message");
    if (code == NULL || code[0] == '\0')
        return false;
    copy_cut(ret_failure->code, sizeof ret_failure->code, code);
    copy_cut(ret_failure->message, sizeof ret_failure->message, message);
    return true;
}

static int refuse(const char *wanted, struct error *error)
{
    return error_set(error, ERROR_INTERNAL, "the endpoint's answer is no S3 %s", wanted);
}

int s3_xml_read_upload_id(const void *bytes, size_t length, char **ret_id, struct error *error)
{
    AUTO_DOCUMENT xmlDoc *document = parse(bytes, length);
    const xmlNode *root = root_of(document, "InitiateMultipartUploadResult");
    AUTO_FREE char *id = root != NULL ? text_of(root, "UploadId") : NULL;
    if (id == NULL || id[0] == '\0')
        return refuse("InitiateMultipartUploadResult", error);
    *ret_id = TAKE_POINTER(id);
    return 0;
}

int s3_xml_check_root(const void *bytes, size_t length, const char *root, struct error *error)
{
    AUTO_DOCUMENT xmlDoc *document = parse(bytes, length);
    return root_of(document, root) != NULL ? 0 : refuse(root, error);
}

/* "2009-10-12T17:50:30.000Z" */
static bool parse_time(const char *text, uint64_t *ret_s)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL || (*rest != '.' && *rest != 'Z'))
        return false;
    time_t seconds = timegm(&parts);
    *ret_s = seconds > 0 ? (uint64_t)seconds : 0;
    return true;
}

static bool read_object(const xmlNode *node, struct s3_object *ret_object)
{
    AUTO_FREE char *key = text_of(node, "Key");
    AUTO_FREE char *size = text_of(node, "Size");
    AUTO_FREE char *modified = text_of(node, "LastModified");
    struct s3_object object = {0};
    if (key == NULL || size == NULL || modified == NULL ||
        !text_parse_u64(size, INT64_MAX, &object.size) || !parse_time(modified, &object.modified_s))
        return false;
    object.key = TAKE_POINTER(key);
    *ret_object = object;
    return true;
}

static bool read_page(const xmlNode *root, struct s3_page *page)
{
    for (const xmlNode *child = root->children; child != NULL; child = child->next) {
        if (!is_named(child, "Contents"))
            continue;
        if (page->count == PAGE_OBJECTS_MAX || !read_object(child, &page->objects[page->count]))
            return false;
        page->count++;
    }
    AUTO_FREE char *truncated = text_of(root, "IsTruncated");
    if (truncated == NULL)
        return false;
    if (strcmp(truncated, "true") == 0)
        page->next = text_of(root, "NextContinuationToken");
    return strcmp(truncated, "false") == 0 || (page->next != NULL && page->next[0] != '\0');
}

int s3_xml_read_page(const void *bytes, size_t length, struct s3_page *ret_page,
                     struct error *error)
{
    AUTO_DOCUMENT xmlDoc *document = parse(bytes, length);
    const xmlNode *root = root_of(document, "ListBucketResult");
    struct s3_page page = {.objects = xcalloc(PAGE_OBJECTS_MAX, sizeof *page.objects)};
    if (root == NULL || !read_page(root, &page)) {
        s3_page_release(&page);
        return refuse("ListBucketResult", error);
    }
    *ret_page = page;
    return 0;
}

void s3_page_release(struct s3_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        free(page->objects[i].key);
    free(page->objects);
    free(page->next);
    *page = (struct s3_page){0};
}

static void append_escaped(struct buffer *buffer, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buffer_append_text(buffer, "&amp;");
            break;
        case '<':
            buffer_append_text(buffer, "&lt;");
            break;
        case '>':
            buffer_append_text(buffer, "&gt;");
            break;
        default:
            buffer_append(buffer, text, 1);
        }
    }
}

char *s3_xml_write_parts(char *const *etags, size_t count)
{
    struct buffer buffer = {0};
    buffer_append_text(&buffer, "<CompleteMultipartUpload "
                                "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&buffer, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        append_escaped(&buffer, etags[i]);
        buffer_append_text(&buffer, "</ETag></Part>");
    }
    buffer_append_text(&buffer, "</CompleteMultipartUpload>");
    return buffer_take(&buffer);
}
