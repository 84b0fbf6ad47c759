/*
 * sluice/version.h - which libsluice this is.
 */
#ifndef SLUICE_VERSION_H
#define SLUICE_VERSION_H

#include <sluice/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The version of the library that is linked, as "MAJOR.MINOR.PATCH".
 *
 * Never fails and never blocks. The text is constant and belongs to the library.
 */
SLUICE_EXPORT const char *sluice_version(void);

#ifdef __cplusplus
}
#endif

#endif
