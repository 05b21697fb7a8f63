#include "registry/storage/s3_xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define PAGE_OBJECTS_MAX 1000 /* S3 gives no more */
/* S3's answers have four levels, and some ten elements an object. */
#define DEPTH_MAX    8
#define ELEMENTS_MAX 65536
/* Between a namespace and a name; no byte of either. */
#define SEPARATOR '\n'

struct element {
    char *name;         /* without its namespace: S3's own is left out by some of its like */
    struct buffer text; /* its own, not its children's */
    struct element *parent;
    struct element *first;
    struct element *last;
    struct element *next; /* of the same parent */
};

static void element_destroy(struct element *element)
{
    while (element != NULL) {
        struct element *next = element->next;
        element_destroy(element->first);
        buffer_finish(&element->text);
        free(element->name);
        free(element);
        element = next;
    }
}

static void cleanup_element(struct element **element)
{
    element_destroy(*element);
}

#define AUTO_ELEMENT __attribute__((cleanup(cleanup_element)))

/* --- reading: expat's callbacks --- */

struct reading {
    XML_Parser parser;
    struct element *root;
    struct element *open; /* the innermost element that has not ended */
    unsigned depth;
    unsigned count;
};

static void XMLCALL on_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    struct reading *reading = data;
    if (reading->depth == DEPTH_MAX || reading->count == ELEMENTS_MAX) {
        XML_StopParser(reading->parser, XML_FALSE);
        return;
    }
    const char *local = strrchr(name, SEPARATOR);
    struct element *element = xcalloc(1, sizeof *element);
    element->name = xstrdup(local != NULL ? local + 1 : name);
    element->parent = reading->open;
    if (element->parent == NULL)
        reading->root = element;
    else if (element->parent->last == NULL)
        element->parent->first = element;
    else
        element->parent->last->next = element;
    if (element->parent != NULL)
        element->parent->last = element;
    reading->open = element;
    reading->depth++;
    reading->count++;
}

static void XMLCALL on_end(void *data, const XML_Char *name)
{
    (void)name;
    struct reading *reading = data;
    /* After a stop one more may come, of the element that was not taken. */
    if (reading->open == NULL)
        return;
    reading->open = reading->open->parent;
    reading->depth--;
}

static void XMLCALL on_text(void *data, const XML_Char *text, int length)
{
    struct reading *reading = data;
    if (reading->open != NULL)
        buffer_append(&reading->open->text, text, (size_t)length);
}

/* S3 never sends a document type; without one there are no entities to expand either. */
static void XMLCALL on_document_type(void *data, const XML_Char *name, const XML_Char *system,
                                     const XML_Char *public, int has_subset)
{
    (void)name;
    (void)system;
    (void)public;
    (void)has_subset;
    struct reading *reading = data;
    XML_StopParser(reading->parser, XML_FALSE);
}

/* The document's root, for the caller to destroy; NULL when the bytes are no XML, or more than
 * data. */
static struct element *parse(const void *bytes, size_t length)
{
    if (length == 0 || length > S3_XML_LIMIT)
        return NULL;
    struct reading reading = {.parser = XML_ParserCreateNS(NULL, SEPARATOR)};
    if (reading.parser == NULL)
        return NULL;
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reading.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reading.parser, on_document_type);
    enum XML_Status status = XML_Parse(reading.parser, bytes, (int)length, XML_TRUE);
    XML_ParserFree(reading.parser);
    if (status == XML_STATUS_OK)
        return reading.root;
    element_destroy(reading.root);
    return NULL;
}

static bool is_named(const struct element *element, const char *name)
{
    return element != NULL && strcmp(element->name, name) == 0;
}

/* The text of the child of that name, for the caller to free; NULL when there is none. */
static char *text_of(const struct element *parent, const char *name)
{
    for (const struct element *child = parent->first; child != NULL; child = child->next) {
        if (is_named(child, name))
            return xstrdup(buffer_text(&child->text));
    }
    return NULL;
}

/* --- what S3 answers --- */

static void copy_cut(char *ret_text, size_t size, const char *text)
{
    size_t length = text != NULL ? strnlen(text, size - 1) : 0;
    memcpy(ret_text, text != NULL ? text : "", length);
    ret_text[length] = '\0';
}

bool s3_xml_read_failure(const void *bytes, size_t length, struct s3_failure *ret_failure)
{
    AUTO_ELEMENT struct element *root = parse(bytes, length);
    if (!is_named(root, "Error"))
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
    AUTO_ELEMENT struct element *root = parse(bytes, length);
    bool is_result = is_named(root, "InitiateMultipartUploadResult");
    AUTO_FREE char *id = is_result ? text_of(root, "UploadId") : NULL;
    if (id == NULL || id[0] == '\0')
        return refuse("InitiateMultipartUploadResult", error);
    *ret_id = TAKE_POINTER(id);
    return 0;
}

int s3_xml_check_root(const void *bytes, size_t length, const char *root, struct error *error)
{
    AUTO_ELEMENT struct element *actual = parse(bytes, length);
    return is_named(actual, root) ? 0 : refuse(root, error);
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

static bool read_object(const struct element *node, struct s3_object *ret_object)
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

static bool read_page(const struct element *root, struct s3_page *page)
{
    for (const struct element *child = root->first; child != NULL; child = child->next) {
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
    AUTO_ELEMENT struct element *root = parse(bytes, length);
    struct s3_page page = {.objects = xcalloc(PAGE_OBJECTS_MAX, sizeof *page.objects)};
    if (!is_named(root, "ListBucketResult") || !read_page(root, &page)) {
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
