/* Where somebody who reads an instance's log is, so that they can go on there later with no line
 * lost and none twice. The agent says it from time to time by a line of the kind
 * API_LOG_POSITION; whoever reads counts the lines since, and asks for what comes `after`:
 *
 *   FILE-BEGUN-OFFSET-LINES     hex: a file of the log, by its number on the disk and the time of
 * its first line, so many bytes into it, and so many lines on from there
 *
 * Only the agent reads into it. Pure; any thread. */
#pragma once

#include "lib/api/log_line.h"

struct api_log_position {
    bool is_known;
    uint64_t file;     /* inode */
    uint64_t begun_ms; /* of its first line; 0: there was none yet */
    uint64_t offset;
    uint64_t lines; /* that were read since */
};

/* With NUL. */
#define API_LOG_POSITION_MAX (4 * 17 + 1)
void api_log_position_write(const struct api_log_position *position,
                            char ret_text[API_LOG_POSITION_MAX]);
bool api_log_position_parse(const char *text, size_t length, struct api_log_position *ret_position);

/* A line that was read moves it on: one of the kind API_LOG_POSITION says where, others are counted
 * from there. An empty one says that nothing comes any more, and it is not known then. */
void api_log_position_move(struct api_log_position *position, const struct api_log_line *line);
