/*
 * cli/dev_assets.h - the page of `sluice dev`, compiled in by tools/embed.py.
 */
#ifndef SL_CLI_DEV_ASSETS_H
#define SL_CLI_DEV_ASSETS_H

#include <stddef.h>

extern const unsigned char sl_dev_html[];
extern const size_t sl_dev_html_size;
extern const unsigned char sl_dev_css[];
extern const size_t sl_dev_css_size;
extern const unsigned char sl_dev_js[];
extern const size_t sl_dev_js_size;

#endif
