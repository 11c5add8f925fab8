/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what is sent to a notify socket (sd_notify(3)) until it has seen a line: notify-sink PATH LAST-LINE */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char text[4096];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	if (argc != 3 || fd < 0 || strlen(argv[1]) >= sizeof(a.sun_path))
		return 2;
	strcpy(a.sun_path, argv[1]);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return 1;
	alarm(120);
	while ((n = read(fd, text, sizeof(text) - 1)) > 0) {
		text[n] = '\0';
		puts(text);
		fflush(stdout);
		if (strstr(text, argv[2]))
			return 0;
	}
	return 1;
}
