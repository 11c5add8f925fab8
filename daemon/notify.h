/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a service manager how far we are: the protocol of sd_notify(3), without its library. Nothing happens
 * without $NOTIFY_SOCKET. */
#ifndef SH_DAEMON_NOTIFY_H
#define SH_DAEMON_NOTIFY_H

/* Remembers $NOTIFY_SOCKET and removes it from the environment: children have nothing to say there. */
void notify_init(void);
void notify_send(const char *state); /* "READY=1" */

#endif
