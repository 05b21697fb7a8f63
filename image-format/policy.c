#include "image-format/policy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/family.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/glob.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define EVIDENCE_MAX 64 /* of each kind: by trusted keys, so nobody else can fill it */
/* A signer's clock may be ahead of ours by so much. */
#define CLOCK_SKEW_S 300

/* --- evidence --- */

static const struct json_field signature_fields[] = {
    JSON_FIELD(struct policy_signature, key, "key", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct policy_signature, name, "name", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct policy_signature, signed_at, "signed_at", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record signature_record = {sizeof(struct policy_signature),
                                                    signature_fields};
static const struct json_field statement_fields[] = {
    JSON_FIELD(struct policy_statement, key, "key", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct policy_statement, type, "type", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record statement_record = {sizeof(struct policy_statement),
                                                    statement_fields};
static const struct json_field evidence_fields[] = {
    JSON_FIELD_LIST(struct policy_evidence, signatures, signature_count, "signatures",
                    &signature_record, .max = EVIDENCE_MAX),
    JSON_FIELD_LIST(struct policy_evidence, statements, statement_count, "statements",
                    &statement_record, .flags = JSON_OMIT_EMPTY, .max = EVIDENCE_MAX),
    JSON_FIELD_END,
};
const struct json_record policy_evidence_record = {sizeof(struct policy_evidence), evidence_fields};

/* Where a further signature goes: in the place of the key's oldest when there is no more room.
 * NULL: nowhere. */
static struct policy_signature *place_for(struct policy_evidence *evidence, const char *key,
                                          uint64_t signed_at)
{
    struct policy_signature *oldest = NULL;
    if (evidence->signature_count < EVIDENCE_MAX) {
        evidence->signatures = xreallocarray(evidence->signatures, evidence->signature_count + 1,
                                             sizeof *evidence->signatures);
        return &evidence->signatures[evidence->signature_count++];
    }
    for (size_t i = 0; i < evidence->signature_count; i++) {
        struct policy_signature *signature = &evidence->signatures[i];
        if (strcmp(signature->key, key) == 0 && signature->signed_at < signed_at &&
            (oldest == NULL || signature->signed_at < oldest->signed_at))
            oldest = signature;
    }
    return oldest;
}

void policy_evidence_add_signature(struct policy_evidence *evidence, const struct trusted_key *key,
                                   uint64_t signed_at)
{
    for (size_t i = 0; i < evidence->signature_count; i++) {
        if (strcmp(evidence->signatures[i].key, key->id) == 0 &&
            evidence->signatures[i].signed_at == signed_at)
            return;
    }
    struct policy_signature *added = place_for(evidence, key->id, signed_at);
    if (added == NULL)
        return;
    *added = (struct policy_signature){.signed_at = signed_at};
    memcpy(added->key, key->id, sizeof added->key);
    memcpy(added->name, key->name, sizeof added->name);
}

void policy_evidence_add_statement(struct policy_evidence *evidence, const struct trusted_key *key,
                                   const char *type)
{
    for (size_t i = 0; i < evidence->statement_count; i++) {
        if (strcmp(evidence->statements[i].key, key->id) == 0 &&
            strcmp(evidence->statements[i].type, type) == 0)
            return;
    }
    if (evidence->statement_count == EVIDENCE_MAX)
        return;
    evidence->statements = xreallocarray(evidence->statements, evidence->statement_count + 1,
                                         sizeof *evidence->statements);
    struct policy_statement *added = &evidence->statements[evidence->statement_count++];
    *added = (struct policy_statement){0};
    memcpy(added->key, key->id, sizeof added->key);
    text_copy(added->type, sizeof added->type, type);
}

void policy_evidence_release(struct policy_evidence *evidence)
{
    json_record_release(&policy_evidence_record, evidence);
}

int policy_check(const struct api_policy *policy, struct error *error)
{
    for (size_t i = 0; i < policy->families.count; i++) {
        if (family_find(policy->families.items[i]) != NULL)
            continue;
        AUTO_FREE char *names = family_list_names();
        error_set(error, ERROR_INVALID, "\"%.64s\" is no family: there are %s",
                  policy->families.items[i], names);
        if (error != NULL)
            snprintf(error->pointer, sizeof error->pointer, "/families/%zu", i);
        return -1;
    }
    return 0;
}

/* --- which policy --- */

struct specificity {
    size_t literals;
    size_t length;
};

static struct specificity specificity_of(const char *glob)
{
    struct specificity specificity = {0, strlen(glob)};
    for (const char *at = glob; *at != '\0'; at++)
        specificity.literals += *at != '*' && *at != '?';
    return specificity;
}

/* Whether `glob` of `policy` decides before the best one so far. */
static bool is_before(const char *glob, const struct api_policy *policy, const char *best,
                      const struct api_policy *best_policy)
{
    struct specificity one = specificity_of(glob), other = specificity_of(best);
    if (one.literals != other.literals)
        return one.literals > other.literals;
    if (one.length != other.length)
        return one.length < other.length;
    return strcmp(policy->name, best_policy->name) < 0;
}

const struct api_policy *policy_find(const struct api_policy *policies, size_t count,
                                     const char *repository, const char **ret_glob)
{
    const struct api_policy *found = NULL;
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < policies[i].match.count; j++) {
            const char *glob = policies[i].match.items[j];
            if (glob_matches(glob, repository) &&
                (found == NULL || is_before(glob, &policies[i], best, found))) {
                found = &policies[i];
                best = glob;
            }
        }
    }
    if (found != NULL && ret_glob != NULL)
        *ret_glob = best;
    return found;
}

/* --- reasons --- */

struct judgement {
    const struct policy_question *question;
    const struct api_policy *policy;
    struct policy_verdict *verdict;
};

static void refuse(struct judgement *judgement, const struct buffer *reason)
{
    json_strings_add(&judgement->verdict->reasons, buffer_text(reason));
}

static void append_list(struct buffer *text, const struct json_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(text, "%s%s", i > 0 ? ", " : "", list->items[i]);
}

static bool contains(const struct json_strings *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0)
            return true;
    }
    return false;
}

