/* What instances of one revision have in common in an assignment, as text.
 *
 * Of a thousand instances only id, slot, address and gateway differ. One of them is written by the
 * record's table, and its text is cut at these four; the next is the same text with its own. */
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/assignment.h"

#define TEXTS_KEPT 4096 /* a power of two */
/* Longer ones are written anew each time: what is kept is to stay small. */
#define TEXT_KEPT_MAX 4096

/* What is an instance's own, in the order of the record; behind each its value. */
enum { OWN_ID, OWN_SLOT, OWN_ADDRESS, OWN_GATEWAY, OWN_COUNT };
static const char *const own_keys[OWN_COUNT] = {
    [OWN_ID] = "{\"id\":\"",
    [OWN_SLOT] = ",\"slot\":",
    [OWN_ADDRESS] = ",\"address\":\"",
    [OWN_GATEWAY] = ",\"gateway\":\"",
};

struct common_text {
    uint64_t edition; /* of the service; 0: nothing is kept here */
    uint32_t revision;
    char arch[16];
    char *bytes;
    size_t length;
    struct {
        size_t begin, end; /* of the value */
    } own[OWN_COUNT];
};

struct assignment_texts {
    struct common_text kept[TEXTS_KEPT];
};

struct assignment_texts *assignment_texts_create(void)
{
    return xcalloc(1, sizeof(struct assignment_texts));
}

void assignment_texts_destroy(struct assignment_texts *texts)
{
    for (size_t i = 0; texts != NULL && i < TEXTS_KEPT; i++)
        free(texts->kept[i].bytes);
    free(texts);
}

static bool is_of(const struct common_text *common, const struct model_instance *instance)
{
    return common->edition == instance->service->edition &&
           common->revision == instance->document->revision &&
           strcmp(common->arch, instance->document->arch) == 0;
}

/* Finds the four values in the text of an instance. Neither is a key's quote in a string, where it
 * would stand behind a backslash, nor are there objects before the gateway with keys of their own.
 */
static bool cut_text(const char *text, struct common_text *common)
{
    const char *at = text;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        at = strstr(at, own_keys[i]);
        if (at == NULL)
            return false;
        at += strlen(own_keys[i]);
        common->own[i].begin = (size_t)(at - text);
        at += strcspn(at, i == OWN_SLOT ? "," : "\"");
        common->own[i].end = (size_t)(at - text);
    }
    return true;
}

/* From the text of one of its instances; whether there is something to keep. */
static bool keep(struct common_text *common, const struct model_instance *instance,
                 const char *text, size_t length)
{
    struct common_text made = {.edition = instance->service->edition,
                               .revision = instance->document->revision,
                               .length = length};
    if (length > TEXT_KEPT_MAX || !cut_text(text, &made))
        return false;
    memcpy(made.arch, instance->document->arch, sizeof made.arch);
    made.bytes = xmemdup(text, length);
    free(common->bytes);
    *common = made;
    return true;
}

static size_t write_slot(uint32_t slot, char ret_digits[12])
{
    char digits[12];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + slot % 10);
    while ((slot /= 10) != 0);
    memcpy(ret_digits, &digits[at], sizeof digits - at);
    return sizeof digits - at;
}

static void append_with(struct buffer *text, const struct common_text *common,
                        const struct model_instance *instance)
{
    const struct document_instance *document = instance->document;
    char slot[12], gateway[ADDRESS_MAX];
    assignment_gateway(document->address, gateway);
    const struct {
        const char *bytes;
        size_t length;
    } own[OWN_COUNT] = {
        [OWN_ID] = {document->id, strlen(document->id)},
        [OWN_SLOT] = {slot, write_slot(document->slot, slot)},
        [OWN_ADDRESS] = {document->address, strlen(document->address)},
        [OWN_GATEWAY] = {gateway, strlen(gateway)},
    };
    size_t from = 0;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        buffer_append(text, common->bytes + from, common->own[i].begin - from);
        buffer_append(text, own[i].bytes, own[i].length);
        from = common->own[i].end;
    }
    buffer_append(text, common->bytes + from, common->length - from);
}

void assignment_append_common(struct buffer *text, struct assignment_texts *texts,
                              const struct model_instance *instance)
{
    const struct document_instance *document = instance->document;
    /* One that is to stop is written with its cause, and but once; standbys are few. */
    if (instance->service == NULL || document->wish == WISH_STOP || document->standby ||
        document->address[0] == '\0' ||
        model_revision(instance->service, document->revision) == NULL) {
        assignment_append_instance(text, instance);
        return;
    }
    uint64_t place = instance->service->edition + document->revision;
    struct common_text *common = &texts->kept[place % TEXTS_KEPT];
    if (is_of(common, instance)) {
        append_with(text, common, instance);
        return;
    }
    size_t begin = text->length;
    assignment_append_instance(text, instance);
    keep(common, instance, text->data + begin, text->length - begin);
}
