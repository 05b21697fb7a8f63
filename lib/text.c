#include "lib/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

#define MS_PER_SECOND UINT64_C(1000)
#define MS_PER_MINUTE (UINT64_C(60) * MS_PER_SECOND)
#define MS_PER_HOUR   (UINT64_C(60) * MS_PER_MINUTE)
#define MS_PER_DAY    (UINT64_C(24) * MS_PER_HOUR)
#define MS_MAX        (UINT64_C(366) * MS_PER_DAY)
#define SIZE_LIMIT    (UINT64_C(1) << 50)

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool text_is_name(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > 63)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool inner = i > 0 && i + 1 < length;
        if (!is_name_character(text[i]) && !(inner && text[i] == '-'))
            return false;
    }
    return true;
}

/* Reads digits from `*text` on and moves it behind them. */
static bool take_number(const char **text, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *at = *text;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *text = at;
    *ret_value = value;
    return true;
}

bool text_parse_u64(const char *text, uint64_t max, uint64_t *ret_value)
{
    uint64_t value;
    if (max < 9) {
        /* take_number's bound needs room for one digit. */
        if (!take_number(&text, 9, &value) || value > max)
            return false;
    } else if (!take_number(&text, max, &value)) {
        return false;
    }
    if (*text != '\0')
        return false;
    *ret_value = value;
    return true;
}

static const struct unit {
    const char *suffix;
    uint64_t factor;
} duration_units[] = {{"ms", 1},
                      {"d", 24 * MS_PER_HOUR},
                      {"h", MS_PER_HOUR},
                      {"m", MS_PER_MINUTE},
                      {"s", MS_PER_SECOND}};

bool text_parse_duration(const char *text, uint64_t *ret_ms)
{
    uint64_t total = 0;
    if (*text == '\0')
        return false;
    while (*text != '\0') {
        uint64_t value;
        size_t unit = 0;
        if (!take_number(&text, MS_MAX, &value))
            return false;
        while (unit < ARRAY_LENGTH(duration_units) &&
               strncmp(text, duration_units[unit].suffix, strlen(duration_units[unit].suffix)) != 0)
            unit++;
        if (unit == ARRAY_LENGTH(duration_units))
            return false;
        if (value > MS_MAX / duration_units[unit].factor)
            return false;
        total += value * duration_units[unit].factor;
        if (total > MS_MAX)
            return false;
        text += strlen(duration_units[unit].suffix);
    }
    *ret_ms = total;
    return true;
}

void text_format_duration(uint64_t ms, char *ret_text, size_t size)
{
    static const struct unit order[] = {
        {"h", MS_PER_HOUR}, {"m", MS_PER_MINUTE}, {"s", MS_PER_SECOND}, {"ms", 1}};
    if (ms == 0) {
        snprintf(ret_text, size, "0s");
        return;
    }
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(order) && used < size; i++) {
        uint64_t count = ms / order[i].factor;
        ms %= order[i].factor;
        if (count > 0)
            used += (size_t)snprintf(ret_text + used, size - used, "%" PRIu64 "%s", count,
                                     order[i].suffix);
    }
}

static const struct unit size_units[] = {
    {"Ti", 1ull << 40}, {"Gi", 1ull << 30}, {"Mi", 1ull << 20}, {"Ki", 1ull << 10}, {"", 1}};

bool text_parse_size(const char *text, uint64_t *ret_bytes)
{
    uint64_t value;
    if (!take_number(&text, SIZE_LIMIT, &value))
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(size_units); i++) {
        if (strcmp(text, size_units[i].suffix) == 0) {
            if (value > SIZE_LIMIT / size_units[i].factor)
                return false;
            *ret_bytes = value * size_units[i].factor;
            return true;
        }
    }
    return false;
}

void text_format_size(uint64_t bytes, char *ret_text, size_t size)
{
    for (size_t i = 0; i < ARRAY_LENGTH(size_units); i++) {
        if (bytes % size_units[i].factor == 0 && bytes >= size_units[i].factor) {
            snprintf(ret_text, size, "%" PRIu64 "%s", bytes / size_units[i].factor,
                     size_units[i].suffix);
            return;
        }
    }
    snprintf(ret_text, size, "0");
}

void text_format_age(uint64_t ms, char *ret_text, size_t size)
{
    if (ms < 2 * MS_PER_MINUTE)
        snprintf(ret_text, size, "%" PRIu64 "s", ms / MS_PER_SECOND);
    else if (ms < 2 * MS_PER_HOUR)
        snprintf(ret_text, size, "%" PRIu64 "m", ms / MS_PER_MINUTE);
    else if (ms < 2 * MS_PER_DAY)
        snprintf(ret_text, size, "%" PRIu64 "h", ms / MS_PER_HOUR);
    else
        snprintf(ret_text, size, "%" PRIu64 "d", ms / MS_PER_DAY);
}

void text_format_hex(const void *bytes, size_t length, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;
    for (size_t i = 0; i < length; i++) {
        ret_text[2 * i] = digits[from[i] >> 4];
        ret_text[2 * i + 1] = digits[from[i] & 15];
    }
    ret_text[2 * length] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_parse_hex(const char *text, void *ret_bytes, size_t length)
{
    if (strlen(text) != 2 * length)
        return false;
    for (size_t i = 0; i < 2 * length; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)ret_bytes)[i] =
            (unsigned char)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

size_t text_character_length(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    uint32_t code = at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000};
    bool excluded =
        (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff || code == 0xfffe || code == 0xffff;
    return code >= least[length] && !excluded ? length : 0;
}

void text_make_printable(char *text)
{
    for (char *at = text; *at != '\0';) {
        size_t length = text_character_length(at);
        if (length == 0 && *at != '\n' && *at != '\t')
            *at = '?';
        at += length > 0 ? length : 1;
    }
}

void text_make_line(char *text)
{
    text_make_printable(text);
    for (; *text != '\0'; text++) {
        if (*text == '\n' || *text == '\t')
            *text = '?';
    }
}

bool text_copy(char *ret_text, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size)
        return false;
    memcpy(ret_text, text, length + 1);
    return true;
}

bool text_path_climbs(const char *path)
{
    for (const char *at = path; *at != '\0';) {
        size_t length = strcspn(at, "/");
        if (length == 2 && strncmp(at, "..", 2) == 0)
            return true;
        at += length + (at[length] == '/');
    }
    return false;
}
