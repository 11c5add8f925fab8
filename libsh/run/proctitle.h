/* SPDX-License-Identifier: Apache-2.0 */
/* What ps(1) shows for this process, written over its arguments and environment (which is moved away first). */
#ifndef SH_RUN_PROCTITLE_H
#define SH_RUN_PROCTITLE_H

/* Early in main(); argv's strings must not be used afterwards once a title was set. */
void proctitle_init(int argc, char **argv);
void proctitle_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
