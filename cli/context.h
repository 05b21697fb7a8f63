/* Where the daemons are: options, environment, the context in ~/.config/shoal/config.json, and the
 * default ports, in that order. Owns that file. */
#pragma once

#include "cli/command.h"
#include "lib/addresses.h"
#include "lib/api/protocol.h"
#include "lib/error.h"

struct settings {
    struct addresses schedulers;
    char registry[ADDRESS_TEXT_MAX];
    const char *scheduler_source; /* "--address", "SHOAL_ADDRESS", "context local", "default" */
    const char *registry_source;
    char context[NAME_MAX_TEXT]; /* the one in use; "" : none */
    char namespace_name[NAME_MAX_TEXT];
};

/* ERROR_INVALID for an address that is none, or a config file that cannot be read. */
int settings_load(const struct invocation *invocation, struct settings *ret_settings,
                  struct error *error);
/* Adds or replaces the context and makes it the current one; other contexts stay. */
int context_write(const char *name, const char *scheduler, const char *registry,
                  struct error *error);
/* "$XDG_CONFIG_HOME/shoal/config.json" or below ~/.config; the caller frees it. */
char *context_path(void);
/* "$SHOAL_IMAGES", "$XDG_DATA_HOME/shoal/images" or below ~/.local/share; the caller frees it. */
char *image_store_path(void);
/* The folder of symbols that `debug` fetched; the caller frees. */
char *debug_store_path(void);
