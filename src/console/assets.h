/*
 * console/assets.h - the page, compiled in by tools/embed.py.
 */
#ifndef SL_CONSOLE_ASSETS_H
#define SL_CONSOLE_ASSETS_H

#include <stddef.h>

extern const unsigned char sl_console_html[];
extern const size_t sl_console_html_size;
extern const unsigned char sl_console_css[];
extern const size_t sl_console_css_size;
extern const unsigned char sl_console_js[];
extern const size_t sl_console_js_size;

#endif
