#include "registry/command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

int command_refuse(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "shoal-registry: %s: ", command);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry shoal-registry %s --help.\n", command);
    return EXIT_USAGE;
}

int command_refuse_option(const char *command, char **argv, int answer)
{
    const char *written = argv[optind - 1];
    char letter[] = {'-', (char)optopt, '\0'};
    /* Letters may stand together, and their value apart. */
    const char *option = strncmp(written, "--", 2) == 0 || optopt == 0 ? written : letter;
    if (answer == ':')
        return command_refuse(command, "%s needs a value", option);
    return command_refuse(command, "there is no option %s", option);
}

int command_fail(const char *command, bool json, int code, const struct error *error)
{
    fprintf(stderr, "shoal-registry: %s: %s\n", command, error->message);
    if (json) {
        AUTO_JSON struct json_object *object = error_to_json(error);
        puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY));
    }
    return code;
}

static void replace(char **member, const char *value)
{
    if (value == NULL)
        return;
    free(*member);
    *member = xstrdup(value);
}

static int put_on_top(const struct option_values *values, struct registry_settings *settings,
                      struct error *error)
{
    uint64_t port;
    enum log_level level;
    replace(&settings->state, values->state);
    replace(&settings->tls.certificate, values->certificate);
    replace(&settings->tls.key, values->key);
    replace(&settings->tls.client_ca, values->client_ca);
    replace(&settings->access.htpasswd, values->htpasswd);
    replace(&settings->log.access, values->access_log);
    if (values->client_ca != NULL &&
        settings->tls.client_certificates == HTTP_CLIENT_CERTIFICATES_OFF)
        settings->tls.client_certificates = HTTP_CLIENT_CERTIFICATES_REQUIRED;
    if (values->address != NULL &&
        !text_copy(settings->listen.address, sizeof settings->listen.address, values->address))
        return error_set(error, ERROR_INVALID, "--address %s is no numeric address",
                         values->address);
    if (values->port != NULL) {
        if (!text_parse_u64(values->port, UINT16_MAX, &port))
            return error_set(error, ERROR_INVALID, "--port %s is no port: 0 to 65535",
                             values->port);
        settings->listen.port = (uint32_t)port;
    }
    if (values->log_level != NULL) {
        if (log_level_parse(values->log_level, &level) < 0)
            return error_set(error, ERROR_INVALID,
                             "--log-level %s is none of debug, info, warn, error",
                             values->log_level);
        settings->log.level = (int)level;
    }
    return 0;
}

int command_settings(const struct option_values *values, struct registry_settings *ret_settings,
                     struct error *error)
{
    struct registry_settings settings;
    if (registry_settings_load(values->config, &settings, error) < 0)
        return -1;
    int result = put_on_top(values, &settings, error);
    if (result == 0 && registry_settings_check(&settings, error) < 0)
        result = values->config != NULL ? error_wrap(error, "settings %s", values->config) : -1;
    if (result < 0) {
        registry_settings_release(&settings);
        return -1;
    }
    *ret_settings = settings;
    return 0;
}
