/*
 * deadline.h - what time alone does to posts: a reminder on the day before, and the end.
 *
 * Each post is a transaction of its own, which looks again behind the post's lock: instances may do
 * it at once, and one that fails holds up no other.
 */
#ifndef EXAMPLES_STUDYPOSTS_DEADLINE_H
#define EXAMPLES_STUDYPOSTS_DEADLINE_H

#include "web.h"

/**
 * Close the OPEN posts whose deadline is over, and from 9 o'clock on remind the authors of those
 * whose deadline is tomorrow, once a deadline. What fails is told on stderr and done next time.
 */
void deadline_run(sluice_database *database);

#endif
