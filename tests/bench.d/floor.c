// The floor for tests/bench: the bare requests that the kernel needs, with nothing looked up that need not be, nothing
// checked but the answers, nothing undone, nothing logged. No program that does the job can do less.
//
//   floor up TAP BRIDGE        create, owner, one SETLINK (address, MTU, master, up), persist
//   floor held TAP BRIDGE FD   owner, one SETLINK, for a tap that is open at FD, as QEMU's is
//   floor down TAP             one SETLINK (no master, down)
//   floor many2 TAP BRIDGE N   as up2, for TAP0, TAP1 ... in one process
//   floor up2|held2 ...        the same with two SETLINKs, the first of which turns off IPv6 addresses on the tap, and without
//                              a queueing discipline: what it takes to leave what qemu-ifup leaves (a SETLINK does the former
//                              last, when the tap is up already)
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    struct nlmsghdr head;
    struct ifinfomsg link;
    char attributes[256];
} message;

static struct rtattr *put(unsigned short type, const void *data, size_t size)
{
    struct rtattr *attribute = (struct rtattr *)((char *)&message + NLMSG_ALIGN(message.head.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), data, size);
    message.head.nlmsg_len = NLMSG_ALIGN(message.head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static void begin(const char *tap)
{
    memset(&message, 0, sizeof message);
    message.head.nlmsg_len = NLMSG_LENGTH(sizeof message.link);
    message.head.nlmsg_type = RTM_SETLINK;
    message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    put(IFLA_IFNAME, tap, strlen(tap) + 1);
}

static void must(int result)
{
    if (result < 0)
        _exit(1);
}

static void ask(int netlink)
{
    struct { struct nlmsghdr head; struct nlmsgerr error; char rest[512]; } answer;
    must(send(netlink, &message, message.head.nlmsg_len, 0));
    must(recv(netlink, &answer, sizeof answer, 0));
    must(answer.head.nlmsg_type == NLMSG_ERROR ? answer.error.error : -1);
}

// Not acknowledged: only a refusal would be answered.
static void noqueue(int netlink, int index)
{
    struct { struct nlmsghdr head; struct tcmsg tc; struct rtattr kind; char name[8]; } qdisc = {
        {sizeof qdisc, RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, 0, 0},
        {.tcm_ifindex = index, .tcm_parent = TC_H_ROOT}, {RTA_LENGTH(8), TCA_KIND}, "noqueue"};
    must(send(netlink, &qdisc, sizeof qdisc, 0));
}

static void flags(unsigned flags)
{
    message.link.ifi_flags = flags;
    message.link.ifi_change = IFF_UP;
}

static void up(int netlink, int tun, const char *tap, int bridge, int two)
{
    unsigned mtu = 1500;
    int held = tun >= 0;
    struct ifreq request = {0};

    if (!held) {
        must(tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC));
        strncpy(request.ifr_name, tap, IFNAMSIZ - 1);
        request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL | (two ? 0x40 : 0)); // IFF_NO_CARRIER
        must(ioctl(tun, TUNSETIFF, &request));
    }
    must(ioctl(tun, TUNSETOWNER, 0));

    begin(tap);
    put(IFLA_ADDRESS, "\xfe\x54\x00\x12\x34\x56", 6);
    put(IFLA_MTU, &mtu, 4);
    if (two) {
        struct ifreq own = {0};
        strncpy(own.ifr_name, tap, IFNAMSIZ - 1);
        must(ioctl(netlink, SIOCGIFINDEX, &own));
        noqueue(netlink, own.ifr_ifindex);
        struct { struct rtattr inet6, mode; unsigned char value[4]; } spec = {
            {RTA_LENGTH(8), AF_INET6}, {RTA_LENGTH(1), IFLA_INET6_ADDR_GEN_MODE}, {IN6_ADDR_GEN_MODE_NONE}};
        put(IFLA_AF_SPEC | NLA_F_NESTED, &spec, sizeof spec);
        ask(netlink);
        begin(tap);
    }
    flags(IFF_UP);
    put(IFLA_MASTER, &bridge, 4);
    ask(netlink);
    if (!held) {
        must(ioctl(tun, TUNSETPERSIST, 1));
        close(tun);
    }
}

int main(int argc, char **argv)
{
    int netlink;
    unsigned none = 0;
    struct ifreq request = {0};

    if (argc < 3)
        return 2;
    const char *verb = argv[1], *tap = argv[2];
    int held = verb[0] == 'h', many = verb[0] == 'm', two = verb[strlen(verb) - 1] == '2';
    must(netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (verb[0] == 'd') {
        begin(tap);
        flags(0);
        put(IFLA_MASTER, &none, 4);
        ask(netlink);
        return 0;
    }
    if (argc < 4 + held + many)
        return 2;
    strncpy(request.ifr_name, argv[3], IFNAMSIZ - 1);
    must(ioctl(netlink, SIOCGIFINDEX, &request));
    if (!many)
        up(netlink, held ? atoi(argv[4]) : -1, tap, request.ifr_ifindex, two);
    for (int number = 0; many && number < atoi(argv[4]); number++) {
        char name[IFNAMSIZ];
        snprintf(name, sizeof name, "%s%d", tap, number);
        up(netlink, -1, name, request.ifr_ifindex, two);
    }
    return 0;
}
