/*
 * cli/commands.h - every subcommand, each defined in the cmd_*.c of its name.
 */
#ifndef SL_CLI_COMMANDS_H
#define SL_CLI_COMMANDS_H

#include "cli/command.h"

extern const struct sl_command sl_command_dev;
extern const struct sl_command sl_command_init;
extern const struct sl_command sl_command_run;
extern const struct sl_command sl_command_relay;
extern const struct sl_command sl_command_gateway;
extern const struct sl_command sl_command_status;
extern const struct sl_command sl_command_doctor;
extern const struct sl_command sl_command_tail;
extern const struct sl_command sl_command_lag;
extern const struct sl_command sl_command_explain;
extern const struct sl_command sl_command_pause;
extern const struct sl_command sl_command_resume;
extern const struct sl_command sl_command_verify;
extern const struct sl_command sl_command_dead_letter_list;
extern const struct sl_command sl_command_dead_letter_show;
extern const struct sl_command sl_command_dead_letter_redrive;
extern const struct sl_command sl_command_dead_letter_drop;
extern const struct sl_command sl_command_config_lint;
extern const struct sl_command sl_command_config_show;

#endif
