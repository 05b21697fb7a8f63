#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "scheduler/core.h"
#include "scheduler/leadership.h"
#include "scheduler/routes.h"

void routes_healthz(struct http_request *request, void *data)
{
    (void)data;
    http_request_respond(request, 200, "text/plain", "ok\n", 3);
}

void routes_version(struct http_request *request, void *data)
{
    const struct core *core = data;
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, "daemon", json_object_new_string("shoal-scheduler"));
    json_object_object_add(object, "version", json_object_new_string(SHOAL_VERSION));
    json_object_object_add(object, "protocol", json_object_new_int(SHOAL_PROTOCOL));
    json_object_object_add(object, "cluster",
                           json_object_new_string(store_identity(core->store)->cluster));
    json_object_object_add(object, "term",
                           json_object_new_int64((int64_t)store_identity(core->store)->term));
    const char *leader = leadership_leader(core->leadership);
    json_object_object_add(
        object, "phase",
        json_object_new_string(leadership_phase_names[leadership_phase(core->leadership)]));
    json_object_object_add(object, "leader",
                           leader != NULL ? json_object_new_string(leader) : NULL);
    http_request_respond_json(request, 200, object);
}

static void gauge(struct buffer *text, const char *name, const char *help, size_t value)
{
    buffer_printf(text, "# HELP %s %s\n# TYPE %s gauge\n%s %zu\n", name, help, name, name, value);
}

static void count_instances(struct buffer *text, const struct model *model)
{
    size_t counts[INSTANCE_UNKNOWN + 1] = {0};
    uint64_t restarts = 0;
    for (size_t i = 0; i < model->instances.count; i++) {
        const struct model_instance *instance = model->instances.items[i];
        restarts += instance->observed.restarts;
        if (!model_instance_has_ended(instance))
            counts[model_instance_state(instance)]++;
    }
    buffer_append_text(text, "# HELP shoal_instances Instances that have not ended, by state.\n"
                             "# TYPE shoal_instances gauge\n");
    for (size_t state = 0; state <= INSTANCE_UNKNOWN; state++)
        buffer_printf(text, "shoal_instances{state=\"%s\"} %zu\n", instance_state_names[state],
                      counts[state]);
    gauge(text, "shoal_instance_restarts", "Restarts in place of the instances on record.",
          (size_t)restarts);
}

static void count_services(struct buffer *text, const struct model *model)
{
    size_t counts[ROLLOUT_SUPERSEDED + 1] = {0}, without_room = 0, present = 0;
    for (size_t i = 0; i < model->services.count; i++) {
        const struct model_service *service = model->services.items[i];
        const struct document_rollout *rollout = model_rollout(service);
        present += service->document != NULL; /* of others only volumes are left */
        without_room += service->no_capacity != NULL;
        if (rollout != NULL)
            counts[rollout->phase]++;
    }
    gauge(text, "shoal_services", "Services, jobs included.", present);
    gauge(text, "shoal_services_without_room", "Services with an instance that fits on no node.",
          without_room);
    buffer_append_text(text, "# HELP shoal_rollouts Services by the phase of their last rollout.\n"
                             "# TYPE shoal_rollouts gauge\n");
    for (size_t phase = 0; phase <= ROLLOUT_SUPERSEDED; phase++)
        buffer_printf(text, "shoal_rollouts{phase=\"%s\"} %zu\n", rollout_phase_names[phase],
                      counts[phase]);
}

static void count_runs(struct buffer *text, const struct model *model)
{
    size_t counts[RUN_STOPPED + 1] = {0};
    for (size_t i = 0; i < model->services.count; i++) {
        const struct model_service *service = model->services.items[i];
        for (size_t j = 0; j < service->run_count; j++)
            counts[service->runs[j]->phase]++;
    }
    buffer_append_text(text, "# HELP shoal_job_runs Runs of jobs on record, by phase.\n"
                             "# TYPE shoal_job_runs gauge\n");
    for (size_t phase = 0; phase <= RUN_STOPPED; phase++)
        buffer_printf(text, "shoal_job_runs{phase=\"%s\"} %zu\n", run_phase_names[phase],
                      counts[phase]);
}

void routes_metrics(struct http_request *request, void *data)
{
    const struct core *core = data;
    AUTO_BUFFER struct buffer text = {0};
    size_t silent = 0;
    for (size_t i = 0; i < core->model.nodes.count; i++)
        silent += ((const struct model_node *)core->model.nodes.items[i])->silent;
    gauge(&text, "shoal_scheduler_leads", "Whether this scheduler is the one that decides.",
          leadership_phase(core->leadership) == LEADERSHIP_LEADING);
    gauge(&text, "shoal_scheduler_leader_known", "Whether some scheduler is known to lead.",
          leadership_leader(core->leadership) != NULL);
    gauge(&text, "shoal_nodes", "Nodes that have joined.", core->model.nodes.count);
    gauge(&text, "shoal_nodes_silent", "Nodes whose lease has passed.", silent);
    gauge(&text, "shoal_rescheduling_frozen", "Whether most nodes are silent: nothing is replaced.",
          core->model.frozen);
    gauge(&text, "shoal_rescheduling_waiting", "Instances of lost nodes in line to be replaced.",
          core->model.rescheduling.count);
    gauge(&text, "shoal_keys", "Trusted keys.", core->model.keys.count);
    count_services(&text, &core->model);
    count_runs(&text, &core->model);
    count_instances(&text, &core->model);
    http_request_respond(request, 200, "text/plain; version=0.0.4", text.data, text.length);
}
