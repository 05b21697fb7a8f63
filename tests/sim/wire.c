#include "tests/sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "tests/sim/node.h"
#include "tests/sim/process.h"

#define CALL_TIMEOUT_MS 10000
#define POLL_TIMEOUT_MS 45000

enum call_kind { CALL_JOIN, CALL_STATUS, CALL_POLL };

struct call {
    struct world *world;
    struct node *node;
    unsigned references;
    enum call_kind kind;
    struct api_join join;
    struct api_status status;
    struct publication_poll poll;
    struct process *process; /* that a join waits for */
    wire_callback *callback; /* NULL: answered, or given up */
    void *data;
    struct world_event *deadline;
};

/* An answer on its way back. */
struct reply {
    struct call *call;
    struct wire_answer answer;
    struct api_join_answer join;
    char *text;
};

static void release(void *data)
{
    struct call *call = data;
    if (--call->references > 0)
        return;
    json_record_release(&api_join_record, &call->join);
    json_record_release(&api_status_record, &call->status);
    free(call);
}

static uint64_t travel_ms(struct world *world)
{
    if (draw_chance(&world->draw, world->faults.late_permille))
        return draw_between(&world->draw, 1000, 20000);
    return draw_between(&world->draw, 1, 20);
}

static bool is_lost(const struct call *call)
{
    struct world *world = call->world;
    return node_is_cut(call->node) || draw_chance(&world->draw, world->faults.lose_permille);
}

/* --- back at the agent --- */

static void end(struct call *call, const struct wire_answer *answer)
{
    wire_callback *callback = call->callback;
    if (callback == NULL)
        return;
    call->callback = NULL;
    world_cancel(&call->deadline);
    callback(answer, call->data);
}

static void on_deadline(void *data)
{
    struct call *call = data;
    call->deadline = NULL;
    end(call, &(struct wire_answer){.failed = true});
    release(call);
}

void wire_give_up(struct call **call)
{
    if (*call != NULL) {
        (*call)->callback = NULL;
        world_cancel(&(*call)->deadline);
    }
    *call = NULL;
}

static void drop_reply(void *data)
{
    struct reply *reply = data;
    release(reply->call);
    free(reply->text);
    free(reply);
}

static void on_reply(void *data)
{
    struct reply *reply = data;
    reply->answer.text = reply->text;
    if (reply->answer.join != NULL)
        reply->answer.join = &reply->join;
    if (!node_is_cut(reply->call->node))
        end(reply->call, &reply->answer);
    drop_reply(reply);
}

/* Takes over one reference of the call. */
static void answer(struct call *call, const struct wire_answer *answer)
{
    struct world *world = call->world;
    if (call->callback == NULL || is_lost(call)) {
        release(call);
        return;
    }
    struct reply *reply = xcalloc(1, sizeof *reply);
    reply->call = call;
    reply->answer = *answer;
    if (answer->join != NULL)
        reply->join = *answer->join;
    reply->text = answer->text != NULL ? xstrdup(answer->text) : NULL;
    world_after(world, travel_ms(world), on_reply, drop_reply, reply);
}

/* --- at the scheduler --- */

static void on_joined(const struct error *error, const struct api_join_answer *joined, void *data)
{
    struct call *call = data;
    if (process_is_gone(call->process))
        answer(call, &(struct wire_answer){.failed = true});
    else
        answer(call, &(struct wire_answer){.code = error != NULL ? error->code : ERROR_NONE,
                                           .join = joined});
}

static void on_poll_answer(bool broken, enum publication_news news, const char *text, void *data)
{
    answer(data,
           &(struct wire_answer){.failed = broken,
                                 .code = news == PUBLICATION_COMPACTED ? ERROR_STALE : ERROR_NONE,
                                 .compacted = news == PUBLICATION_COMPACTED,
                                 .text = text});
}

static void take_status(struct call *call, struct core *core)
{
    struct error error = ERROR_INIT;
    struct api_status copy;
    json_record_copy(&api_status_record, &call->status, &copy);
    struct api_status_answer taken = {0};
    int result = agents_take_status(core, &copy, &taken, &error);
    json_record_release(&api_status_record, &copy);
    answer(call, &(struct wire_answer){.code = result < 0 ? error.code : ERROR_NONE,
                                       .whole = taken.whole});
}

static void take_poll(struct call *call, struct process *process)
{
    struct core *core = process_core(process);
    struct model_node *node = model_node(&core->model, node_name(call->node));
    if (node == NULL) {
        answer(call, &(struct wire_answer){.code = ERROR_NOT_FOUND});
        return;
    }
    struct publication_poll poll = call->poll;
    poll.term = store_identity(core->store)->term;
    process_poll(process, node, &poll, on_poll_answer, call);
}

static void on_arrival(void *data)
{
    struct call *call = data;
    if (is_lost(call)) {
        release(call);
        return;
    }
    struct process *process = process_leader(call->world);
    if (process == NULL) {
        answer(call, &(struct wire_answer){.failed = true});
        return;
    }
    if (call->kind == CALL_STATUS) {
        take_status(call, process_core(process));
    } else if (call->kind == CALL_POLL) {
        take_poll(call, process);
    } else {
        struct api_join copy;
        json_record_copy(&api_join_record, &call->join, &copy);
        call->process = process;
        agents_join(process_core(process), &copy, on_joined, call);
    }
}

/* --- on the way --- */

static struct call *send_off(struct node *node, struct call *call, wire_callback *callback,
                             void *data)
{
    struct world *world = node_world(node);
    call->world = world;
    call->node = node;
    call->callback = callback;
    call->data = data;
    unsigned times = draw_chance(&world->draw, world->faults.repeat_permille) ? 2 : 1;
    call->references = times + 1;
    call->deadline = world_after(world, call->kind == CALL_POLL ? POLL_TIMEOUT_MS : CALL_TIMEOUT_MS,
                                 on_deadline, release, call);
    for (unsigned i = 0; i < times; i++)
        world_after(world, travel_ms(world), on_arrival, release, call);
    return call;
}

struct call *wire_join(struct node *node, struct api_join *join, wire_callback *callback,
                       void *data)
{
    struct call *call = xcalloc(1, sizeof *call);
    call->kind = CALL_JOIN;
    call->join = *join;
    *join = (struct api_join){0};
    return send_off(node, call, callback, data);
}

struct call *wire_status(struct node *node, struct api_status *status, wire_callback *callback,
                         void *data)
{
    struct call *call = xcalloc(1, sizeof *call);
    call->kind = CALL_STATUS;
    call->status = *status;
    *status = (struct api_status){0};
    return send_off(node, call, callback, data);
}

struct call *wire_poll(struct node *node, enum publication_kind kind, bool has_after,
                       uint64_t after, wire_callback *callback, void *data)
{
    struct call *call = xcalloc(1, sizeof *call);
    call->kind = CALL_POLL;
    call->poll = (struct publication_poll){
        .kind = kind, .has_after = has_after, .after = has_after ? after : 0};
    return send_off(node, call, callback, data);
}
