#include "registry/storage/s3_settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/storage/s3_presign.h"

#define CREDENTIALS_LIMIT ((size_t)64 << 10)
#define DIGITS            "0123456789"
#define LOWER_CASE        "abcdefghijklmnopqrstuvwxyz"
#define UPPER_CASE        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const char *const reads_names[] = {"proxy", "redirect", NULL};
static const char *const addressing_names[] = {"path", "host", NULL};

static const struct json_field settings_fields[] = {
    JSON_FIELD(struct s3_settings, endpoint, "endpoint", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct s3_settings, region, "region", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct s3_settings, bucket, "bucket", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct s3_settings, prefix, "prefix", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct s3_settings, addressing, "addressing", JSON_ENUM, .names = addressing_names),
    JSON_FIELD(struct s3_settings, credentials, "credentials", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct s3_settings, ca, "ca", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct s3_settings, reads, "reads", JSON_ENUM, .names = reads_names),
    JSON_FIELD(struct s3_settings, redirect_lifetime, "redirect_lifetime", JSON_DURATION,
               .min = 1000, .max = S3_PRESIGN_LIFETIME_MAX * 1000),
    JSON_FIELD(struct s3_settings, stall_timeout, "stall_timeout", JSON_DURATION, .min = 1000,
               .max = 600000),
    JSON_FIELD_END,
};
const struct json_record s3_settings_record = {sizeof(struct s3_settings), settings_fields};

static bool consists_of(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

/* These go into URLs and signatures as they are. */
int s3_settings_check(const struct s3_settings *settings, struct error *error)
{
    const char *endpoint = settings->endpoint != NULL ? settings->endpoint : "";
    const char *bucket = settings->bucket != NULL ? settings->bucket : "";
    const char *host = strstr(endpoint, "://");
    if ((strncmp(endpoint, "https://", 8) != 0 && strncmp(endpoint, "http://", 7) != 0) ||
        host[3] == '\0' || !consists_of(host + 3, LOWER_CASE UPPER_CASE DIGITS ".-:[]"))
        return error_set(error, ERROR_INVALID,
                         "endpoint: \"%s\" is not \"https://HOST\" or \"https://HOST:PORT\"",
                         endpoint);
    if (strlen(bucket) < 3 || strlen(bucket) > 63 || !consists_of(bucket, LOWER_CASE DIGITS ".-"))
        return error_set(error, ERROR_INVALID, "bucket: \"%s\" is no name of a bucket", bucket);
    if (settings->region != NULL &&
        (settings->region[0] == '\0' || !consists_of(settings->region, LOWER_CASE DIGITS "-")))
        return error_set(error, ERROR_INVALID, "region: \"%s\" is no region; say \"us-east-1\"",
                         settings->region);
    if (settings->prefix != NULL &&
        (settings->prefix[0] == '/' || strstr(settings->prefix, "//") != NULL ||
         strlen(settings->prefix) > 512 ||
         !consists_of(settings->prefix, LOWER_CASE UPPER_CASE DIGITS "._-/")))
        return error_set(error, ERROR_INVALID,
                         "prefix: \"%s\" is not letters, digits, '.', '_', '-' and single slashes "
                         "that do not come first",
                         settings->prefix);
    return 0;
}

/* --- credentials --- */

static const struct json_field credentials_fields[] = {
    JSON_FIELD(struct s3_credentials, access_key_id, "access_key_id", JSON_TEXT,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct s3_credentials, secret_access_key, "secret_access_key", JSON_TEXT,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct s3_credentials, session_token, "session_token", JSON_TEXT, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record credentials_record = {sizeof(struct s3_credentials),
                                                      credentials_fields};

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t length = strlen(text); length > 0 && isspace((unsigned char)text[length - 1]);)
        text[--length] = '\0';
    return text;
}

static char **member_of(struct s3_credentials *credentials, const char *key)
{
    if (strncmp(key, "aws_", 4) == 0)
        key += 4;
    if (strcmp(key, "access_key_id") == 0)
        return &credentials->access_key_id;
    if (strcmp(key, "secret_access_key") == 0)
        return &credentials->secret_access_key;
    if (strcmp(key, "session_token") == 0)
        return &credentials->session_token;
    return NULL;
}

/* Never says what stands in the line. */
static int read_line(char *line, unsigned number, struct s3_credentials *credentials,
                     struct error *error)
{
    char *key = trim(line);
    if (*key == '\0' || *key == '#' || *key == '[')
        return 0;
    char *sign = strchr(key, '=');
    char **member = NULL;
    if (sign != NULL) {
        *sign = '\0';
        member = member_of(credentials, trim(key));
    }
    if (member == NULL)
        return error_set(error, ERROR_INVALID,
                         "line %u is not access_key_id, secret_access_key or session_token "
                         "with \"=\" and a value",
                         number);
    if (*member != NULL)
        return error_set(error, ERROR_INVALID, "line %u says a second time what was said before",
                         number);
    *member = xstrdup(trim(sign + 1));
    return 0;
}

static int read_lines(char *text, struct s3_credentials *credentials, struct error *error)
{
    unsigned number = 1;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL; number++) {
        if (read_line(line, number, credentials, error) < 0)
            return -1;
    }
    return 0;
}

