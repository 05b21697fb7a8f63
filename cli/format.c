#include "cli/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/text.h"

#define DIGEST_SHOWN 12 /* hex digits */

void format_bytes(uint64_t bytes, char ret_text[FORMAT_MAX])
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < ARRAY_LENGTH(units)) {
        value /= 1024;
        unit++;
    }
    bool whole = value == (double)(uint64_t)value;
    snprintf(ret_text, FORMAT_MAX, "%.*f%s", whole ? 0 : 1, value, units[unit]);
}

void format_digest(const char *digest, char ret_text[FORMAT_MAX])
{
    if (digest_is_valid(digest))
        snprintf(ret_text, FORMAT_MAX, "sha256:%.*s", DIGEST_SHOWN, digest_hex(digest));
    else
        snprintf(ret_text, FORMAT_MAX, "%s", digest);
}

void format_age_or_nothing(uint64_t ms, char ret_text[FORMAT_MAX])
{
    if (ms == 0)
        ret_text[0] = '\0';
    else
        text_format_age(ms, ret_text, FORMAT_MAX);
}

void format_span(uint64_t ms, char ret_text[FORMAT_MAX])
{
    if (ms < 1000)
        snprintf(ret_text, FORMAT_MAX, "%" PRIu64 "ms", ms);
    else if (ms < 10000)
        snprintf(ret_text, FORMAT_MAX, "%.1fs", (double)ms / 1000);
    else
        text_format_age(ms, ret_text, FORMAT_MAX);
}

void format_time(uint64_t wall_ms, int full, char ret_text[FORMAT_MAX])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (localtime_r(&seconds, &parts) == NULL ||
        strftime(ret_text, FORMAT_MAX, full ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &parts) == 0)
        snprintf(ret_text, FORMAT_MAX, "%" PRIu64, wall_ms);
}

enum tone format_state_tone(enum instance_state state)
{
    switch (state) {
    case INSTANCE_READY:
        return TONE_GOOD;
    case INSTANCE_FAILED:
    case INSTANCE_UNKNOWN:
        return TONE_BAD;
    case INSTANCE_STOPPED:
        return TONE_PLAIN;
    default:
        return TONE_BUSY;
    }
}

enum tone format_phase_tone(enum rollout_phase phase)
{
    switch (phase) {
    case ROLLOUT_SUCCEEDED:
        return TONE_GOOD;
    case ROLLOUT_FAILED:
    case ROLLOUT_ROLLED_BACK:
        return TONE_BAD;
    case ROLLOUT_SUPERSEDED:
        return TONE_PLAIN;
    default:
        return TONE_BUSY;
    }
}
