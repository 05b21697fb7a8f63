#include "scheduler/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image-format/command_line.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* --- resources --- */

static int check_resources(const struct template_image *image,
                           const struct api_resources *resources, struct error *error)
{
    for (size_t i = 0; i < image->count; i++) {
        const struct image_config *config = &image->verified[i].config;
        char asked[TEXT_SIZE_MAX], least[TEXT_SIZE_MAX];
        text_format_size(resources->memory, asked, sizeof asked);
        text_format_size(config->memory.min, least, sizeof least);
        if (resources->memory < config->memory.min)
            return error_set_at(error, ERROR_INVALID, "/resources/memory",
                                "%s is not enough: the image needs at least %s", asked, least);
        if (config->vcpus.max != 0 && resources->vcpus > config->vcpus.max)
            return error_set_at(error, ERROR_INVALID, "/resources/vcpus",
                                "%u is too many: the image uses at most %u", resources->vcpus,
                                config->vcpus.max);
    }
    return 0;
}

static int make_resources(const struct api_service_spec *spec, const struct template_image *image,
                          struct api_resources *ret_resources, struct error *error)
{
    const struct image_config *config = &image->verified[0].config;
    struct api_resources resources = spec->resources;
    if (resources.memory == 0)
        resources.memory =
            config->memory.default_bytes != 0 ? config->memory.default_bytes : config->memory.min;
    if (resources.vcpus == 0)
        resources.vcpus = config->vcpus.default_count != 0 ? config->vcpus.default_count : 1;
    *ret_resources = resources;
    return check_resources(image, &resources, error);
}

/* --- ports --- */

static struct api_port *find_port(struct document_template *template, const char *name,
                                  uint32_t number)
{
    for (size_t i = 0; i < template->port_count; i++) {
        struct api_port *port = &template->ports[i];
        if (strcmp(port->name, name) == 0 || port->port == number)
            return port;
    }
    return NULL;
}

static int check_public(const struct image_config *config, const struct api_port *own, size_t index,
                        struct error *error)
{
    char pointer[64];
    for (size_t i = 0; i < config->port_count && own->publish != 0; i++) {
        const struct api_port *port = &config->ports[i];
        if (!port->is_private || (port->port != own->port && strcmp(port->name, own->name) != 0))
            continue;
        snprintf(pointer, sizeof pointer, "/ports/%zu/publish", index);
        return error_set_at(error, ERROR_INVALID, pointer,
                            "port %u (%s) is private in the image and cannot be published",
                            port->port, port->name);
    }
    return 0;
}

static void add_port(struct document_template *template, const struct api_port *own)
{
    struct api_port *port = find_port(template, own->name, own->port);
    if (port == NULL) {
        template->ports =
            xreallocarray(template->ports, template->port_count + 1, sizeof *template->ports);
        port = &template->ports[template->port_count++];
        *port = (struct api_port){0};
    }
    text_copy(port->name, sizeof port->name, own->name);
    port->port = own->port;
}

static int make_ports(const struct api_service_spec *spec, const struct template_image *image,
                      struct document_template *template, struct error *error)
{
    const struct image_config *config = &image->verified[0].config;
    template->ports = xcalloc(config->port_count + 1, sizeof *template->ports);
    for (size_t i = 0; i < config->port_count; i++) {
        template->ports[i] = config->ports[i];
        template->ports[i].publish = 0;
    }
    template->port_count = config->port_count;
    for (size_t i = 0; i < spec->port_count; i++) {
        if (check_public(config, &spec->ports[i], i, error) < 0)
            return -1;
        add_port(template, &spec->ports[i]);
    }
    return api_ports_validate(template->ports, template->port_count, "/ports", error);
}

static int check_probe(const struct document_template *template, bool present,
                       const struct api_probe *probe, const char *which, struct error *error)
{
    char pointer[64];
    const char *name = api_probe_port(probe);
    if (!present || name == NULL ||
        api_port_find(template->ports, template->port_count, name) != NULL)
        return 0;
    snprintf(pointer, sizeof pointer, "/health/%s/%s/port", which,
             probe->has_http ? "http" : "tcp");
    return error_set_at(error, ERROR_INVALID, pointer,
                        "there is no port named \"%s\", neither here nor in the image", name);
}

static int check_probes(const struct api_service_spec *spec,
                        const struct document_template *template, struct error *error)
{
    const struct api_health *health = &spec->health;
    if (check_probe(template, health->has_readiness, &health->readiness, "readiness", error) < 0)
        return -1;
    return check_probe(template, health->has_liveness, &health->liveness, "liveness", error);
}

/* --- the command line --- */

/* The longest that a node will ask for: what would not reach the guest is refused here and not at
 * its first boot. */
