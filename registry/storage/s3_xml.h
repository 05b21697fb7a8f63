/* The XML that S3 answers with and wants (Amazon S3 API reference), read strictly: no document
 * type and so no entities, a few levels, at most S3_XML_LIMIT bytes. The one door to libexpat. Any
 * thread. ERROR_INTERNAL: the answer is not what its operation answers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

#define S3_XML_LIMIT ((size_t)4 << 20)

/* <Error>, which may also come with status 200 ("CompleteMultipartUpload", "CopyObject"). */
struct s3_failure {
    char code[64]; /* "NoSuchKey" */
    char message[256];
};
/* False when the bytes are no such document. */
bool s3_xml_read_failure(const void *bytes, size_t length, struct s3_failure *ret_failure);

/* The UploadId of an <InitiateMultipartUploadResult>; the caller frees it. */
int s3_xml_read_upload_id(const void *bytes, size_t length, char **ret_id, struct error *error);
/* That the document is a `root`: "CompleteMultipartUploadResult", "CopyObjectResult". */
int s3_xml_check_root(const void *bytes, size_t length, const char *root, struct error *error);

/* A page of ListObjectsV2. */
struct s3_page {
    struct s3_object {
        char *key;
        uint64_t size;
        uint64_t modified_s; /* since 1970 */
    } * objects;
    size_t count;
    char *next; /* continuation token; NULL: this is the last page */
};
int s3_xml_read_page(const void *bytes, size_t length, struct s3_page *ret_page,
                     struct error *error);
void s3_page_release(struct s3_page *page);

/* <CompleteMultipartUpload> of the parts 1 to `count` by their ETags; the caller frees it. */
char *s3_xml_write_parts(char *const *etags, size_t count);
