/* Scope-exit attributes for values that live in one function. Never for objects libuv owns. */
#pragma once

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close(const int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}

static inline void cleanup_fclose(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

static inline void cleanup_json(struct json_object **object)
{
    json_object_put(*object);
}

#define AUTO_FREE   __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE  __attribute__((cleanup(cleanup_close)))
#define AUTO_FCLOSE __attribute__((cleanup(cleanup_fclose)))
#define AUTO_JSON   __attribute__((cleanup(cleanup_json)))

/* Hands a value out of an AUTO_ variable's reach. */
#define TAKE_POINTER(variable)                                                                     \
    __extension__({                                                                                \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    })
#define TAKE_DESCRIPTOR(variable)                                                                  \
    __extension__({                                                                                \
        int taken_ = (variable);                                                                   \
        (variable) = -1;                                                                           \
        taken_;                                                                                    \
    })
#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))
