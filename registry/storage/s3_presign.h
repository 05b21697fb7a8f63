/* URLs that let whoever has them read one object for a while: AWS Signature Version 4 in the query
 * (Amazon S3 API reference, "Authenticating Requests: Using Query Parameters"). libcurl signs
 * headers only. Pure functions of time; any thread. */
#pragma once

#include <stdint.h>

/* Seconds; what AWS allows. */
#define S3_PRESIGN_LIFETIME_MAX ((uint64_t)7 * 24 * 3600)

struct s3_presign {
    const char *scheme; /* "https" */
    const char *host;   /* as it stands in the URL: with the port, unless that is the scheme's */
    const char *path;   /* "/bucket/key", percent-encoded as it goes over the wire */
    const char *region;
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token; /* NULL: none */
    uint64_t wall_s;           /* since 1970-01-01T00:00:00Z */
    uint64_t lifetime_s;       /* 1 to S3_PRESIGN_LIFETIME_MAX */
};

/* The URL of a GET; the caller frees it. */
char *s3_presign_get(const struct s3_presign *presign);