/* --- keys --- */

/* The trusted key of an id, of the names when there are any; NULL: what it made counts nothing. */
static const struct trusted_key *find_key(const struct policy_question *question,
                                          const struct json_strings *names, const char *id)
{
    for (size_t i = 0; i < question->key_count; i++) {
        const struct trusted_key *key = &question->keys[i];
        if (strcmp(key->id, id) == 0 && (names->count == 0 || contains(names, key->name)))
            return key;
    }
    return NULL;
}

static bool is_trusted_name(const struct policy_question *question, const char *name)
{
    for (size_t i = 0; i < question->key_count; i++) {
        if (strcmp(question->keys[i].name, name) == 0)
            return true;
    }
    return false;
}

static bool is_timely(const struct judgement *judgement, const struct policy_signature *signature)
{
    uint64_t max_age_s = judgement->policy->max_age_ms / 1000;
    uint64_t now_s = judgement->question->now_ms / 1000;
    if (judgement->policy->max_age_ms == 0 || judgement->question->ignores_age)
        return true;
    if (signature->signed_at == 0 || signature->signed_at > now_s + CLOCK_SKEW_S)
        return false;
    return signature->signed_at + max_age_s >= now_s;
}

/* The keys that signed in time, each once, with the names they have here. */
static void list_signers(const struct judgement *judgement, struct json_strings *ids,
                         struct json_strings *names)
{
    const struct policy_evidence *evidence = judgement->question->evidence;
    for (size_t i = 0; i < evidence->signature_count; i++) {
        const struct policy_signature *signature = &evidence->signatures[i];
        const struct trusted_key *key =
            find_key(judgement->question, &judgement->policy->keys, signature->key);
        if (key == NULL || !is_timely(judgement, signature) || contains(ids, key->id))
            continue;
        json_strings_add(ids, key->id);
        json_strings_add(names, key->name);
    }
}

static void describe_demand(const struct api_policy *policy, struct buffer *text)
{
    if (policy->keys.count == 0 && policy->require == 1) {
        buffer_append_text(text, "a trusted key must have signed it");
    } else if (policy->keys.count == 0) {
        buffer_printf(text, "%u different trusted keys must have signed it", policy->require);
    } else if (policy->keys.count == 1) {
        buffer_printf(text, "the key %s must have signed it", policy->keys.items[0]);
    } else {
        buffer_printf(text, "%u of the keys ", policy->require);
        append_list(text, &policy->keys);
        buffer_append_text(text, " must have signed it");
    }
}

