#include "cli/commands.h"

/* In the order of the help text: what one needs first comes first. */
const struct sl_command *const sl_commands[] = {
    &sl_command_dev,
    &sl_command_init,
    &sl_command_run,
    &sl_command_relay,
    &sl_command_gateway,
    &sl_command_doctor,
    &sl_command_status,
    &sl_command_tail,
    &sl_command_lag,
    &sl_command_explain,
    &sl_command_verify,
    &sl_command_dead_letter_list,
    &sl_command_dead_letter_show,
    &sl_command_dead_letter_redrive,
    &sl_command_dead_letter_drop,
    &sl_command_pause,
    &sl_command_resume,
    &sl_command_config_lint,
    &sl_command_config_show,
};

const size_t sl_command_count = sizeof(sl_commands) / sizeof(sl_commands[0]);
