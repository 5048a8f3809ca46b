// Runs one program for tests/bench and prints: nanoseconds from its start to its end, KB that were resident at most, page
// faults. It is static and small because Linux counts the memory of whoever starts a program as that program's.
//
//   launch [-m] [-u] [-t TAP | -s | -p] PROGRAM ARGUMENTS...
//     -m   stops the program at its end to look at its memory page by page: for so little, the kernel's own figure is too
//          coarse; the time means nothing then
//     -u   as user and group 65534, who have no privilege of their own
//     -t   opens TAP first, which is made if it is not there, and lets the program have it as descriptor 3, like QEMU
//     -s   gives the program a Unix socket as descriptor 3, and takes a descriptor from it afterwards, like QEMU
//     -p   measures until the program prompts with "(qemu)", then sends it "quit"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int real_stderr = 2;

static void fail(const char *what)
{
    dprintf(real_stderr, "launch: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int must(int result, const char *what)
{
    if (result < 0)
        fail(what);
    return result;
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void become_nobody(void)
{
    must(setgroups(0, NULL), "setgroups");
    must(setresgid(65534, 65534, 65534), "setresgid");
    must(setresuid(65534, 65534, 65534), "setresuid");
}

static void open_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    int tun = must(open("/dev/net/tun", O_RDWR), "/dev/net/tun");
    must(ioctl(tun, TUNSETIFF, &request), name);
    if (tun != 3) {
        must(dup2(tun, 3), "dup2");
        close(tun);
    }
}

static void take_descriptor(int from)
{
    char byte, room[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    must(recvmsg(from, &message, MSG_DONTWAIT), "no message from the helper");
    if (CMSG_FIRSTHDR(&message) == NULL)
        fail("no descriptor from the helper");
}

static void wait_for_prompt(int from)
{
    char text[65536];
    size_t have = 0;
    while (have < sizeof text - 1) {
        ssize_t count = read(from, text + have, sizeof text - 1 - have);
        if (count <= 0)
            break;
        text[have += (size_t)count] = 0;
        if (memmem(text, have, "(qemu)", 6) != NULL)
            return;
    }
    fail("no prompt");
}

// Runs the program to its exit(2), and returns the KB that it has resident there.
static long trace(pid_t child)
{
    char path[64], line[128];
    long resident = 0;
    int status;
    must(waitpid(child, &status, 0), "waitpid"); // its execve(2)
    must((int)ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL), "ptrace");
    // It stops with SIGTRAP at each further execve(2); other signals are its own.
    for (int signal = 0;; signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status)) {
        must((int)ptrace(PTRACE_CONT, child, 0, signal), "ptrace");
        must(waitpid(child, &status, 0), "waitpid");
        if (!WIFSTOPPED(status))
            fail("it ended unseen");
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
            break;
    }
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", child);
    FILE *rollup = fopen(path, "r");
    while (rollup != NULL && fgets(line, sizeof line, rollup) != NULL)
        if (sscanf(line, "Rss: %ld", &resident) == 1)
            break;
    if (resident == 0)
        fail(path);
    must((int)ptrace(PTRACE_DETACH, child, 0, 0), "ptrace");
    return resident;
}

int main(int argc, char **argv)
{
    int sockets[2] = {-1, -1}, in[2], out[2], mode = 0, traced = 0, user = 0, option;
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    while ((option = getopt(argc, argv, "+mut:sp")) != -1) {
        if (option == 'm') {
            traced = 1;
            continue;
        }
        if (option == 'u') {
            user = 1;
            continue;
        }
        mode = option;
        if (option == 't') {
            open_tap(optarg);
        } else if (option == 's') {
            must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
            if (sockets[0] == 3)
                sockets[0] = dup(3);
            must(dup2(sockets[1], 3), "dup2");
            fcntl(sockets[0], F_SETFD, FD_CLOEXEC);
            if (sockets[1] != 3)
                close(sockets[1]);
        } else if (option != 'p') {
            return 2;
        }
    }
    if (argv[optind] == NULL)
        return 2;

    int result = fcntl(1, F_DUPFD_CLOEXEC, 10), null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    real_stderr = fcntl(2, F_DUPFD_CLOEXEC, 10);
    dup2(null, 0);
    dup2(null, 1);
    if (getenv("BENCH_VERBOSE") == NULL)
        dup2(null, 2);
    if (mode == 'p') {
        must(pipe2(in, O_CLOEXEC), "pipe");
        must(pipe2(out, O_CLOEXEC), "pipe");
        posix_spawn_file_actions_adddup2(&actions, in[0], 0);
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    }
    // What the kernel still does for the step before (carrier, RCU) is not to be measured, nor how long a virtual machine
    // takes to wake up a processor: wait without sleep, and stay on this one.
    for (long long then = now(); now() - then < 5000000;)
        ;
    if (mode != 'p') {
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(sched_getcpu(), &here);
        must(sched_setaffinity(0, sizeof here, &here), "sched_setaffinity");
    }

    if (user && !traced)
        become_nobody();

    pid_t child;
    int status;
    struct rusage usage;
    long resident = 0;
    long long start = now(), end = 0;
    if (traced) {
        child = must(fork(), "fork");
        if (child == 0) {
            ptrace(PTRACE_TRACEME, 0, 0, 0); // as root: a program that others trace gets no capability
            if (user)
                become_nobody();
            execv(argv[optind], argv + optind);
            _exit(127);
        }
        resident = trace(child);
    } else {
        errno = posix_spawn(&child, argv[optind], &actions, NULL, argv + optind, environ);
        if (errno != 0)
            fail(argv[optind]);
    }
    if (mode == 'p') {
        close(out[1]);
        wait_for_prompt(out[0]);
        end = now();
        must(write(in[1], "quit\n", 5), "quit");
    }
    must(wait4(child, &status, 0, &usage), "wait4");
    if (end == 0)
        end = now();
    if (status != 0) {
        dprintf(real_stderr, "launch: %s: wait status %d\n", argv[optind], status);
        return 1;
    }
    if (mode == 's')
        take_descriptor(sockets[0]);
    dprintf(result, "%lld %ld %ld\n", end - start, resident > usage.ru_maxrss ? resident : usage.ru_maxrss, usage.ru_minflt);
    return 0;
}
