// Starts many QEMUs at once for tests/bench and prints, a line for each, the nanoseconds from the start of the first to
// its greeting on QMP, which comes after the script or the helper. Then it kills them.
//
//   herd COUNT PROGRAM ARGUMENTS...   (with -qmp stdio)
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 0, in[2];
    if (count < 1)
        return 2;
    struct pollfd *from = calloc((size_t)count, sizeof *from);
    pid_t *children = calloc((size_t)count, sizeof *children);
    must(from != NULL && children != NULL, "calloc");
    // None of them reads anything, or the end of a file.
    must(pipe2(in, O_CLOEXEC) == 0, "pipe");

    long long start = now();
    for (int i = 0; i < count; i++) {
        posix_spawn_file_actions_t actions;
        int out[2];
        must(pipe2(out, O_CLOEXEC) == 0, "pipe");
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, in[0], 0);
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
        must(posix_spawn(&children[i], argv[2], &actions, NULL, argv + 2, environ) == 0, argv[2]);
        posix_spawn_file_actions_destroy(&actions);
        close(out[1]);
        from[i] = (struct pollfd){.fd = out[0], .events = POLLIN};
    }
    int failed = 0;
    for (int left = count; left > 0;) {
        must(poll(from, (nfds_t)count, -1) > 0, "poll");
        for (int i = 0; i < count; i++) {
            char text[4096];
            if (from[i].revents == 0)
                continue;
            ssize_t size = read(from[i].fd, text, sizeof text);
            if (size > 0 && memmem(text, (size_t)size, "{\"QMP\"", 6) == NULL)
                continue; // a script has said something
            if (size > 0)
                printf("%lld\n", now() - start);
            else
                failed = 1;
            from[i].fd = -1 - from[i].fd; // poll(2) leaves it out
            left--;
        }
    }
    for (int i = 0; i < count; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(children[i], NULL, 0);
    return failed;
}
