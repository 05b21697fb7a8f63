/* The life of the guest: boot, the loop, the end. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <shoal/runtime.h>

#include "arguments.h"
#include "http_server.h"
#include "layout.h"
#include "machine.h"
#include "memory.h"
#include "network.h"

_Static_assert(LAYOUT_ABI_VERSION == SHOAL_ABI_VERSION, "the note tells the ABI's version");

#define COMMAND_LINE_LIMIT 4096
#define LINE_SIZE          512

static struct {
    char command_line[COMMAND_LINE_LIMIT];
    struct arguments arguments;
    char **environment;
    char address[16];
    uint64_t random_state;
    bool stopping;
    void (*after_flush)(void);
    void (*console_line)(const char *text);
    char typed[128]; /* on the console, a line that has not ended */
    size_t typed_length;
} runtime;

const char *shoal_instance_id(void)
{
    return runtime.arguments.instance_id != NULL ? runtime.arguments.instance_id : "-";
}

const char *shoal_address(void)
{
    return runtime.address;
}

const char *shoal_environment_get(const char *name)
{
    const char *value = arguments_find_environment(&runtime.arguments, name);
    size_t length = strlen(name);
    for (char **entry = runtime.environment; value == NULL && entry != NULL && *entry != NULL;
         entry++) {
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            value = *entry + length + 1;
        }
    }
    return value;
}

uint64_t shoal_clock_nanoseconds(void)
{
    return machine_clock_nanoseconds();
}

/* splitmix64, stirred by the clock. */
uint64_t shoal_random(void)
{
    runtime.random_state += 0x9e3779b97f4a7c15ULL + machine_clock_nanoseconds();
    uint64_t value = runtime.random_state;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ value >> 27) * 0x94d049bb133111ebULL;
    return value ^ value >> 31;
}

static void write_line(const char *prefix, const char *format, va_list list)
{
    char line[LINE_SIZE];
    size_t begin = (size_t)snprintf(line, sizeof(line), "%s", prefix);
    int written = vsnprintf(line + begin, sizeof(line) - begin - 2, format, list);
    size_t length = strlen(line);
    (void)written;
    line[length++] = '\r'; /* for terminals; a log reader takes it off */
    line[length++] = '\n';
    machine_console_write(line, length);
}

void shoal_log(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    write_line("", format, list);
    va_end(list);
}

_Noreturn void shoal_panic(const char *format, ...)
{
    va_list list;
    machine_interrupts_disable();
    va_start(list, format);
    write_line("panic: ", format, list);
    va_end(list);
    machine_crash();
}

void shoal_stop(void)
{
    if (!runtime.stopping) {
        runtime.stopping = true;
        shoal_log("%s %s stopping", shoal_application.name, shoal_application.version);
        http_server_drain();
    }
}

void shoal_run_after_flush(void (*action)(void))
{
    runtime.after_flush = action;
}

_Noreturn void shoal_power_off(void)
{
    network_flush();
    machine_power_off();
}

_Noreturn void shoal_hang(void)
{
    machine_hang();
}

/* Copies the line, which may lie in memory that is given out, and splits it. */
static int split_command_line(const char *command_line, char *message, size_t message_size)
{
    size_t length = strlen(command_line);
    if (length >= sizeof(runtime.command_line)) {
        snprintf(message, message_size, "longer than %d bytes", COMMAND_LINE_LIMIT - 1);
        return -1;
    }
    memcpy(runtime.command_line, command_line, length + 1);
    return arguments_split(&runtime.arguments, runtime.command_line, message, message_size);
}

static void read_arguments(const struct machine_boot_information *information)
{
    char message[LINE_SIZE / 2];
    int result = 0;
    if (information->words == NULL) {
        result = split_command_line(information->command_line, message, sizeof(message));
    }
    for (char **word = information->words; result == 0 && word != NULL && *word != NULL; word++) {
        result = arguments_add(&runtime.arguments, *word, message, sizeof(message));
    }
    if (result == 0) {
        result = arguments_parse(&runtime.arguments, message, sizeof(message));
    }
    if (result != 0) {
        shoal_panic("command line: %s", message);
    }
    runtime.environment = information->environment;
    uint32_t address = runtime.arguments.address;
    snprintf(runtime.address, sizeof(runtime.address), "%u.%u.%u.%u", address >> 24,
             address >> 16 & 255, address >> 8 & 255, address & 255);
}

void shoal_console_listen(void (*line)(const char *text))
{
    runtime.console_line = line;
}

/* A terminal ends its lines by \r, a pipe by \n. */
static void take_typed(char byte)
{
    if (byte != '\r' && byte != '\n') {
        if (runtime.typed_length < sizeof(runtime.typed) - 1) {
            runtime.typed[runtime.typed_length++] = byte;
        }
        return;
    }
    runtime.typed[runtime.typed_length] = '\0';
    if (runtime.typed_length > 0 && runtime.console_line != NULL) {
        runtime.console_line(runtime.typed);
    }
    runtime.typed_length = 0;
}

static void poll_console(void)
{
    int byte;
    while ((byte = machine_console_read()) >= 0) {
        if (byte == MACHINE_CONSOLE_STOP) {
            shoal_stop();
        } else {
            take_typed((char)byte);
        }
    }
}

/* One turn: everything that is due, then sleep until something is. */
static void run_once(void)
{
    network_poll();
    poll_console();
    if (runtime.after_flush != NULL) {
        void (*action)(void) = runtime.after_flush;
        runtime.after_flush = NULL;
        network_flush();
        action();
    }
    if (runtime.stopping && http_server_is_drained() && network_is_quiet()) {
        shoal_log("%s %s stopped", shoal_application.name, shoal_application.version);
        shoal_power_off();
    }
    machine_interrupts_disable();
    uint64_t nanoseconds = network_prepare_sleep();
    if (nanoseconds == 0 || machine_console_is_waiting() || runtime.after_flush != NULL) {
        machine_interrupts_enable();
    } else {
        machine_sleep(nanoseconds);
    }
}

_Noreturn void runtime_start(const struct machine_boot_information *information)
{
    runtime.random_state = machine_random_seed();
    read_arguments(information);
    memory_init(machine_image_end(), information->memory_end);
    network_start(&runtime.arguments, memory_take(NETWORK_HEAP_SIZE, "the network"));
    int result = shoal_application.start(runtime.arguments.value_count, runtime.arguments.values);
    if (result != 0) {
        shoal_panic("%s %s could not start", shoal_application.name, shoal_application.version);
    }
    for (;;) {
        run_once();
    }
}