static void describe_age(const struct judgement *judgement,
                         const struct policy_signature *signature, const char *name,
                         struct buffer *text)
{
    char age[TEXT_DURATION_MAX], limit[TEXT_DURATION_MAX];
    uint64_t now_s = judgement->question->now_ms / 1000;
    text_format_duration(judgement->policy->max_age_ms, limit, sizeof limit);
    if (signature->signed_at == 0) {
        buffer_printf(text,
                      ", the signature of %s does not say when it was made, which max_age %s needs "
                      "(sign it again: `shoal image sign --renew`)",
                      name, limit);
    } else if (signature->signed_at > now_s) {
        buffer_printf(text, ", %s signed it in the future", name);
    } else {
        text_format_age((now_s - signature->signed_at) * 1000, age, sizeof age);
        buffer_printf(text, ", %s signed it %s ago, max_age is %s", name, age, limit);
    }
}

/* What is there and does not count: signatures too old or by keys that the policy does not name,
 * and names that are not trusted. */
static void describe_rest(const struct judgement *judgement, const struct json_strings *ids,
                          struct buffer *text)
{
    static const struct json_strings any = {0};
    const struct policy_question *question = judgement->question;
    const struct api_policy *policy = judgement->policy;
    for (size_t i = 0; i < question->evidence->signature_count && text->length < 600; i++) {
        const struct policy_signature *signature = &question->evidence->signatures[i];
        const struct trusted_key *key = find_key(question, &policy->keys, signature->key);
        const struct trusted_key *other = find_key(question, &any, signature->key);
        if (key != NULL && !contains(ids, key->id))
            describe_age(judgement, signature, key->name, text);
        else if (key == NULL && other != NULL)
            buffer_printf(text, ", %s did, which it does not ask", other->name);
        else if (key == NULL)
            buffer_printf(text, ", %s (%s) did, which is not trusted",
                          signature->name[0] != '\0' ? signature->name : "a key", signature->key);
    }
    for (size_t i = 0; i < policy->keys.count && text->length < 600; i++) {
        if (!is_trusted_name(question, policy->keys.items[i]))
            buffer_printf(text, ", no key %s is trusted here (`shoal trust list`)",
                          policy->keys.items[i]);
    }
}

static void judge_keys(struct judgement *judgement)
{
    struct json_strings ids = {0}, names = {0};
    list_signers(judgement, &ids, &names);
    /* A document of another version may not say how many. */
    uint32_t required = judgement->policy->require > 0 ? judgement->policy->require : 1;
    if (ids.count < required) {
        AUTO_BUFFER struct buffer reason = {0};
        describe_demand(judgement->policy, &reason);
        if (names.count == 0) {
            buffer_append_text(&reason, "; none did that counts");
        } else {
            buffer_printf(&reason, "; only %zu did: ", names.count);
            append_list(&reason, &names);
        }
        describe_rest(judgement, &ids, &reason);
        refuse(judgement, &reason);
    }
    json_strings_release(&ids);
    json_strings_release(&names);
}

/* --- attestations --- */

static const struct {
    const char *name;
    const char *type;
    const char *base; /* of other versions' types */
} short_types[] = {
    {"spdx", "https://spdx.dev/Document", "https://spdx.dev/Document/"},
    {"cyclonedx", "https://cyclonedx.org/bom", "https://cyclonedx.org/bom/"},
    {"slsa", "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/"},
};

static bool is_of_type(const char *found, const char *wanted)
{
    for (size_t i = 0; i < ARRAY_LENGTH(short_types); i++) {
        if (strcmp(short_types[i].name, wanted) == 0)
            return strcmp(found, short_types[i].type) == 0 ||
                   strncmp(found, short_types[i].base, strlen(short_types[i].base)) == 0;
    }
    return strcmp(found, wanted) == 0;
}

static void describe_statements(const struct judgement *judgement, struct buffer *text)
{
    static const struct json_strings any = {0};
    const struct policy_evidence *evidence = judgement->question->evidence;
    size_t told = 0;
    for (size_t i = 0; i < evidence->statement_count && text->length < 600; i++) {
        const struct policy_statement *statement = &evidence->statements[i];
        const struct trusted_key *key = find_key(judgement->question, &any, statement->key);
        buffer_printf(text, "%s%s by %s", told++ > 0 ? ", " : "; it has ", statement->type,
                      key != NULL ? key->name : "a key that is not trusted");
    }
    if (told == 0)
        buffer_append_text(text, "; it has none by a trusted key (`shoal attach --sign`)");
}

