/* Scopes that a client asks a token for: only real names and actions come of them, and rules only
 * take away. */
#include "registry/access/scope.h"
#include "tests/fuzz/fuzz.h"

static void expect_subset(const struct access_scopes *part, const struct access_scopes *whole)
{
    EXPECT(part->count <= whole->count && (!part->has_catalog || whole->has_catalog));
    for (size_t i = 0; i < part->count; i++) {
        const struct access_scope *scope = &part->repositories[i];
        EXPECT((scope->actions & ~access_scopes_find(whole, scope->repository)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static char pattern[] = "a/**", name[] = "alice", pull[] = "pull";
    char *patterns[] = {pattern}, *names[] = {name}, *actions[] = {pull};
    struct access_rule rule = {{patterns, 1}, {names, 1}, {actions, 1}};
    const struct access_rules rules = {&rule, 1};
    AUTO_FREE char *text = xmemdup(bytes, length);
    struct access_scopes scopes = {0};
    int result = access_scopes_parse(text, length, &scopes);
    EXPECT(scopes.count <= SCOPES_MAX);
    for (size_t i = 0; i < scopes.count; i++) {
        EXPECT(repository_is_valid(scopes.repositories[i].repository));
        EXPECT((scopes.repositories[i].actions & ~ACCESS_REPOSITORY_BITS) == 0);
    }
    if (result < 0)
        return 0;
    struct access_scopes allowed = scopes;
    access_scopes_restrict(&allowed, &rules, "alice");
    expect_subset(&allowed, &scopes);
    for (size_t i = 0; i < allowed.count; i++) {
        EXPECT(allowed.repositories[i].actions == ACCESS_BIT(ACCESS_PULL));
        EXPECT(strncmp(allowed.repositories[i].repository, "a/", 2) == 0);
    }
    access_scopes_restrict(&scopes, &rules, NULL);
    EXPECT(scopes.count == 0 && !scopes.has_catalog);
    return 0;
}
