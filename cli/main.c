#include <signal.h>

#include "cli/cli.h"

int main(int count, char **words)
{
    /* A reader that went away shows as a failed write. */
    signal(SIGPIPE, SIG_IGN);
    return cli_run(count, words);
}
