#include "registry/access/rules.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/upkeep/policies.h"

enum { NAMES_MAX = 1000 };

#define ANY_USER  "*"
#define EVERYBODY "anonymous"
#define CATALOG   "catalog"

static bool is_printable(const char *text)
{
    size_t step = 1;
    while (*text != '\0' && step > 0) {
        step = text_character_length(text);
        text += step;
    }
    return step > 0;
}

bool user_name_is_valid(const char *name)
{
    return name[0] != '\0' && strlen(name) < USER_NAME_MAX && strchr(name, ':') == NULL &&
           is_printable(name) && strcmp(name, ANY_USER) != 0 && strcmp(name, EVERYBODY) != 0;
}

static const char *check_user(const char *value)
{
    if (strcmp(value, ANY_USER) == 0 || strcmp(value, EVERYBODY) == 0 || user_name_is_valid(value))
        return NULL;
    return "a user's name, \"*\" for every user or \"anonymous\" for everybody";
}

static const char *check_action(const char *value)
{
    if (strcmp(value, CATALOG) == 0 || access_action_bits(value, strlen(value)) != 0)
        return NULL;
    return "\"pull\", \"push\", \"delete\", \"catalog\" or \"*\"";
}

static const struct json_field rule_fields[] = {
    JSON_FIELD(struct access_rule, repositories, "repositories", JSON_STRINGS, .min = 1,
               .max = NAMES_MAX, .check = glob_check_repositories),
    JSON_FIELD(struct access_rule, users, "users", JSON_STRINGS, .flags = JSON_REQUIRED, .min = 1,
               .max = NAMES_MAX, .check = check_user),
    JSON_FIELD(struct access_rule, actions, "actions", JSON_STRINGS, .flags = JSON_REQUIRED,
               .min = 1, .max = 8, .check = check_action),
    JSON_FIELD_END,
};
const struct json_record access_rule_record = {sizeof(struct access_rule), rule_fields};

int access_rules_check(const struct access_rule *items, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct access_rule *rule = &items[i];
        for (size_t j = 0; rule->repositories.count == 0 && j < rule->actions.count; j++) {
            if (strcmp(rule->actions.items[j], CATALOG) != 0)
                return error_set(error, ERROR_INVALID,
                                 "/access/rules/%zu: \"%s\" is about repositories and the rule "
                                 "names none: add \"repositories\", [\"**\"] for all",
                                 i, rule->actions.items[j]);
        }
    }
    return 0;
}

void access_rules_copy(const struct access_rule *items, size_t count,
                       struct access_rules *ret_rules)
{
    ret_rules->items = count > 0 ? xcalloc(count, sizeof *items) : NULL;
    ret_rules->count = count;
    for (size_t i = 0; i < count; i++)
        json_record_copy(&access_rule_record, &items[i], &ret_rules->items[i]);
}

void access_rules_release(struct access_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        json_record_release(&access_rule_record, &rules->items[i]);
    free(rules->items);
    *rules = (struct access_rules){0};
}

static bool is_for_user(const struct access_rule *rule, const char *user)
{
    for (size_t i = 0; i < rule->users.count; i++) {
        const char *name = rule->users.items[i];
        if (strcmp(name, EVERYBODY) == 0)
            return true;
        if (user != NULL && (strcmp(name, ANY_USER) == 0 || strcmp(name, user) == 0))
            return true;
    }
    return false;
}

unsigned access_rules_repository(const struct access_rules *rules, const char *user,
                                 const char *repository)
{
    unsigned allowed = 0;
    if (rules->count == 0)
        return user != NULL ? ACCESS_REPOSITORY_BITS : 0;
    for (size_t i = 0; i < rules->count; i++) {
        const struct access_rule *rule = &rules->items[i];
        if (!is_for_user(rule, user) || !globs_match(&rule->repositories, repository))
            continue;
        for (size_t j = 0; j < rule->actions.count; j++)
            allowed |= access_action_bits(rule->actions.items[j], strlen(rule->actions.items[j]));
    }
    /* Clients ask what is there before they push or delete. */
    return allowed != 0 ? allowed | ACCESS_BIT(ACCESS_PULL) : 0;
}

bool access_rules_catalog(const struct access_rules *rules, const char *user)
{
    if (rules->count == 0)
        return user != NULL;
    for (size_t i = 0; i < rules->count; i++) {
        const struct access_rule *rule = &rules->items[i];
        for (size_t j = 0; j < rule->actions.count; j++) {
            if (strcmp(rule->actions.items[j], CATALOG) == 0 && is_for_user(rule, user))
                return true;
        }
    }
    return false;
}

static const char *const names[] = {
    [ACCESS_PULL] = "pull", [ACCESS_PUSH] = "push", [ACCESS_DELETE] = "delete"};

const char *access_action_name(enum access_action action)
{
    return (size_t)action < ARRAY_LENGTH(names) ? names[action] : NULL;
}

unsigned access_action_bits(const char *word, size_t length)
{
    if (length == 1 && word[0] == '*')
        return ACCESS_REPOSITORY_BITS;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (names[i] != NULL && strlen(names[i]) == length && memcmp(names[i], word, length) == 0)
            return ACCESS_BIT(i);
    }
    return 0;
}
