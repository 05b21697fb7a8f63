#include "lib/registry_login.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define FILE_LIMIT ((size_t)1 << 20)

struct registry_logins {
    char *path;
    struct json_object *document; /* NULL: none */
};

/* "host:port" of a URL, or of a key that may be one. */
static void host_of(const char *text, const char **ret_host, size_t *ret_length)
{
    const char *scheme = strstr(text, "://");
    *ret_host = scheme != NULL ? scheme + 3 : text;
    *ret_length = strcspn(*ret_host, "/");
}

static bool is_same_host(const char *key, const char *url)
{
    const char *one, *other;
    size_t one_length, other_length;
    host_of(key, &one, &one_length);
    host_of(url, &other, &other_length);
    return one_length == other_length && strncmp(one, other, one_length) == 0;
}

static int decode(const char *encoded, struct registry_login *ret_login, struct error *error)
{
    unsigned char *decoded = NULL;
    size_t length;
    bool is_base64 = base64_decode(encoded, &decoded, &length);
    AUTO_FREE char *text = (char *)decoded;
    char *colon = is_base64 && strlen(text) == length ? strchr(text, ':') : NULL;
    if (colon == NULL)
        return error_set(error, ERROR_INVALID,
                         "\"auth\" is not the base64 of a name, a colon and a password");
    ret_login->username = xstrndup(text, (size_t)(colon - text));
    ret_login->password = xstrdup(colon + 1);
    return 0;
}

static int find(struct json_object *document, const char *url, struct registry_login *ret_login,
                struct error *error)
{
    struct json_object *auths, *encoded;
    if (!json_object_object_get_ex(document, "auths", &auths) ||
        !json_object_is_type(auths, json_type_object))
        return 0;
    json_object_object_foreach (auths, key, entry) {
        if (!is_same_host(key, url) || !json_object_object_get_ex(entry, "auth", &encoded) ||
            !json_object_is_type(encoded, json_type_string))
            continue;
        if (decode(json_object_get_string(encoded), ret_login, error) < 0)
            return error_wrap(error, "the login for %s", key);
        return 0;
    }
    return 0;
}

int registry_logins_load(const char *path, struct registry_logins **ret_logins, struct error *error)
{
    AUTO_FREE char *text = NULL;
    struct json_object *document = NULL;
    size_t length;
    if (path != NULL && file_read(path, FILE_LIMIT, &text, &length, error) < 0)
        return error_wrap(error, "logins");
    if (path != NULL && json_parse(text, length, &document, error) < 0)
        return error_wrap(error, "logins in %s", path);
    struct registry_logins *logins = xcalloc(1, sizeof *logins);
    logins->path = xstrdup(path);
    logins->document = document;
    *ret_logins = logins;
    return 0;
}

void registry_logins_destroy(struct registry_logins *logins)
{
    if (logins == NULL)
        return;
    json_object_put(logins->document);
    free(logins->path);
    free(logins);
}

int registry_logins_find(const struct registry_logins *logins, const char *url,
                         struct registry_login *ret_login, struct error *error)
{
    struct registry_login login = {0};
    if (logins != NULL && find(logins->document, url, &login, error) < 0)
        return error_wrap(error, "logins in %s", logins->path);
    *ret_login = login;
    return 0;
}

char *registry_logins_default_path(void)
{
    const char *named = getenv("REGISTRY_AUTH_FILE"), *runtime = getenv("XDG_RUNTIME_DIR");
    const char *home = getenv("HOME");
    char *const paths[] = {
        named != NULL && named[0] != '\0' ? xstrdup(named) : NULL,
        runtime != NULL ? xasprintf("%s/containers/auth.json", runtime) : NULL,
        home != NULL ? xasprintf("%s/.docker/config.json", home) : NULL,
    };
    char *found = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        if (found == NULL && paths[i] != NULL && access(paths[i], R_OK) == 0)
            found = paths[i];
        else
            free(paths[i]);
    }
    return found;
}

void registry_login_release(struct registry_login *login)
{
    free(login->username);
    free(login->password);
    *login = (struct registry_login){0};
}
