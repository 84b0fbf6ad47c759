#include "cli/endpoint.h"

#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/url.h"
#include "cli/option.h"

int sl_open_existing_broker(
    const char *url, struct sl_broker **ret_broker, struct sluice_error *error)
{
    struct sl_text file;
    if (sl_url_parse_file(sl_text_of(url), "local", &file) && access(file.data, F_OK) != 0) {
        return sl_fail(error, SLUICE_NOT_FOUND, SLUICE_REJECT,
            "there is no local log '%s'; a relay makes it when it first runs. Is --broker right?",
            file.data);
    }
    return sl_broker_open(url, ret_broker, error);
}

char *sl_shown_url(const char *url)
{
    struct sl_buffer shown;
    sl_buffer_init(&shown, SL_OPTION_VALUE_SIZE_MAX * 2);
    sl_option_write_masked(sl_option_of(SL_OPTION_DATABASE), sl_text_of(url), &shown);
    char *copy = shown.is_failed ? NULL : sl_copy_bytes(shown.data, shown.size);
    sl_buffer_deinit(&shown);
    return copy;
}
