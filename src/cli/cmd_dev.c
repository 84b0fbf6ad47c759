#include "cli/commands.h"
static int run(const struct sl_arguments *arguments)
{
    (void) arguments;
    return 1;
}
const struct sl_command sl_command_dev = {.name = "dev", .summary = "x", .usage = "", .text = "", .run = run};
