/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <fcntl.h>
#include <unistd.h>

/* Closed standard descriptors would be given to the next file opened, and what is meant for stderr written
 * there. */
static bool open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
    return open_standard_descriptors() ? command_main(&busbar_commands, argc, argv) : STATUS_FAULT;
}
