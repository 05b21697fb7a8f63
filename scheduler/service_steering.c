/* pause, resume, promote, abort: what people ask of the rollout that runs. */
#include "lib/log.h"
#include "lib/text.h"
#include "scheduler/service_subject.h"

/* What became of a rollout that somebody steered. */
static void steer(struct subject *subject, enum rollout_phase phase, bool promotes,
                  const char *what)
{
    const struct document_rollout *last = model_rollout(subject->service);
    struct document_rollout *rollout = change_edit(subject->change, DOCUMENT_ROLLOUT, last);
    rollout->phase = phase;
    rollout->promoted = rollout->promoted || promotes;
    text_copy(rollout->reason, sizeof rollout->reason, subject->answer->message);
    if (rollout_phase_is_over(phase))
        rollout->ended_ms = core_wall(subject->core);
    log_info("rollout moves", "service", subject->service->name, "from",
             rollout_phase_names[last->phase], "to", rollout_phase_names[phase], "cause",
             rollout->reason);
    subject_tell(subject, "rollout", what);
}

/* Begins a change of the rollout that runs; refused when none does. */
static int begin_steering(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, const char *verb, struct api_change_answer *answer,
                          struct subject *ret_subject, struct error *error)
{
    if (subject_begin(core, change, namespace_name, service, answer, ret_subject, error) < 0)
        return -1;
    const struct document_rollout *last = model_rollout(ret_subject->service);
    if (last == NULL || rollout_phase_is_over(last->phase))
        return error_set(error, ERROR_CONFLICT,
                         "no rollout of service %s is running: there is nothing to %s", service,
                         verb);
    subject_answer(ret_subject, true, last->to, last->number);
    return 0;
}

int service_changes_pause(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, struct api_change_answer *ret_answer,
                          struct error *error)
{
    struct subject subject;
    if (begin_steering(core, change, namespace_name, service, "pause", ret_answer, &subject,
                       error) < 0)
        return -1;
    const struct document_rollout *last = model_rollout(subject.service);
    ret_answer->changed = last->phase != ROLLOUT_PAUSED;
    if (ret_answer->changed && !rollout_phase_may_move(last->phase, ROLLOUT_PAUSED))
        return error_set(error, ERROR_CONFLICT,
                         "rollout %u of service %s is going back to revision %u: that cannot be "
                         "paused",
                         last->number, service, last->from);
    subject_say(
        &subject,
        "rollout %u to revision %u is paused: `resume`, `abort` or another deploy ends that",
        last->number, last->to);
    if (ret_answer->changed)
        steer(&subject, ROLLOUT_PAUSED, false, "paused");
    return 0;
}

int service_changes_resume(struct core *core, struct change *change, const char *namespace_name,
                           const char *service, struct api_change_answer *ret_answer,
                           struct error *error)
{
    struct subject subject;
    if (begin_steering(core, change, namespace_name, service, "resume", ret_answer, &subject,
                       error) < 0)
        return -1;
    const struct document_rollout *last = model_rollout(subject.service);
    ret_answer->changed = last->phase == ROLLOUT_PAUSED;
    subject_say(&subject, "rollout %u to revision %u %s", last->number, last->to,
                ret_answer->changed ? "goes on" : "is not paused");
    if (ret_answer->changed)
        steer(&subject, ROLLOUT_PROGRESSING, false, "resumed");
    return 0;
}

int service_changes_promote(struct core *core, struct change *change, const char *namespace_name,
                            const char *service, struct api_change_answer *ret_answer,
                            struct error *error)
{
    struct subject subject;
    if (begin_steering(core, change, namespace_name, service, "promote", ret_answer, &subject,
                       error) < 0)
        return -1;
    const struct document_rollout *last = model_rollout(subject.service);
    if (last->phase == ROLLOUT_PAUSED)
        return error_set(error, ERROR_CONFLICT,
                         "rollout %u of service %s is paused: resume it first", last->number,
                         service);
    if (last->phase == ROLLOUT_PROGRESSING && !last->promoted)
        return error_set(error, ERROR_CONFLICT,
                         "the canaries of rollout %u of service %s are not healthy yet: wait for "
                         "them, or abort it",
                         last->number, service);
    ret_answer->changed = last->phase == ROLLOUT_AWAITING_PROMOTION;
    if (!ret_answer->changed) {
        subject_say(&subject, "rollout %u has no canaries that wait for it", last->number);
        return 0;
    }
    subject_say(&subject, "rollout %u to revision %u was promoted", last->number, last->to);
    steer(&subject, ROLLOUT_PROGRESSING, true, "promoted");
    return 0;
}

/* Where an aborted rollout goes: back, where there is something to go back to. */
static enum rollout_phase say_aborted(struct subject *subject)
{
    const struct document_rollout *last = model_rollout(subject->service);
    bool back = last->from != 0 && last->from != last->to;
    if (back)
        subject_say(subject, "aborted; back to revision %u", last->from);
    else if (last->from == 0)
        subject_say(subject,
                    "aborted; a first deploy has nothing to return to, its instances are kept");
    else
        subject_say(subject, "aborted; there is nothing else to return to, instances are kept");
    return back ? ROLLOUT_ROLLING_BACK : ROLLOUT_FAILED;
}

int service_changes_abort(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, struct api_change_answer *ret_answer,
                          struct error *error)
{
    struct subject subject;
    if (begin_steering(core, change, namespace_name, service, "abort", ret_answer, &subject,
                       error) < 0)
        return -1;
    const struct document_rollout *last = model_rollout(subject.service);
    ret_answer->changed = last->phase != ROLLOUT_ROLLING_BACK;
    if (!ret_answer->changed) {
        subject_say(&subject, "rollout %u is going back to revision %u already", last->number,
                    last->from);
        return 0;
    }
    enum rollout_phase phase = say_aborted(&subject);
    steer(&subject, phase, false, "aborted");
    return 0;
}
