/*
 * base/log.h - one event a line on stderr, in logfmt: a constant message and key=value pairs.
 *
 *     sl_log(SL_LOG_WARN, "upstream does not answer", "upstream=%s error=\"%s\"", url, text);
 *     2026-11-22T13:05:09.123Z warn "upstream does not answer" upstream=http://... error="..."
 *
 * Daemons log; the library does not. Whoever handles an error logs it, once. Control
 * characters are replaced, so that no text from outside can forge a line.
 */
#ifndef SL_BASE_LOG_H
#define SL_BASE_LOG_H

enum sl_log_level { SL_LOG_DEBUG, SL_LOG_INFO, SL_LOG_WARN, SL_LOG_ERROR };

/**
 * Drop lines below `level` from now on; the default is SL_LOG_INFO. At start only.
 */
void sl_log_set_level(enum sl_log_level level);

/**
 * Write one line with a single write(2), so that lines of several threads do not mix. Lines over
 * 2,000 bytes are cut. Line ends and other control characters in the values are shown as '?'.
 */
void sl_log(enum sl_log_level level, const char *message, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
