/* Names and passwords for registries, from the file that docker, podman and skopeo write at login
 * (containers-auth.json(5)): {"auths": {"HOST[:PORT]": {"auth": "<base64 of name:password>"}}}.
 * Blocking; any thread. */
#pragma once

#include "lib/error.h"

struct registry_logins;

struct registry_login {
    char *username; /* NULL: the file has none for this registry */
    char *password;
};

/* `path` NULL: no logins at all. One that is not there is an error. */
int registry_logins_load(const char *path, struct registry_logins **ret_logins,
                         struct error *error);
/* NULL is fine. */
void registry_logins_destroy(struct registry_logins *logins);
/* For the registry at `url` ("http://127.0.0.1:5000"); `logins` may be NULL. */
int registry_logins_find(const struct registry_logins *logins, const char *url,
                         struct registry_login *ret_login, struct error *error);
void registry_login_release(struct registry_login *login);
/* What a person's clients use: the first that is there of $REGISTRY_AUTH_FILE,
 * $XDG_RUNTIME_DIR/containers/auth.json, ~/.docker/config.json. NULL: none. The caller frees it. */
char *registry_logins_default_path(void);
