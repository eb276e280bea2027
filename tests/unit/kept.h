/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the console is told meanwhile: for tests of reports.
 */
#ifndef SPANDREL_TESTS_KEPT_H
#define SPANDREL_TESTS_KEPT_H

/* From here on the console's text is kept, the first KEPT_MAX bytes of it, and not shown. */
#define KEPT_MAX 1024
void kept_begin(void);

/* Ends that; returns the text, which stands until the next begin. */
const char *kept_end(void);

#endif
