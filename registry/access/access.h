/* Who may do what in the registry: users, their passwords and tokens, the rules about repositories,
 * and the answers to who may not. Knows requests' headers and routes' tags, nothing of images. Any
 * thread. A NULL `struct access` is a registry that is open to everybody. */
#pragma once

#include <stdatomic.h>

#include "lib/http_server.h"
#include "registry/access/rules.h"

struct access;

struct access_settings {
    char *htpasswd;          /* path; NULL: there are no users */
    char *service;           /* whom tokens are for; NULL: "shoal-registry" */
    char *realm;             /* URL of the token endpoint; NULL: /token where the client found us */
    uint64_t token_lifetime; /* milliseconds */
    char *token_key;         /* path; NULL: <state>/token.key, made when it is not there */
    struct access_rule *rules;
    size_t rule_count;
    bool has_rules; /* be it an empty list */
};

extern const struct json_record access_settings_record;

/* Values where the file gives none. */
void access_settings_set_defaults(struct access_settings *settings);
/* Whether they ask for anything: else there is no struct access. */
bool access_settings_are_used(const struct access_settings *settings);
/* What only makes sense together. `is_there`: the file has such a section, whatever is in it. */
int access_settings_check(const struct access_settings *settings, bool is_there,
                          struct error *error);

/* `is_tls`: clients come by https. `refused` (NULL: none) counts wrong names, passwords and tokens,
 * and outlives it. Copies what else it needs. */
int access_create(const struct access_settings *settings, const char *state, bool is_tls,
                  atomic_ullong *refused, struct access **ret_access, struct error *error);
/* Takes over the rules and reads the users again; when these cannot be read all stays as it was.
 * The rest of the settings counts at the next start. */
int access_reload(struct access *access, const struct access_settings *settings,
                  struct error *error);
/* NULL is fine. */
void access_destroy(struct access *access);

/* For http_server_options.admit: 0, and the request has its user; or -1 after answering 401 with a
 * challenge, or 403. May block for a password. */
int access_admit(struct http_request *request, struct access *access);
/* Whether who sent an admitted request may do this, too. */
bool access_allows(struct http_request *request, struct access *access, const char *repository,
                   enum access_action action);
