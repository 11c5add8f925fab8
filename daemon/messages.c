/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/messages.h"

enum { ROLE_ANY = -1 };

const char *role_name(enum role r)
{
	static const char *const names[ROLE_COUNT] = {"supervisor", "agent", "store", "meta", "janitor"};

	return (unsigned)r < ROLE_COUNT ? names[r] : "unknown";
}

#define B(name, FIELDS) PACK_TABLE(msg_##name, FIELDS)
MESSAGE_BODIES(B)
#undef B

const struct message_info message_table[MESSAGE_COUNT] = {
	{"NONE", ROLE_ANY, ROLE_ANY, false, NULL, NULL},
#define M(name, from, to, body, reply, again) \
	{#name, ROLE_##from, ROLE_##to, again, msg_##body##_fields, msg_##reply##_fields},
	MESSAGE_LIST(M)
#undef M
};

bool message_allowed(int type, enum role from, enum role to)
{
	const struct message_info *m;

	if (type <= MESSAGE_NONE || type >= MESSAGE_COUNT || to == ROLE_SUPERVISOR)
		return false;
	m = &message_table[type];
	return m->from == (int)from && (m->to == ROLE_ANY || m->to == (int)to);
}
