#include "cli/config.h"

#include "base/memory.h"
#include "unit/cli/config_support.h"

#define URLS                                                                                       \
    "sqlite:FILE, postgresql://HOST/DATABASE, mariadb://HOST/DATABASE, or a list of them"
#define ADDRESSES "an address (127.0.0.1:8080, [::1]:8080, :8080) or a list of them"

START_TEST(a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default)
{
    static const char yaml[] = "relay:\n  attempts_max: 5\n  retry_delay: 1s\n  batch_events: 7\n";
    char *environment[] = {"SLUICE_RELAY_ATTEMPTS_MAX=6", "SLUICE_RELAY_RETRY_DELAY=2s", NULL};
    struct sl_config_flag flag = {SL_OPTION_RELAY_ATTEMPTS_MAX, "7"};
    struct sl_config_sources sources = {"app.yaml", environment, &flag, 1};
    write_config(yaml, sizeof(yaml) - 1);
    struct sl_config config = load_config(&sources);
    ck_assert_int_eq(sl_config_number(&config, SL_OPTION_RELAY_ATTEMPTS_MAX), 7);
    ck_assert_int_eq(sl_config_number(&config, SL_OPTION_RELAY_RETRY_DELAY), 2000);
    ck_assert_int_eq(sl_config_number(&config, SL_OPTION_RELAY_BATCH_EVENTS), 7);
    ck_assert_int_eq(sl_config_number(&config, SL_OPTION_RELAY_RETENTION), 7 * 86400000LL);
    struct sl_buffer places;
    sl_buffer_init(&places, 1000);
    for (int i = SL_OPTION_RELAY_ATTEMPTS_MAX; i <= SL_OPTION_RELAY_RETENTION; i++) {
        sl_config_write_place(&config, (enum sl_option_id) i, &places);
        sl_buffer_append_text(&places, "\n");
    }
    ck_assert_str_eq(places.data,
        "--relay.attempts_max\nSLUICE_RELAY_RETRY_DELAY\ndefault\napp.yaml line 4\ndefault\n"
        "default\n");
    sl_buffer_deinit(&places);
    sl_config_deinit(&config);
    remove_config();
}
END_TEST

START_TEST(a_list_replaces_the_list_of_a_weaker_source_as_a_whole)
{
    static const char yaml[] = "database:\n- sqlite:a.db\n- sqlite:b,c.db\ngateway:\n"
                               "  listen: ['127.0.0.1:1', '[::1]:2']\n";
    char *environment[] = {"SLUICE_GATEWAY_LISTEN=:3, :4", NULL};
    struct sl_config_flag flags[] = {
        {SL_OPTION_CONSOLE_LISTEN, "off"}, {SL_OPTION_BROKER, "local:l.db"}};
    struct sl_config_sources sources = {"app.yaml", environment, flags, 2};
    write_config(yaml, sizeof(yaml) - 1);
    struct sl_config config = load_config(&sources);
    ck_assert_uint_eq(config.values[SL_OPTION_DATABASE].item_count, 2);
    ck_assert_str_eq(config.values[SL_OPTION_DATABASE].items[1], "sqlite:b,c.db");
    ck_assert_uint_eq(config.values[SL_OPTION_GATEWAY_LISTEN].item_count, 2);
    ck_assert_str_eq(config.values[SL_OPTION_GATEWAY_LISTEN].items[1], ":4");
    ck_assert_str_eq(sl_config_text(&config, SL_OPTION_CONSOLE_LISTEN), "off");
    sl_config_deinit(&config);
    remove_config();
}
END_TEST

START_TEST(urls_in_one_text_are_parted_only_where_another_url_begins)
{
    struct sl_config_flag flags[] = {{SL_OPTION_DATABASE, "sqlite:a,b.db, sqlite:c.db"},
        {SL_OPTION_DATABASE, "sqlite:d.db"}};
    struct sl_config_sources sources = {NULL, NULL, flags, 2};
    struct sl_config config = load_config(&sources);
    const struct sl_config_value *value = &config.values[SL_OPTION_DATABASE];
    ck_assert_uint_eq(value->item_count, 3);
    ck_assert_str_eq(value->items[0], "sqlite:a,b.db");
    ck_assert_str_eq(value->items[2], "sqlite:d.db");
    sl_config_deinit(&config);
}
END_TEST

