#include "lib/image_reference.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Length of a separator inside a component ('.', '_', '__', or dashes), 0 when there is none. */
static size_t separator_length(const char *at)
{
    if (*at == '.')
        return 1;
    if (*at == '_')
        return at[1] == '_' ? 2 : 1;
    return strspn(at, "-");
}

/* The distribution spec's <name>: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/...)* */
bool repository_is_valid(const char *repository)
{
    if (strlen(repository) >= REPOSITORY_MAX)
        return false;
    for (const char *at = repository;;) {
        if (!is_lower_alnum(*at))
            return false;
        while (is_lower_alnum(*at))
            at++;
        if (*at == '\0')
            return true;
        at += *at == '/' ? 1 : separator_length(at);
    }
}

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool tag_is_valid(const char *tag)
{
    size_t length = strlen(tag);
    if (length == 0 || length >= TAG_MAX || tag[0] == '.' || tag[0] == '-')
        return false;
    for (const char *at = tag; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!letter && !(*at >= '0' && *at <= '9') && strchr("_.-", *at) == NULL)
            return false;
    }
    return true;
}

/* A DNS name or IPv4 address, or an IPv6 one in brackets, with or without a port. */
static bool host_is_valid(const char *host)
{
    const char *port = NULL;
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        size_t inside = strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (end == NULL || inside == 0 || host + 1 + inside != end)
            return false;
        if (end[1] != '\0' && end[1] != ':')
            return false;
        port = end[1] == ':' ? end + 2 : NULL;
    } else {
        size_t name = strcspn(host, ":");
        for (size_t i = 0; i < name; i++) {
            if (!isalnum((unsigned char)host[i]) && host[i] != '-' && host[i] != '.')
                return false;
        }
        if (name == 0 || host[0] == '-' || host[0] == '.')
            return false;
        port = host[name] == ':' ? host + name + 1 : NULL;
    }
    uint64_t number;
    return port == NULL || (text_parse_u64(port, 65535, &number) && number > 0);
}

static bool first_component_is_host(const char *text, size_t length)
{
    if (memchr(text, '.', length) != NULL || memchr(text, ':', length) != NULL || text[0] == '[')
        return true;
    return length == strlen("localhost") && strncmp(text, "localhost", length) == 0;
}

/* Cuts "@digest" and ":tag" off the end of `name`. */
static int cut_tag_and_digest(char *name, struct image_reference *reference, struct error *error)
{
    char *digest = strchr(name, '@');
    if (digest != NULL) {
        *digest++ = '\0';
        if (!digest_is_valid(digest))
            return error_set(error, ERROR_INVALID,
                             "\"%s\" is not a digest: sha256: and 64 lower-case hex digits",
                             digest);
        text_copy(reference->digest, sizeof reference->digest, digest);
    }
    char *slash = strrchr(name, '/');
    char *tag = strchr(slash != NULL ? slash : name, ':');
    if (tag != NULL) {
        *tag++ = '\0';
        if (!tag_is_valid(tag))
            return error_set(
                error, ERROR_INVALID,
                "\"%s\" is not a tag: up to 128 letters, digits, '_', '.' and '-', not "
                "starting with '.' or '-'",
                tag);
        text_copy(reference->tag, sizeof reference->tag, tag);
    } else if (digest == NULL) {
        text_copy(reference->tag, sizeof reference->tag, "latest");
    }
    return 0;
}

static int parse_parts(char *text, const char *namespace_name, struct image_reference *reference,
                       struct error *error)
{
    char *name = text;
    char *slash = strchr(text, '/');
    if (slash != NULL && first_component_is_host(text, (size_t)(slash - text))) {
        *slash = '\0';
        if (!host_is_valid(text) || !text_copy(reference->host, sizeof reference->host, text))
            return error_set(error, ERROR_INVALID, "\"%s\" is not a host", text);
        name = slash + 1;
    }
    if (cut_tag_and_digest(name, reference, error) < 0)
        return -1;
    char repository[IMAGE_TEXT_MAX];
    bool alone = reference->host[0] == '\0' && strchr(name, '/') == NULL;
    int length = snprintf(repository, sizeof repository, "%s%s%s", alone ? namespace_name : "",
                          alone ? "/" : "", name);
    if (length < 0 || (size_t)length >= sizeof repository || !repository_is_valid(name) ||
        !repository_is_valid(repository))
        return error_set(error, ERROR_INVALID,
                         "\"%s\" is not a repository: lower-case letters and digits, with '.', "
                         "'_', '-' between them, components split by '/', at most %d characters",
                         name, REPOSITORY_MAX - 1);
    text_copy(reference->repository, sizeof reference->repository, repository);
    return 0;
}

int image_reference_parse(const char *text, const char *namespace_name,
                          struct image_reference *ret_reference, struct error *error)
{
    char copy[IMAGE_TEXT_MAX];
    struct image_reference reference = {0};
    if (!text_copy(copy, sizeof copy, text))
        return error_set(error, ERROR_INVALID, "an image name of more than %d characters",
                         IMAGE_TEXT_MAX - 1);
    if (parse_parts(copy, namespace_name, &reference, error) < 0)
        return error_wrap(error, "image \"%s\"", text);
    *ret_reference = reference;
    return 0;
}

void image_reference_format(const struct image_reference *reference, char ret_text[IMAGE_TEXT_MAX])
{
    snprintf(ret_text, IMAGE_TEXT_MAX, "%s%s%s%s%s%s%s", reference->host,
             reference->host[0] != '\0' ? "/" : "", reference->repository,
             reference->tag[0] != '\0' ? ":" : "", reference->tag,
             reference->digest[0] != '\0' ? "@" : "", reference->digest);
}

const char *image_registry_host(const char *url)
{
    const char *host = strstr(url, "://");
    return host != NULL ? host + 3 : url;
}