static void judge_attestation(struct judgement *judgement,
                              const struct api_policy_attestation *wanted)
{
    const struct policy_evidence *evidence = judgement->question->evidence;
    const struct json_strings *names =
        wanted->keys.count > 0 ? &wanted->keys : &judgement->policy->keys;
    for (size_t i = 0; i < evidence->statement_count; i++) {
        if (is_of_type(evidence->statements[i].type, wanted->type) &&
            find_key(judgement->question, names, evidence->statements[i].key) != NULL)
            return;
    }
    AUTO_BUFFER struct buffer reason = {0};
    buffer_printf(&reason, "it needs an attestation %s by ", wanted->type);
    if (names->count == 0)
        buffer_append_text(&reason, "a trusted key");
    else
        append_list(&reason, names);
    describe_statements(judgement, &reason);
    refuse(judgement, &reason);
}

/* --- the rest --- */

static void judge_place(struct judgement *judgement)
{
    const struct policy_question *question = judgement->question;
    const struct api_policy *policy = judgement->policy;
    AUTO_BUFFER struct buffer family = {0};
    AUTO_BUFFER struct buffer registry = {0};
    if (question->family != NULL && policy->families.count > 0 &&
        !contains(&policy->families, question->family)) {
        buffer_printf(&family, "its family is %s, allowed are ", question->family);
        append_list(&family, &policy->families);
        refuse(judgement, &family);
    }
    if (policy->registries.count > 0 && !globs_match(&policy->registries, question->registry)) {
        buffer_printf(&registry, "it comes from the registry %s, allowed are ", question->registry);
        append_list(&registry, &policy->registries);
        refuse(judgement, &registry);
    }
}

static bool has_trusted_signature(const struct policy_question *question)
{
    static const struct json_strings any = {0};
    for (size_t i = 0; i < question->evidence->signature_count; i++) {
        if (find_key(question, &any, question->evidence->signatures[i].key) != NULL)
            return true;
    }
    return false;
}

static void judge_by(const struct api_policy *policy, const struct policy_question *question,
                     struct policy_verdict *verdict)
{
    struct judgement judgement = {question, policy, verdict};
    memcpy(verdict->policy, policy->name, sizeof verdict->policy);
    verdict->on_revoke = policy->on_revoke;
    judge_keys(&judgement);
    for (size_t i = 0; i < policy->attestation_count; i++)
        judge_attestation(&judgement, &policy->attestations[i]);
    judge_place(&judgement);
    if (verdict->reasons.count == 0)
        return;
    verdict->outcome = policy->mode == API_POLICY_WARN ? POLICY_WARNED : POLICY_REFUSED;
    if (verdict->outcome == POLICY_WARNED && question->needs_trusted_key &&
        !has_trusted_signature(question)) {
        json_strings_add(&verdict->reasons, "this node boots only what a key of its own trust "
                                            "folder signed, whatever a policy only warns of");
        verdict->outcome = POLICY_REFUSED;
    }
}

void policy_judge(const struct policy_question *question, struct policy_verdict *ret_verdict)
{
    const struct api_policy *policy =
        policy_find(question->policies, question->policy_count, question->repository, NULL);
    *ret_verdict = (struct policy_verdict){.outcome = POLICY_ALLOWED};
    if (policy != NULL) {
        judge_by(policy, question, ret_verdict);
        return;
    }
    AUTO_BUFFER struct buffer reason = {0};
    if (question->policy_count > 0)
        buffer_printf(&reason,
                      "no policy matches the repository %s, and what none matches does not boot: "
                      "name it in the `match` of one (`shoal policy list`) and apply that with "
                      "`shoal policy apply -f FILE`",
                      question->repository);
    else if (!has_trusted_signature(question))
        buffer_append_text(&reason, "no trusted key signed it");
    if (reason.length == 0)
        return;
    ret_verdict->outcome = POLICY_REFUSED;
    json_strings_add(&ret_verdict->reasons, buffer_text(&reason));
}

char *policy_verdict_text(const struct policy_verdict *verdict)
{
    AUTO_BUFFER struct buffer text = {0};
    if (verdict->policy[0] != '\0')
        buffer_printf(&text, "policy %s: ", verdict->policy);
    for (size_t i = 0; i < verdict->reasons.count; i++)
        buffer_printf(&text, "%s%s", i > 0 ? "; " : "", verdict->reasons.items[i]);
    return buffer_take(&text);
}

void policy_verdict_release(struct policy_verdict *verdict)
{
    json_strings_release(&verdict->reasons);
    *verdict = (struct policy_verdict){.outcome = POLICY_ALLOWED};
}
