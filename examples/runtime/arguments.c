#include "arguments.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEVICE_PREFIX "virtio_mmio.device="

/* Reads digits of the base (10 or 16); false when there are none or the value passes `limit`. */
static bool read_number(const char **cursor, unsigned base, uint64_t limit, uint64_t *ret_value)
{
    const char *begin = *cursor;
    uint64_t value = 0;
    for (;; (*cursor)++) {
        unsigned char c = (unsigned char)**cursor;
        unsigned digit = c >= '0' && c <= '9'   ? c - (unsigned)'0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                                                : 99u;
        if (digit >= base) {
            break;
        }
        if (value > (limit - digit) / base) {
            return false;
        }
        value = value * base + digit;
    }
    *ret_value = value;
    return *cursor != begin;
}

static bool read_address(const char **cursor, uint32_t *ret_address)
{
    uint32_t address = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t part;
        if ((i > 0 && *(*cursor)++ != '.') || !read_number(cursor, 10, 255, &part)) {
            return false;
        }
        address = address << 8 | (uint32_t)part;
    }
    *ret_address = address;
    return true;
}

/* Ends the argument at `*cursor` and returns it, without its quotes; NULL at the end of the line.
 * `*ret_closed` is false when a quote was left open. */
static char *take_argument(char **cursor, bool *ret_closed)
{
    while (**cursor == ' ') {
        (*cursor)++;
    }
    *ret_closed = true;
    if (**cursor == '\0') {
        return NULL;
    }
    char *begin = *cursor, *out = begin, *in = begin;
    bool quoted = false;
    for (; *in != '\0' && (quoted || *in != ' '); in++) {
        if (*in == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && *in == '\\' && in[1] != '\0') {
            in++;
        }
        *out++ = *in;
    }
    *cursor = *in != '\0' ? in + 1 : in;
    *out = '\0';
    *ret_closed = !quoted;
    return begin;
}

static bool parse_device(const char *text, struct arguments_device *ret_device)
{
    uint64_t size, address, line;
    if (strncmp(text, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) != 0) {
        return false;
    }
    text += strlen(DEVICE_PREFIX);
    if (!read_number(&text, 10, UINT32_MAX, &size) || strncmp(text, "@0x", 3) != 0) {
        return false;
    }
    text += 3;
    if (!read_number(&text, 16, UINT64_MAX, &address) || *text++ != ':' ||
        !read_number(&text, 10, 255, &line) || *text != '\0') {
        return false;
    }
    ret_device->address = address;
    ret_device->line = (int)line;
    return true;
}

/* The devices stand at the end of the line, whatever the service's arguments are. */
static void take_devices(struct arguments *arguments)
{
    struct arguments_device device;
    while (arguments->value_count > 0 &&
           parse_device(arguments->values[arguments->value_count - 1], &device)) {
        arguments->value_count--;
        if (arguments->device_count < ARGUMENTS_DEVICES_MAX) {
            arguments->devices[arguments->device_count++] = device;
        }
    }
}

static int parse_address_option(struct arguments *arguments, const char *value, char *message,
                                size_t message_size)
{
    const char *cursor = value;
    uint64_t prefix;
    if (!read_address(&cursor, &arguments->address) || *cursor++ != '/' ||
        !read_number(&cursor, 10, 32, &prefix) || *cursor != '\0' || prefix == 0 ||
        arguments->address == 0) {
        snprintf(message, message_size,
                 "--ip=%s: not an address with a prefix, such as "
                 "10.64.0.2/24",
                 value);
        return -1;
    }
    arguments->prefix = (unsigned)prefix;
    return 0;
}

static int parse_option(struct arguments *arguments, const char *name, size_t name_length,
                        const char *value, char *message, size_t message_size)
{
    const char *cursor = value;
    uint64_t number;
    if (strncmp(name, "--ip", name_length) == 0) {
        return parse_address_option(arguments, value, message, message_size);
    }
    if (strncmp(name, "--gateway", name_length) == 0) {
        if (!read_address(&cursor, &arguments->gateway) || *cursor != '\0') {
            snprintf(message, message_size, "--gateway=%s: not an address", value);
            return -1;
        }
        return 0;
    }
    if (strncmp(name, "--mtu", name_length) == 0) {
        if (!read_number(&cursor, 10, 1500, &number) || *cursor != '\0' || number < 576) {
            snprintf(message, message_size, "--mtu=%s: not a number from 576 to 1500", value);
            return -1;
        }
        arguments->mtu = (unsigned)number;
        return 0;
    }
    if (strncmp(name, "--instance", name_length) == 0) {
        if (*value == '\0' || strlen(value) > 64) {
            snprintf(message, message_size, "--instance: empty or longer than 64 bytes");
            return -1;
        }
        arguments->instance_id = value;
        return 0;
    }
    if (strchr(value, '=') == NULL || *value == '=') {
        snprintf(message, message_size, "--env=%s: not NAME=value", value);
        return -1;
    }
    if (arguments->environment_count == ARGUMENTS_ENVIRONMENT_MAX) {
        snprintf(message, message_size, "more than %d times --env", ARGUMENTS_ENVIRONMENT_MAX);
        return -1;
    }
    arguments->environment[arguments->environment_count++] = value;
    return 0;
}

/* The length of the runtime's option name that `text` begins with, 0 when it begins with none. */
static size_t match_option(const char *text)
{
    static const char *const names[] = {"--ip", "--gateway", "--instance", "--mtu", "--env"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t length = strlen(names[i]);
        if (strncmp(text, names[i], length) == 0 && text[length] == '=') {
            return length;
        }
    }
    return 0;
}

int arguments_split(struct arguments *arguments, char *line, char *message, size_t message_size)
{
    for (;;) {
        bool closed;
        char *value = take_argument(&line, &closed);
        if (!closed) {
            snprintf(message, message_size, "a double quote is not closed");
            return -1;
        }
        if (value == NULL) {
            take_devices(arguments);
            return 0;
        }
        if (arguments_add(arguments, value, message, message_size) != 0) {
            return -1;
        }
    }
}

int arguments_add(struct arguments *arguments, char *value, char *message, size_t message_size)
{
    if (arguments->value_count == ARGUMENTS_MAX) {
        snprintf(message, message_size, "more than %d arguments", ARGUMENTS_MAX);
        return -1;
    }
    arguments->values[arguments->value_count++] = value;
    return 0;
}

int arguments_parse(struct arguments *arguments, char *message, size_t message_size)
{
    int used = 0;
    for (; used < arguments->value_count; used++) {
        char *text = arguments->values[used];
        size_t length = match_option(text);
        if (length == 0) {
            break;
        }
        if (parse_option(arguments, text, length, text + length + 1, message, message_size) != 0) {
            return -1;
        }
    }
    if (used < arguments->value_count && strcmp(arguments->values[used], "--") == 0) {
        used++;
    }
    arguments->value_count -= used;
    memmove(arguments->values, arguments->values + used,
            (size_t)arguments->value_count * sizeof(arguments->values[0]));
    return 0;
}

const char *arguments_find_environment(const struct arguments *arguments, const char *name)
{
    size_t length = strlen(name);
    /* The last one wins: the service's manifest comes after the image's. */
    for (unsigned i = arguments->environment_count; i > 0; i--) {
        const char *entry = arguments->environment[i - 1];
        if (strncmp(entry, name, length) == 0 && entry[length] == '=') {
            return entry + length + 1;
        }
    }
    return NULL;
}
