/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Error numbers, with the values Linux gives them; functions return them negated.
 */
#ifndef SPANDREL_LIB_ERRNO_H
#define SPANDREL_LIB_ERRNO_H

#define ENOMEM 12
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define EDOM 33
#define ERANGE 34

#endif
