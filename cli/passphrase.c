#include "cli/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"

#define VARIABLE "COSIGN_PASSWORD"

enum { KEY_INTERRUPT = 3, KEY_END = 4, KEY_BACKSPACE = 8, KEY_ERASE_LINE = 21, KEY_DELETE = 127 };

bool passphrase_is_given(void)
{
    return getenv(VARIABLE) != NULL;
}

void passphrase_wipe(struct passphrase *passphrase)
{
    secret_wipe(passphrase, sizeof *passphrase);
}

/* One line, key by key: with signals off, so that the terminal is always set back. */
static int read_line(int terminal, struct passphrase *passphrase, struct error *error)
{
    char key;
    passphrase->length = 0;
    for (;;) {
        ssize_t got = read(terminal, &key, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || key == KEY_INTERRUPT || (key == KEY_END && passphrase->length == 0))
            return error_set(error, ERROR_DENIED, "no password was given");
        if (key == '\n' || key == '\r' || key == KEY_END)
            return 0;
        if (key == KEY_ERASE_LINE)
            passphrase->length = 0;
        else if ((key == KEY_BACKSPACE || key == KEY_DELETE) && passphrase->length > 0)
            passphrase->length--;
        else if (key != KEY_BACKSPACE && key != KEY_DELETE) {
            if (passphrase->length == sizeof passphrase->text)
                return error_set(error, ERROR_INVALID, "the password is longer than %zu bytes",
                                 sizeof passphrase->text);
            passphrase->text[passphrase->length++] = key;
        }
    }
}

static int ask(int terminal, const char *prompt, struct passphrase *passphrase, struct error *error)
{
    struct termios before, quiet;
    if (tcgetattr(terminal, &before) < 0)
        return error_set_errno(error, errno, "the terminal");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    if (tcsetattr(terminal, TCSAFLUSH, &quiet) < 0)
        return error_set_errno(error, errno, "the terminal");
    int result = file_write_all(terminal, prompt, strlen(prompt), error);
    if (result == 0)
        result = read_line(terminal, passphrase, error);
    tcsetattr(terminal, TCSAFLUSH, &before);
    file_write_all(terminal, "\n", 1, NULL);
    return result;
}

static int ask_twice(int terminal, struct passphrase *passphrase, struct error *error)
{
    struct passphrase again = {.length = 0};
    int result = ask(terminal, "Password for the key: ", passphrase, error);
    if (result == 0)
        result = ask(terminal, "The same again: ", &again, error);
    if (result == 0 && (again.length != passphrase->length ||
                        !bytes_equal_constant_time(again.text, passphrase->text, again.length)))
        result = error_set(error, ERROR_INVALID, "the two passwords differ");
    passphrase_wipe(&again);
    return result;
}

static int take_variable(const char *value, struct passphrase *passphrase, struct error *error)
{
    size_t length = strlen(value);
    if (length > sizeof passphrase->text)
        return error_set(error, ERROR_INVALID, VARIABLE " is longer than %zu bytes",
                         sizeof passphrase->text);
    memcpy(passphrase->text, value, length);
    passphrase->length = length;
    return 0;
}

int passphrase_get(const char *file, bool is_new, struct passphrase *ret_passphrase,
                   struct error *error)
{
    struct passphrase passphrase = {.length = 0};
    char prompt[512];
    int result;
    const char *variable = getenv(VARIABLE);
    AUTO_CLOSE int terminal =
        variable == NULL ? open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;
    if (variable != NULL)
        result = take_variable(variable, &passphrase, error);
    else if (terminal < 0)
        result = error_set(error, ERROR_DENIED,
                           "%s needs a password, and there is no terminal to ask on: set " VARIABLE,
                           file);
    else if (is_new)
        result = ask_twice(terminal, &passphrase, error);
    else {
        snprintf(prompt, sizeof prompt, "Password of %.400s: ", file);
        result = ask(terminal, prompt, &passphrase, error);
    }
    if (result == 0)
        *ret_passphrase = passphrase;
    passphrase_wipe(&passphrase);
    return result;
}