START_TEST(a_secret_may_come_from_a_file)
{
    static const char secret[] = "sqlite:from-file.db\r\nnot this\n";
    char *environment[] = {"SLUICE_DATABASE_FILE=app.yaml", NULL};
    struct sl_config_sources sources = {NULL, environment, NULL, 0};
    write_config(secret, sizeof(secret) - 1);
    struct sl_config config = load_config(&sources);
    ck_assert_str_eq(sl_config_text(&config, SL_OPTION_DATABASE), "sqlite:from-file.db");
    sl_config_deinit(&config);
    char *both[] = {"SLUICE_DATABASE_FILE=app.yaml", "SLUICE_DATABASE=sqlite:x", NULL};
    char *missing[] = {"SLUICE_BROKER_FILE=nothing", NULL};
    struct sl_problems problems;
    sl_problems_init(&problems);
    sources.environment = both;
    ck_assert_int_eq(sl_config_load(&sources, &config, &problems), -1);
    sources.environment = missing;
    ck_assert_int_eq(sl_config_load(&sources, &config, &problems), -1);
    ck_assert_str_eq(problems.text.data,
        "both SLUICE_DATABASE and SLUICE_DATABASE_FILE are set; keep one of them\n"
        "'broker' in SLUICE_BROKER_FILE: cannot read 'nothing': No such file or directory; it must "
        "be a file whose first line is the value\n");
    sl_problems_deinit(&problems);
    remove_config();
}
END_TEST

START_TEST(empty_files_and_empty_sections_are_fine)
{
    static const char yaml[] = "# nothing\nrelay:\n  # attempts_max: 4\ngateway:\n  routes:\n";
    struct sl_config_sources sources = {.file = "app.yaml"};
    write_config(yaml, sizeof(yaml) - 1);
    struct sl_config config = load_config(&sources);
    ck_assert_uint_eq(config.routes.count, 0);
    sl_config_deinit(&config);
    remove_config();
    write_config("", 0);
    config = load_config(&sources);
    ck_assert_ptr_null(sl_config_text(&config, SL_OPTION_DATABASE));
    sl_config_deinit(&config);
    remove_config();
}
END_TEST

START_TEST(an_unknown_key_is_told_with_its_line_and_the_nearest_match)
{
    expect_problems("database: sqlite:a.db\ngateway:\n  lisen: :80\nattempts_max: 3\nrelais:\n"
                    "  a: 1\nwhatever: 1\nroutes: []\n",
        "unknown key 'gateway.lisen' in app.yaml line 3; did you mean 'gateway.listen'?\n"
        "unknown key 'attempts_max' in app.yaml line 4; did you mean 'relay.attempts_max'?\n"
        "unknown key 'relais' in app.yaml line 5; did you mean 'relay'?\n"
        "unknown key 'whatever' in app.yaml line 7; `sluice help config` lists the keys\n"
        "unknown key 'routes' in app.yaml line 8; did you mean 'gateway.routes'?\n");
}
END_TEST

START_TEST(a_wrong_value_is_told_with_what_is_allowed)
{
    expect_problems("relay:\n  attempts_max: many\n  retry_delay: 5\n  retention: 9999d\n"
                    "  on_poison: stop\n  read: wal\nlocal:\n  size_max: 3MB\n",
        "'relay.attempts_max' in app.yaml line 2: 'many' is no whole number; allowed: a whole "
        "number from 1 to 1000\n"
        "'relay.retry_delay' in app.yaml line 3: '5' is no duration; allowed: a duration (250ms, "
        "30s, 5m, 12h, 7d) from 1ms to 1h\n"
        "'relay.retention' in app.yaml line 4: '9999d' is too large; allowed: a duration (250ms, "
        "30s, 5m, 12h, 7d) from 0ms to 3650d\n"
        "'relay.on_poison' in app.yaml line 5: 'stop' is not known; allowed: one of park, skip, "
        "halt\n"
        "'relay.read' in app.yaml line 6: 'wal' is not in this version yet; allowed: table\n"
        "'local.size_max' in app.yaml line 8: '3MB' is no size; allowed: a size (512, 64KiB, "
        "10MiB, 2GiB) from 0 to 1048576GiB\n");
}
END_TEST

