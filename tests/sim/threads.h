/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included in front of every source of the log's core when it is compiled for the simulator: its threads become fibers that the
 * simulator switches, and what it asks of the system beside disk.h and clock.h goes to the simulated one. The sources stay as they are.
 */
#ifndef SH_SIM_THREADS_H
#define SH_SIM_THREADS_H

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include "libsh/base/uuid.h"

int sim_thread_create(pthread_t *t, void *(*run)(void *), void *arg);
void sim_thread_join(pthread_t t);
void sim_mutex_lock(pthread_mutex_t *m);
void sim_mutex_unlock(pthread_mutex_t *m);
int sim_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until);
void sim_cond_signal(pthread_cond_t *c);
int sim_nanosleep(const struct timespec *pause);
off_t sim_lseek(int fd, off_t offset, int whence);
struct uuid sim_uuid(void);

#define pthread_create(t, attr, run, arg) sim_thread_create(t, run, arg)
#define pthread_join(t, result) sim_thread_join(t)
#define pthread_mutex_init(m, attr) ((void)(*(int *)(m) = 0))
#define pthread_mutex_destroy(m) ((void)(m))
#define pthread_mutex_lock(m) sim_mutex_lock(m)
#define pthread_mutex_unlock(m) sim_mutex_unlock(m)
#define pthread_cond_init(c, attr) ((void)(c))
#define pthread_cond_destroy(c) ((void)(c))
#define pthread_cond_wait(c, m) sim_cond_wait(c, m, NULL)
#define pthread_cond_timedwait(c, m, until) sim_cond_wait(c, m, until)
#define pthread_cond_signal(c) sim_cond_signal(c)
#define pthread_cond_broadcast(c) sim_cond_signal(c)
#define nanosleep(pause, left) sim_nanosleep(pause)
#define lseek(fd, offset, whence) sim_lseek(fd, offset, whence)
#define sync_file_range(fd, offset, bytes, flags) ((void)(fd))
#define uuid_random() sim_uuid()

#endif
