#include "registry/access/scope.h"

#include <string.h>

int access_scopes_add(struct access_scopes *scopes, const char *repository, size_t length,
                      unsigned actions)
{
    char name[REPOSITORY_MAX];
    if (length >= sizeof name)
        return 0;
    memcpy(name, repository, length);
    name[length] = '\0';
    if (!repository_is_valid(name))
        return 0;
    for (size_t i = 0; i < scopes->count; i++) {
        if (strcmp(scopes->repositories[i].repository, name) == 0) {
            scopes->repositories[i].actions |= actions;
            return 0;
        }
    }
    if (scopes->count == SCOPES_MAX)
        return -1;
    struct access_scope *scope = &scopes->repositories[scopes->count++];
    memcpy(scope->repository, name, length + 1);
    scope->actions = actions;
    return 0;
}

static bool is_text(const char *text, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(text, wanted, length) == 0;
}

static unsigned parse_actions(const char *text, const char *end)
{
    unsigned actions = 0;
    while (text < end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *word_end = comma != NULL ? comma : end;
        actions |= access_action_bits(text, (size_t)(word_end - text));
        text = word_end + 1;
    }
    return actions;
}

/* A name may have colons of its own (a registry's host and port): the actions are behind the last
 * one. */
static int parse_scope(const char *text, const char *end, struct access_scopes *scopes)
{
    const char *type_end = memchr(text, ':', (size_t)(end - text));
    const char *actions = memrchr(text, ':', (size_t)(end - text));
    if (type_end == NULL || actions == type_end || type_end == text)
        return -1;
    const char *name = type_end + 1;
    size_t type_length = (size_t)(type_end - text), name_length = (size_t)(actions - name);
    if (is_text(text, type_length, "repository"))
        return access_scopes_add(scopes, name, name_length, parse_actions(actions + 1, end));
    if (is_text(text, type_length, "registry") && is_text(name, name_length, "catalog") &&
        is_text(actions + 1, (size_t)(end - actions - 1), "*"))
        scopes->has_catalog = true;
    return 0;
}

int access_scopes_parse(const char *text, size_t length, struct access_scopes *scopes)
{
    const char *end = text + length;
    if (length > SCOPE_TEXT_MAX || memchr(text, '\0', length) != NULL)
        return -1;
    while (text < end) {
        const char *space = memchr(text, ' ', (size_t)(end - text));
        const char *scope_end = space != NULL ? space : end;
        if (scope_end > text && parse_scope(text, scope_end, scopes) < 0)
            return -1;
        text = scope_end + 1;
    }
    return 0;
}

unsigned access_scopes_find(const struct access_scopes *scopes, const char *repository)
{
    for (size_t i = 0; i < scopes->count; i++) {
        if (strcmp(scopes->repositories[i].repository, repository) == 0)
            return scopes->repositories[i].actions;
    }
    return 0;
}

void access_scopes_restrict(struct access_scopes *scopes, const struct access_rules *rules,
                            const char *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < scopes->count; i++) {
        struct access_scope scope = scopes->repositories[i];
        scope.actions &= access_rules_repository(rules, user, scope.repository);
        if (scope.actions != 0)
            scopes->repositories[kept++] = scope;
    }
    scopes->count = kept;
    scopes->has_catalog = scopes->has_catalog && access_rules_catalog(rules, user);
}
