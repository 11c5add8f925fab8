/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meta and store processes inside a test's own process, behind the calls of daemon/role.h: real metadata (SQLite), a real
 * directory store, real segments; only channels and processes are left out. Answers come in a later turn of the loop, as from a peer.
 */
#ifndef SH_TESTS_FAKE_PEERS_H
#define SH_TESTS_FAKE_PEERS_H

#include "daemon/role.h"

/* self with default settings, a loop and data_dir; aborts on errors. */
struct role_self *fake_self(const char *data_dir);
void fake_free(struct role_self *self);
/* Calls to this peer fail with ERR_UNAVAILABLE while it is down. */
void fake_down(struct role_self *self, enum role peer, bool down);
/* The next call of this type (in order of the calls to this function) ends in this error; with act it is carried out all the same. */
void fake_fault(struct role_self *self, int type, enum err_code code, bool act);
/* The next so many commits get this verdict (enum meta_verdict) on all their runs, and nothing is written. */
void fake_verdict(struct role_self *self, int verdict, int times);
/* A round of retention at meta; the agent is not told. */
void fake_expire(struct role_self *self);
/* Run the loop until *flag, at most ms; false when the time was up. */
bool fake_run_until(struct role_self *self, const bool *flag, int64_t ms);

#endif