START_TEST(urls_and_addresses_are_checked)
{
    expect_problems("database: [oracle://u:secret@h/app, mysql:x, 'sqlite:', app.db]\n"
                    "broker: redis://h:1\ngateway:\n  listen: [8080, '']\nconsole:\n  listen: on\n",
        "'database' in app.yaml line 1: 'oracle://u:****@h/app' is no URL that sluice knows; "
        "allowed: " URLS "\n"
        "'database' in app.yaml line 1: 'mysql:x' names no host; allowed: " URLS "\n"
        "'database' in app.yaml line 1: 'sqlite:' names no file; allowed: " URLS "\n"
        "'database' in app.yaml line 1: 'app.db' is no URL that sluice knows; allowed: " URLS "\n"
        "'broker' in app.yaml line 2: 'redis://h:1' is no URL that sluice knows; allowed: "
        "local:FILE, kafka://HOST:PORT[,...]\n"
        "'gateway.listen' in app.yaml line 4: '8080' is no address with a port; allowed: " ADDRESSES
        "\n"
        "'gateway.listen' in app.yaml line 4: '' is empty; allowed: " ADDRESSES "\n"
        "'console.listen' in app.yaml line 6: 'on' is no address with a port; allowed: an address "
        "(127.0.0.1:8080, [::1]:8080, :8080) or off\n");
}
END_TEST

START_TEST(a_wrong_kind_of_value_is_told)
{
    expect_problems("relay: 5\nbroker: [local:a, local:b]\ndatabase: {a: b}\nconsole:\n  listen:\n"
                    "gateway:\n  listen: []\n  routes: 7\n",
        "'relay' in app.yaml line 1 is a single value; it takes keys of its own below it, "
        "indented\n"
        "'broker' in app.yaml line 2: it is a list; allowed: local:FILE, kafka://HOST:PORT[,...]\n"
        "'database' in app.yaml line 3: it is a mapping; allowed: " URLS "\n"
        "'console.listen' in app.yaml line 5: it has no value; allowed: an address "
        "(127.0.0.1:8080, [::1]:8080, :8080) or off\n"
        "'gateway.listen' in app.yaml line 7: the list is empty; name at least one, or remove the "
        "key for its default\n"
        "'gateway.routes' in app.yaml line 8 is a single value; it takes a list of routes (lines "
        "that begin with '- path:')\n");
    expect_problems("- a\n- b\n", "app.yaml line 1: the file is a list; a config is a mapping of "
                                  "keys, as in 'database: sqlite:app.db'\n");
}
END_TEST

START_TEST(a_key_that_stands_twice_is_refused)
{
    expect_problems(
        "broker: local:a\nrelay:\n  attempts_max: 3\n  attempts_max: 3\nbroker: local:b\n",
        "app.yaml line 5: key 'broker' is there twice, first in line 1; remove one of them\n"
        "app.yaml line 4: key 'attempts_max' is there twice, first in line 3; remove one of "
        "them\n");
}
END_TEST

START_TEST(aliases_are_refused_however_they_nest)
{
    expect_problems("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "app.yaml: the list or mapping that begins in line 3 uses an alias (*name); aliases are "
        "not allowed in a config: write the value out\n");
    expect_problems("a: &a\n  b: *a\n",
        "app.yaml: the list or mapping that begins in line 1 uses an alias (*name); aliases are "
        "not allowed in a config: write the value out\n");
    expect_problems("&r\na: *r\n",
        "app.yaml: the list or mapping that begins in line 1 uses an alias (*name); aliases are "
        "not allowed in a config: write the value out\n");
}
END_TEST

START_TEST(what_is_no_yaml_is_told_with_line_and_column)
{
    expect_problems("relay:\n\tattempts_max: 3\n",
        "app.yaml line 2 column 1: not valid YAML: found character that cannot start any token "
        "while scanning for the next token; indent with spaces, not with tabs\n");
    expect_problems("a: [1, 2\nb: 3\n",
        "app.yaml line 2 column 2: not valid YAML: did not find expected ',' or ']' while parsing "
        "a flow sequence\n");
    expect_problems("broker: local:a\n---\nbroker: local:b\n",
        "app.yaml line 2: a second document begins here; a config is one document: remove the "
        "'---'\n");
    expect_problems("broker: \xff\xfe\n",
        "config file 'app.yaml' is no text in UTF-8 (byte 8: invalid leading UTF-8 octet); save it "
        "as UTF-8\n");
}
END_TEST

