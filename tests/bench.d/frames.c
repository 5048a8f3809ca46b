// Sends frames from one tap to another of the same bridge for tests/bench, as two guests would, and prints the nanoseconds
// of CPU that each took: write(2), bridge, queueing discipline, read(2).
//
//   frames FROM TO QUEUES BYTES COUNT
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16, BURST = 64 }; // a burst fits into the taps' rings, and is over before the kernel puts any of it off

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void open_tap(const char *name, int queues, int *fds)
{
    for (int i = 0; i < queues; i++) {
        struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (queues > 1 ? IFF_MULTI_QUEUE : 0))};
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        if ((fds[i] = open("/dev/net/tun", O_RDWR | O_NONBLOCK)) < 0 || ioctl(fds[i], TUNSETIFF, &request) < 0)
            fail(name);
    }
}

static int receive(const int *fds, int queues)
{
    char frame[2048];
    int received = 0;
    for (int i = 0; i < queues; i++)
        while (read(fds[i], frame, sizeof frame) > 0)
            received += frame[12] == 0x08 && frame[13] == 0x00 && frame[23] == 17; // ours: IPv4 and UDP
    return received;
}

static long long cpu(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
    int from[MOST], to[MOST];
    if (argc != 6)
        return 2;
    int queues = atoi(argv[3]), bytes = atoi(argv[4]), count = atoi(argv[5]) / BURST * BURST;
    if (queues < 1 || queues > MOST || bytes < 60 || bytes > 1514 || count < BURST)
        return 2;
    open_tap(argv[1], queues, from);
    open_tap(argv[2], queues, to);

    unsigned char there[1514] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45}, back[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6};
    there[16] = (unsigned char)((bytes - 14) >> 8);
    there[17] = (unsigned char)(bytes - 14);
    there[22] = 64;
    there[23] = 17;
    memcpy(there + 26, "\xc6\x33\x64\x01\xc6\x33\x64\x02", 8);
    unsigned sum = 0; // without a good one, br_netfilter drops it
    for (int i = 14; i < 34; i += 2)
        sum += (unsigned)there[i] << 8 | there[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    there[24] = (unsigned char)(sum >> 8);
    there[25] = (unsigned char)sum;
    // Both are ports of the bridge for a second or less before it notices their carriers; then it knows where to send what.
    for (int tries = 0; receive(to, queues) == 0; tries++) {
        if (tries == 3000 || write(to[0], back, sizeof back) != sizeof back || write(from[0], there, (size_t)bytes) != bytes)
            fail("no frame arrives");
        usleep(1000);
    }
    usleep(10000);
    receive(to, queues);

    int received = 0;
    long long start = cpu();
    for (int sent = 0; sent < count;) {
        for (int i = 0; i < BURST; i++, sent++) {
            there[35] = (unsigned char)i; // a UDP port, so that all queues have their share
            if (write(from[i % queues], there, (size_t)bytes) != bytes)
                fail("write");
        }
        received += receive(to, queues);
    }
    long long end = cpu();
    usleep(1000);
    received += receive(to, queues);
    if (received != count) {
        fprintf(stderr, "frames: %d of %d arrived\n", received, count);
        return 1;
    }
    printf("%.1f\n", (double)(end - start) / count);
    return 0;
}
