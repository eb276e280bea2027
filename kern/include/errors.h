/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Error numbers, with the values that Linux gives them; functions return them negated.
 *
 *	if (arena_destroy(ids) == -EBUSY)
 *		...
 *
 * A name that another header, such as <errno.h>, has defined before keeps its number there.
 */
#ifndef SPANDREL_ERRORS_H
#define SPANDREL_ERRORS_H

#ifndef EINTR
#define EINTR 4
#endif
#ifndef EIO
#define EIO 5
#endif
#ifndef ENOMEM
#define ENOMEM 12
#endif
#ifndef EBUSY
#define EBUSY 16
#endif
#ifndef EEXIST
#define EEXIST 17
#endif
#ifndef EINVAL
#define EINVAL 22
#endif
#ifndef EDOM
#define EDOM 33
#endif
#ifndef ERANGE
#define ERANGE 34
#endif

#endif