static int check_command_line(const struct api_service_spec *spec,
                              const struct template_image *image, struct error *error)
{
    const struct command_line_values values = {
        .address = "255.255.255.255",
        .prefix = 24,
        .gateway = "255.255.255.255",
        .dns = "255.255.255.255",
        .mtu = 65535,
        .mac = "52:00:00:00:00:00",
        .instance_id = "000000000000",
        .service = spec->service,
        .namespace_name = spec->namespace_name,
        .node = "node",
    };
    for (size_t i = 0; i < image->count; i++) {
        AUTO_FREE char *line = NULL;
        if (command_line_expand(&image->verified[i].config, &spec->args, &spec->env, &values, &line,
                                error) < 0) {
            error_wrap(error, "the guest's command line");
            if (error != NULL)
                snprintf(error->pointer, sizeof error->pointer, "%s",
                         spec->args.count > 0  ? "/args"
                         : spec->env.count > 0 ? "/env"
                                               : "/image");
            return -1;
        }
    }
    return 0;
}

/* --- the whole --- */

static void copy_arguments(const struct api_service_spec *spec, struct document_template *template)
{
    for (size_t i = 0; i < spec->args.count; i++)
        json_strings_add(&template->args, spec->args.items[i]);
    for (size_t i = 0; i < spec->env.count; i++)
        json_map_set(&template->env, spec->env.items[i].key, spec->env.items[i].value);
}

static void copy_volumes(const struct api_service_spec *spec, struct document_template *template)
{
    if (spec->volume_count == 0)
        return;
    template->volumes = xcalloc(spec->volume_count, sizeof *template->volumes);
    for (size_t i = 0; i < spec->volume_count; i++) {
        struct api_volume *volume = &template->volumes[template->volume_count++];
        *volume = spec->volumes[i];
        if (volume->device[0] == '\0')
            text_copy(volume->device, sizeof volume->device, volume->name);
    }
}

static void fill_platforms(const struct template_image *image, struct document_revision *revision)
{
    revision->platforms = xcalloc(image->count, sizeof *revision->platforms);
    for (size_t i = 0; i < image->count; i++) {
        struct document_platform *platform = &revision->platforms[revision->platform_count++];
        const struct image_config *config = &image->verified[i].config;
        text_copy(platform->arch, sizeof platform->arch, config->architecture);
        text_copy(platform->family, sizeof platform->family, config->family);
        json_record_copy(&policy_evidence_record, &image->verified[i].evidence,
                         &platform->evidence);
    }
}

/* The manifest may name the image's port anew: the image's checks go with it. */
static void rename_port(const struct image_config *config, const struct document_template *template,
                        struct api_probe *probe)
{
    char *name = probe->has_http ? probe->http.port : probe->tcp.port;
    const struct api_port *port = probe->has_console ? NULL : image_config_port(config, name);
    for (size_t i = 0; i < template->port_count && port != NULL; i++) {
        if (template->ports[i].port == port->port)
            text_copy(name, NAME_MAX_TEXT, template->ports[i].name);
    }
}

static void fill_health(const struct image_config *config, struct document_revision *revision)
{
    if (!config->has_health)
        return;
    json_record_copy(&api_health_record, &config->health, &revision->health);
    rename_port(config, &revision->template, &revision->health.readiness);
    rename_port(config, &revision->template, &revision->health.liveness);
}

/* "ci (3f…), release (9a…)", each key once, as many as there is room for. */
static void fill_signers(const struct image_verified *verified, struct document_revision *revision)
{
    const struct policy_evidence *evidence = &verified->evidence;
    AUTO_BUFFER struct buffer text = {0};
    for (size_t i = 0; i < evidence->signature_count; i++) {
        const struct policy_signature *signature = &evidence->signatures[i];
        AUTO_FREE char *one = xasprintf("%s (%s)", signature->name, signature->key);
        if (strstr(buffer_text(&text), one) == NULL &&
            text.length + strlen(one) + 3 < sizeof revision->signed_by)
            buffer_printf(&text, "%s%s", text.length > 0 ? ", " : "", one);
    }
    text_copy(revision->signed_by, sizeof revision->signed_by, buffer_text(&text));
}

int template_make(const struct api_service_spec *spec, const struct template_image *image,
                  struct document_revision *ret_revision, struct error *error)
{
    struct document_revision revision = {0};
    struct document_template *template = &revision.template;
    const struct image_verified *first = &image->verified[0];
    if (make_resources(spec, image, &template->resources, error) < 0 ||
        make_ports(spec, image, template, error) < 0 || check_probes(spec, template, error) < 0 ||
        check_command_line(spec, image, error) < 0) {
        json_record_release(document_record(DOCUMENT_REVISION), &revision);
        return -1;
    }
    text_copy(template->image_digest, sizeof template->image_digest, image->digest);
    text_copy(template->arch, sizeof template->arch, spec->arch);
    copy_arguments(spec, template);
    copy_volumes(spec, template);
    template->boot_timeout_ms = spec->boot_timeout_ms;
    template->stop = spec->stop;
    fill_platforms(image, &revision);
    fill_health(&first->config, &revision);
    fill_signers(first, &revision);
    AUTO_FREE char *text = json_record_text(&document_template_record, template);
    digest_of_bytes(text, strlen(text), revision.template_digest);
    *ret_revision = revision;
    return 0;
}
