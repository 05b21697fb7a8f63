/* Values as people read them in tables. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cli/table.h"
#include "lib/api/states.h"

#define FORMAT_MAX 64

/* "1.5Gi", "57.1Ki", "12" */
void format_bytes(uint64_t bytes, char ret_text[FORMAT_MAX]);
/* "sha256:0123456789ab"; an empty digest stays empty. */
void format_digest(const char *digest, char ret_text[FORMAT_MAX]);
/* Like text_format_age; "0" is shown as "". */
void format_age_or_nothing(uint64_t ms, char ret_text[FORMAT_MAX]);
/* Milliseconds below a second, tenths below ten, else like an age. */
void format_span(uint64_t ms, char ret_text[FORMAT_MAX]);
/* Local time: "15:04:05" or, in full, "2026-01-02 15:04:05". `wall_ms` since 1970. */
void format_time(uint64_t wall_ms, int full, char ret_text[FORMAT_MAX]);
enum tone format_state_tone(enum instance_state state);
enum tone format_phase_tone(enum rollout_phase phase);
