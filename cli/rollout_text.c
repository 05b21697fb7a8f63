#include "cli/rollout_text.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"

void rollout_text_phase(const struct api_rollout_view *view, struct buffer *text)
{
    for (const char *at = rollout_phase_names[view->phase]; *at != '\0'; at++)
        buffer_append(text, *at == '_' ? " " : at, 1);
}

/* Behind `prefix`, and what parts it from the rest; NULL: the text begins with something else. */
static const char *behind(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(text, prefix, length) != 0)
        return NULL;
    return text + length + strspn(text + length, ",;: ");
}

/* What the reason says beyond the counts, which are told already. */
static const char *news_of(const struct api_rollout_view *view)
{
    char counts[64], old[48];
    if (view->phase == ROLLOUT_ROLLED_BACK || view->phase == ROLLOUT_FAILED ||
        view->phase == ROLLOUT_SUPERSEDED)
        return "";
    snprintf(counts, sizeof counts, "%u of %u %shealthy", view->healthy,
             view->canary > 0 ? view->canary : view->wanted, view->canary > 0 ? "canaries " : "");
    snprintf(old, sizeof old, "%u old to end", view->old);
    const char *rest = behind(view->reason, counts);
    if (rest == NULL)
        return view->reason;
    const char *news = behind(rest, old);
    return news != NULL ? news : rest;
}

void rollout_text_progress(const struct api_rollout_view *view, struct buffer *text)
{
    const char *news = news_of(view);
    if (view->canary > 0)
        buffer_printf(text, "%u of %u canaries healthy", view->healthy, view->canary);
    else
        buffer_printf(text, "%u of %u healthy", view->healthy, view->wanted);
    if (view->old > 0)
        buffer_printf(text, ", %u old", view->old);
    if (view->failures > 0)
        buffer_printf(text, ", %u failed start%s", view->failures, view->failures > 1 ? "s" : "");
    if (news[0] != '\0')
        buffer_printf(text, "; %s", news);
}

void rollout_text_describe(const struct api_rollout_view *view, struct buffer *text)
{
    char ago[TEXT_DURATION_MAX];
    rollout_text_phase(view, text);
    if (!rollout_phase_is_over(view->phase)) {
        buffer_append_text(text, ", ");
        rollout_text_progress(view, text);
        return;
    }
    text_format_age(view->age_ms > view->duration_ms ? view->age_ms - view->duration_ms : 0, ago,
                    sizeof ago);
    buffer_printf(text, " %s ago%s%s", ago, view->reason[0] != '\0' ? ": " : "", view->reason);
}
