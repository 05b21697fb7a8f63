/* What this node and its microVMs use: the last two samples of each, as the host half took them.
 *
 * Loop thread only. Knows ids and numbers; what service an instance is of, others know. */
#pragma once

#include "agent/boot_histogram.h"
#include "agent/host_protocol.h"
#include "lib/api/figures.h"

struct figures;

struct figures *figures_create(void);
void figures_destroy(struct figures *figures);

/* A batch of samples. Those that have not been renewed for long are dropped. */
void figures_take(struct figures *figures, const struct host_usage *usage);
/* Its microVM has ended. */
void figures_forget(struct figures *figures, const char *id);
size_t figures_count(const struct figures *figures);

/* Totals and rates of one instance as of `now_ns` (CLOCK_MONOTONIC); the other members are left
 * alone. False when there is no sample. */
bool figures_fill(const struct figures *figures, const char *id, uint64_t now_ns,
                  struct api_instance_figures *ret_figures);

/* An instance has become ready for the first time. */
void figures_take_boot(struct figures *figures, const struct api_boot_steps *steps,
                       uint64_t boot_ms);
const struct boot_histogram *figures_boots(const struct figures *figures);

void figures_take_node(struct figures *figures, const struct host_node *node);
/* The machine's and the agent's; what its instances add up to is left alone. False when there is no
 * sample. */
bool figures_fill_node(const struct figures *figures, uint64_t now_ns,
                       struct api_node_figures *ret_figures);
