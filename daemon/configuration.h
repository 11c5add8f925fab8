/* SPDX-License-Identifier: Apache-2.0 */
/* Where this shd's settings come from; kept, so that SIGHUP can read them again. */
#ifndef SH_DAEMON_CONFIGURATION_H
#define SH_DAEMON_CONFIGURATION_H

#include "libsh/run/settings.h"

struct configuration {
	const char *file;             /* NULL: the user's or the system's, if there is one */
	const char *profile;          /* NULL: none */
	const char *data_dir;         /* of -D, or NULL */
	const char *const *assignments; /* of -O: name=value */
	int assignment_count;
};
/* Reads and checks everything; NULL on error. data.dir is filled in. */
struct settings *configuration_load(const struct configuration *c, struct err *e);

#endif
