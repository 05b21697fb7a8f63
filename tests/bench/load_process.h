/* What a process takes, from /proc; one that is not there ends this one with a message. */
#pragma once

/* Resident memory. */
double load_memory_kib(long pid);
/* User and system time since its start. */
double load_processor_seconds(long pid);
