#include "agent/host/domain_metadata.h"

#include <stdio.h>
#include <string.h>

#include "agent/host/domain_xml.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/text.h"

void domain_owner_of(const char *run_directory, char ret_owner[DOMAIN_OWNER_MAX])
{
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(run_directory, strlen(run_directory), digest);
    snprintf(ret_owner, DOMAIN_OWNER_MAX, "%.8s", digest_hex(digest));
}

static void append_attribute(struct buffer *buffer, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    buffer_printf(buffer, " %s='", name);
    xml_append(buffer, value);
    buffer_append_text(buffer, "'");
}

void domain_metadata_append(const struct microvm_spec *spec, const char *owner,
                            struct buffer *buffer)
{
    buffer_append_text(buffer, "<shoal:instance xmlns:shoal='" DOMAIN_METADATA_URI "'");
    append_attribute(buffer, "id", spec->id);
    append_attribute(buffer, "kernel", spec->kernel);
    append_attribute(buffer, "image", spec->image);
    append_attribute(buffer, "address", spec->address);
    append_attribute(buffer, "family", spec->family);
    append_attribute(buffer, "owner", owner);
    buffer_append_text(buffer, "/>");
}

/* One ` name="value"`, in either kind of quote; moves behind it. None of ours needs an entity. */
static bool read_attribute(const char **at, char *ret_name, size_t name_size, char *ret_value,
                           size_t value_size)
{
    const char *name = *at + strspn(*at, " \n\t");
    size_t name_length = strcspn(name, "=<>\"' &/");
    const char *quote = name + name_length + 1;
    if (name_length == 0 || name_length >= name_size || name[name_length] != '=' ||
        (*quote != '"' && *quote != '\''))
        return false;
    const char *value = quote + 1;
    const char *end = strchr(value, *quote);
    size_t length = end != NULL ? (size_t)(end - value) : value_size;
    if (length >= value_size || memchr(value, '&', length) != NULL ||
        memchr(value, '<', length) != NULL)
        return false;
    memcpy(ret_name, name, name_length);
    ret_name[name_length] = '\0';
    memcpy(ret_value, value, length);
    ret_value[length] = '\0';
    *at = end + 1;
    return true;
}

/* False for a name that is not ours, one that was there already, and a value that is too long. */
static bool take_attribute(struct domain_metadata *metadata, const char *name, const char *value)
{
    struct microvm_identity *identity = &metadata->identity;
    const struct {
        const char *name;
        char *text;
        size_t size;
    } members[] = {
        {"id", identity->id, sizeof identity->id},
        {"kernel", identity->kernel, sizeof identity->kernel},
        {"image", identity->image, sizeof identity->image},
        {"address", identity->address, sizeof identity->address},
        {"family", identity->family, sizeof identity->family},
        {"owner", metadata->owner, sizeof metadata->owner},
    };
    if (strncmp(name, "xmlns", 5) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LENGTH(members); i++) {
        if (strcmp(members[i].name, name) == 0)
            return members[i].text[0] == '\0' && text_copy(members[i].text, members[i].size, value);
    }
    return false;
}

static bool is_whole(const struct domain_metadata *metadata)
{
    const struct microvm_identity *identity = &metadata->identity;
    unsigned char id[(INSTANCE_ID_MAX - 1) / 2], owner[(DOMAIN_OWNER_MAX - 1) / 2];
    return text_parse_hex(identity->id, id, sizeof id) &&
           text_parse_hex(metadata->owner, owner, sizeof owner) &&
           (identity->kernel[0] == '\0' || digest_is_valid(identity->kernel)) &&
           digest_is_valid(identity->image) && identity->address[0] != '\0' &&
           identity->family[0] != '\0';
}

int domain_metadata_parse(const char *text, struct domain_metadata *ret_metadata)
{
    static const char *const marks[] = {"<instance", "<shoal:instance"};
    struct domain_metadata metadata = {0};
    const char *at = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(marks) && at == NULL; i++) {
        if (strncmp(text, marks[i], strlen(marks[i])) == 0)
            at = text + strlen(marks[i]);
    }
    if (at == NULL)
        return -1;
    char name[32], value[DIGEST_TEXT_MAX + 1];
    while (*at == ' ' || *at == '\n' || *at == '\t') {
        if (!read_attribute(&at, name, sizeof name, value, sizeof value) ||
            !take_attribute(&metadata, name, value))
            return -1;
    }
    if (strncmp(at, "/>", 2) != 0 || at[2 + strspn(at + 2, " \n\t")] != '\0' ||
        !is_whole(&metadata))
        return -1;
    *ret_metadata = metadata;
    return 0;
}
