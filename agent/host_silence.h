/* Whether the host half still speaks. It reports every 5 s and answers at once: one that says
 * nothing for long stands still (SIGSTOP), or its loop hangs in a disk.
 *
 * Pure; times are in ms by one monotonic clock. Knows nothing of what is said. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* After so long it is silent. */
#define HOST_SILENCE_MS 15000
/* After so long it is asked, in case it only has nothing to say. */
#define HOST_SILENCE_ASK_MS 8000
/* How often to look. */
#define HOST_SILENCE_LOOK_MS 1000

/* Zeroed before the first word, which is waited for without a limit. */
struct host_silence {
    uint64_t heard_ms; /* 0: nothing yet */
    uint64_t looked_ms;
    bool is_asked;
    bool is_silent;
};

enum host_silence_step { HOST_SILENCE_NOTHING, HOST_SILENCE_ASK, HOST_SILENCE_BEGINS };

/* A message came. Returns how long it was silent, 0 if it was not. */
uint64_t host_silence_hear(struct host_silence *silence, uint64_t now_ms);
/* What is to be done now. Time in which nobody looked, because this process stood still itself, is
 * not counted. */
enum host_silence_step host_silence_look(struct host_silence *silence, uint64_t now_ms);
/* How long it has been silent, 0 if it is not. */
uint64_t host_silence_length(const struct host_silence *silence, uint64_t now_ms);