START_TEST(missing_files_directories_and_huge_files_are_told)
{
    struct sl_config config;
    struct sl_problems problems;
    struct sl_config_sources sources = {.file = "/tmp/no/such.yaml"};
    sl_problems_init(&problems);
    ck_assert_int_eq(sl_config_load(&sources, &config, &problems), -1);
    sources.file = "/tmp";
    ck_assert_int_eq(sl_config_load(&sources, &config, &problems), -1);
    ck_assert_str_eq(problems.text.data,
        "there is no config file '/tmp/no/such.yaml'; create it, or name another one with --config "
        "FILE\n"
        "config file '/tmp' is a directory; name the YAML file in it\n");
    sl_problems_deinit(&problems);
    size_t size = (1 << 20) + 1;
    char *huge = sl_allocate(size);
    memset(huge, '\n', size);
    expect_problems_of(
        huge, size, "config file 'app.yaml' is larger than 1 MiB; is it the right file?\n");
    sl_free(huge);
}
END_TEST

START_TEST(at_most_fifty_problems_are_told)
{
    struct sl_problems problems;
    sl_problems_init(&problems);
    for (int i = 0; i < 60; i++) {
        sl_problems_add(&problems, "problem\n%d", i);
    }
    ck_assert_uint_eq(problems.count, 60);
    ck_assert_ptr_null(strstr(problems.text.data, "problem?50"));
    ck_assert_ptr_nonnull(strstr(problems.text.data, "problem?49\nand more; mend these first\n"));
    sl_problems_deinit(&problems);
}
END_TEST

START_TEST(delays_that_contradict_each_other_are_told)
{
    expect_problems("relay: {retry_delay: 1m, retry_delay_max: 1s}\n",
        "'relay.retry_delay' (1m) is longer than 'relay.retry_delay_max' (1s); make the second one "
        "at least as long\n");
}
END_TEST

START_TEST(flags_and_variables_are_named_when_they_are_wrong)
{
    struct sl_config config;
    struct sl_problems problems;
    char *environment[] = {"SLUICE_LOG_LEVEL=loud", NULL};
    struct sl_config_flag flags[] = {
        {SL_OPTION_BROKER, "local:a"}, {SL_OPTION_BROKER, "local:b"}};
    struct sl_config_sources sources = {NULL, environment, flags, 2};
    sl_problems_init(&problems);
    ck_assert_int_eq(sl_config_load(&sources, &config, &problems), -1);
    ck_assert_str_eq(problems.text.data,
        "'log.level' in SLUICE_LOG_LEVEL: 'loud' is not known; allowed: one of debug, info, warn, "
        "error\n'broker' in --broker: it is there twice; give it once\n");
    sl_problems_deinit(&problems);
}
END_TEST

START_TEST(only_variables_that_are_a_slip_away_are_warned_of)
{
    struct sl_problems warnings;
    char *environment[] = {"SLUICE_RELAY_ATTEMPT_MAX=3", "SLUICE_GATEWAY_PORT=tcp://10.0.0.1:80",
        "SLUICE_BROKER=local:a", "SLUICE_BROKER_FILE=a", "SLUICE_BUILD=build", "PATH=/bin", NULL};
    sl_problems_init(&warnings);
    sl_config_check_environment(environment, &warnings);
    ck_assert_str_eq(warnings.text.data, "the variable SLUICE_RELAY_ATTEMPT_MAX has no effect; "
                                         "did you mean SLUICE_RELAY_ATTEMPTS_MAX?\n");
    sl_problems_deinit(&warnings);
}
END_TEST

UNIT_MAIN("config", only_variables_that_are_a_slip_away_are_warned_of,
    a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default,
    a_list_replaces_the_list_of_a_weaker_source_as_a_whole,
    urls_in_one_text_are_parted_only_where_another_url_begins, a_secret_may_come_from_a_file,
    empty_files_and_empty_sections_are_fine,
    an_unknown_key_is_told_with_its_line_and_the_nearest_match,
    a_wrong_value_is_told_with_what_is_allowed, urls_and_addresses_are_checked,
    a_wrong_kind_of_value_is_told, a_key_that_stands_twice_is_refused,
    aliases_are_refused_however_they_nest, what_is_no_yaml_is_told_with_line_and_column,
    missing_files_directories_and_huge_files_are_told, at_most_fifty_problems_are_told,
    delays_that_contradict_each_other_are_told, flags_and_variables_are_named_when_they_are_wrong)
