/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT and SIGTERM as a descriptor that can be waited on, so none comes at a bad moment. A second one ends
 * the program as usual. */
#ifndef SH_CMD_INTERRUPT_H
#define SH_CMD_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

void interrupt_catch(void); /* before any thread is started */
bool interrupt_requested(void);
int interrupt_fd(void);     /* readable once there was one */
/* Wait until fd (-1: none) is readable: 1; 0 after timeout_ms (-1: no limit); -1 when interrupted. */
int interrupt_poll(int fd, int64_t timeout_ms);
/* In a child before exec: signals as they were before interrupt_catch(). */
void interrupt_release(void);

#endif