static int read_file(const char *path, struct s3_credentials *credentials, struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(error, errno, "%s", path);
    if ((status.st_mode & 077) != 0)
        return error_set(error, ERROR_DENIED,
                         "%s may be read by others: chmod 600 it, and think of it as known", path);
    if (file_read(path, CREDENTIALS_LIMIT, &text, &length, error) < 0)
        return -1;
    int result =
        text[strspn(text, " \t\r\n")] == '{'
            ? json_parse_record(&credentials_record, text, length, JSON_STRICT, credentials, error)
            : read_lines(text, credentials, error);
    explicit_bzero(text, length);
    return result < 0 ? error_wrap(error, "%s", path) : 0;
}

static void read_environment(struct s3_credentials *credentials)
{
    const char *token = getenv("AWS_SESSION_TOKEN");
    credentials->access_key_id = xstrdup(getenv("AWS_ACCESS_KEY_ID"));
    credentials->secret_access_key = xstrdup(getenv("AWS_SECRET_ACCESS_KEY"));
    credentials->session_token = token != NULL && token[0] != '\0' ? xstrdup(token) : NULL;
}

/* They become parts of headers and of a path. */
static bool is_plain(const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if (!isgraph((unsigned char)*text))
            return false;
    }
    return true;
}

int s3_credentials_load(const char *path, struct s3_credentials *ret_credentials,
                        struct error *error)
{
    struct s3_credentials credentials = {0};
    int result = 0;
    if (path != NULL)
        result = read_file(path, &credentials, error);
    else
        read_environment(&credentials);
    if (result == 0 &&
        (credentials.access_key_id == NULL || credentials.access_key_id[0] == '\0' ||
         credentials.secret_access_key == NULL || credentials.secret_access_key[0] == '\0'))
        result = error_set(error, ERROR_INVALID, "%s%s has no access_key_id and secret_access_key",
                           path != NULL ? path : "the environment (AWS_ACCESS_KEY_ID, ",
                           path != NULL ? "" : "AWS_SECRET_ACCESS_KEY)");
    if (result == 0 &&
        !(is_plain(credentials.access_key_id) && is_plain(credentials.secret_access_key) &&
          is_plain(credentials.session_token)))
        result = error_set(error, ERROR_INVALID, "a key holds characters that no key has");
    if (result < 0) {
        s3_credentials_release(&credentials);
        return error_wrap(error, "credentials");
    }
    *ret_credentials = credentials;
    return 0;
}

void s3_credentials_release(struct s3_credentials *credentials)
{
    if (credentials->secret_access_key != NULL)
        explicit_bzero(credentials->secret_access_key, strlen(credentials->secret_access_key));
    json_record_release(&credentials_record, credentials);
}
