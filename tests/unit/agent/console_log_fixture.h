/* A folder with a guest's log, for tests that read it while it is written and turned over. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/console_log.h"
#include "lib/api/log_line.h"
#include "lib/file.h"

#define ID "0001000000a7"

struct place {
    char folder[64];
    char path[96], older[96];
    struct buffer text;
};

static inline int make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/shoal-unit.XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    snprintf(place->path, sizeof place->path, "%s/" ID ".log", place->folder);
    snprintf(place->older, sizeof place->older, "%s/" ID ".log.1", place->folder);
    *state = place;
    return 0;
}

static inline int remove_place(void **state)
{
    struct place *place = *state;
    int status = file_remove_tree(place->folder, NULL);
    buffer_finish(&place->text);
    free(place);
    return status;
}

/* Lines of 02:00:01, 02:00:02 and so on, by what they say. */
#define AT(second, text) "2026-11-26T02:00:0" #second ".000Z L " text
#define ONE              AT(1, "one\n")
#define TWO              AT(2, "two\n")
#define THREE            AT(3, "three\n")

static inline void append(const char *path, const char *text)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
    close(descriptor);
}

/* What of the past was left out, and where its lines begin. */
struct kept {
    bool is_cut;
    struct api_log_position start;
};

static inline struct console_log open_with(struct place *place,
                                           const struct console_log_query *query,
                                           struct kept *ret_kept)
{
    struct console_log log;
    struct console_log_past past;
    struct error error = ERROR_INIT;
    if (console_log_open(&log, place->folder, ID, query, &past, &error) < 0)
        fail_msg("%s", error.message);
    buffer_append(&place->text, buffer_text(&past.lines), past.lines.length);
    buffer_finish(&past.lines);
    *ret_kept = (struct kept){past.is_cut, past.start};
    return log;
}

static inline struct console_log open_log(struct place *place, uint64_t lines)
{
    struct kept kept;
    return open_with(place, &(struct console_log_query){.tail = lines, .limit = CONSOLE_PAST_MAX},
                     &kept);
}
