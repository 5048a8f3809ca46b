//! QEMU's bridge helper.

use crate::common::fds::received;
use crate::unprivileged::{
    AT_FIVE, assert_done, assert_gone, assert_says, both_ways, help, tap_behind,
};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::{fs, thread};

#[test]
fn a_helper_hands_over_a_tap_that_lives_as_long_as_its_descriptor() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        // With the socket at each of the standard descriptors, too.
        for (redirection, number) in [
            (AT_FIVE, "--fd=5"),
            ("", "--fd=0"),
            ("1<&0 </dev/null", "--fd=1"),
            ("2<&0 </dev/null", "--fd=2"),
            // The lowest free one is what the program's own socket would get.
            ("3<&0 </dev/null", "--fd=3"),
        ] {
            for vnet_hdr in [true, false] {
                let mut args = vec![number, "--br=br0"];
                args.extend(vnet_hdr.then_some("--use-vnet"));
                let (ours, theirs) = UnixStream::pair().unwrap();
                assert_done(&help(host, OwnedFd::from(theirs), redirection, &args));
                let [tap] = received(&ours).try_into().unwrap();
                let name = tap_behind(&tap);
                assert!(name.starts_with("tap"), "{name}");
                host.assert_up(&name, "br0");
                let link = host.sandbox.link(&name).unwrap();
                let data = &link["linkinfo"]["info_data"];
                let seen = ["pi", "vnet_hdr", "persist", "multi_queue"].map(|key| &data[key]);
                assert_eq!(seen, [false, vnet_hdr, false, false], "{link:#}");
                assert_eq!(link["inet6_addr_gen_mode"], "none");
                drop(tap);
                assert_gone(host, &[name]);
                host.sandbox.assert_unchanged(&before);
            }
        }
    });
}

#[test]
fn a_helper_that_cannot_hand_over_says_why_and_leaves_no_tap() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let check = |socket: OwnedFd, redirection: &str, args: &[&str], code, reason| {
            let failed = help(host, socket, redirection, args);
            assert_says(&failed, code, reason, &format!("{redirection} {args:?}"));
            host.sandbox.assert_unchanged(&before);
        };
        let file = |path| OwnedFd::from(fs::File::open(path).unwrap());
        let null = || file("/dev/null");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().into();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let listener = UnixListener::bind(host.sandbox.dir().join("listener"));
        let listener = listener.unwrap().into();
        let (ours, deserted) = UnixStream::pair().unwrap();
        // To close it is not enough: a child that another test has just forked may have a copy.
        ours.shutdown(Shutdown::Both).unwrap();
        let (_full, mut full) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        #[rustfmt::skip]
        let cases: [(OwnedFd, &str, &str, i32, &str); 11] = [
            (null(), "", "--fd=9", 2, "Bad file descriptor"),
            (null(), "3<&-", "--fd=3", 2, "Bad file descriptor"),
            (null(), "", "--fd=2147483647", 2, "Bad file descriptor"),
            // We open /dev/null where one of the three is closed.
            (null(), "<&-", "--fd=0", 2, "non-socket"),
            (null(), ">&-", "--fd=1", 2, "non-socket"),
            (file("/etc/passwd"), AT_FIVE, "--fd=5", 2, "non-socket"),
            (tcp, AT_FIVE, "--fd=5", 2, "not a Unix socket"),
            (udp, AT_FIVE, "--fd=5", 2, "not a Unix socket"),
            (listener, AT_FIVE, "--fd=5", 7, "not connected"),
            (deserted.into(), AT_FIVE, "--fd=5", 7, "Broken pipe"),
            (full.into(), AT_FIVE, "--fd=5", 7, "Resource temporarily unavailable"),
        ];
        for (socket, redirection, number, code, reason) in cases {
            check(socket, redirection, &["--br=br0", number], code, reason);
        }

        for (bridge, code, reason) in [
            ("--br=br9", 3, "denied by /etc/qemu/bridge.conf:3"),
            ("--br=br8", 3, "allows br8"),
            ("--br=br7", 4, "no such bridge"),
            ("--owner=0", 2, "--fd cannot be combined with --owner"),
            ("--group=0", 2, "--fd cannot be combined with --owner"),
            ("--multi-queue", 2, "--fd cannot be combined with --owner"),
            ("--mtu=1400", 3, "it differs from the MTU of the bridge"),
            ("--mtu=9000", 3, "it differs from the MTU of the bridge"),
            ("--max-taps=9", 3, "only root can use this option"),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let args = ["--use-vnet", "--fd=5", bridge];
            check(theirs.into(), AT_FIVE, &args, code, reason);
            assert_eq!(received(&ours).len(), 0, "{bridge}");
        }
    });
}

#[test]
fn eight_helpers_at_once_hand_over_eight_taps() {
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        let taps: Vec<OwnedFd> = thread::scope(|scope| {
            let one = || {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let args = ["--use-vnet", "--fd=5", "--br=br0"];
                assert_done(&help(host, OwnedFd::from(theirs), AT_FIVE, &args));
                received(&ours)
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        let names: BTreeSet<String> = taps.iter().map(tap_behind).collect();
        let ports: BTreeSet<String> = host.sandbox.ports("br0").into_iter().collect();
        assert_eq!(names.len(), 8, "{names:?}");
        assert_eq!(names, ports);
        drop(taps);
        assert_gone(host, &Vec::from_iter(names));
        host.sandbox.assert_unchanged(&before);
    });
}

#[test]
fn a_helper_gives_its_tap_the_name_that_its_user_has_given_it() {
    both_ways(|host| {
        host.sandbox.etc("qemu-ifup.conf", "vm? --isolated\n");
        let before = host.sandbox.snapshot();
        let call = |words: &[&str]| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let args = [words, &["--use-vnet", "--fd=5", "--br=br0"]].concat();
            (help(host, OwnedFd::from(theirs), AT_FIVE, &args), ours)
        };
        for (words, name, isolated) in [
            (&["vm1"][..], "vm1", true),
            (&["tap9"], "tap9", false),
            (&["--isolated", "vnet1"], "vnet1", true),
        ] {
            let (done, ours) = call(words);
            assert_done(&done);
            let [tap] = received(&ours).try_into().unwrap();
            assert_eq!(tap_behind(&tap), name);
            host.assert_up(name, "br0");
            let link = host.sandbox.link(name).unwrap();
            assert_eq!(link["linkinfo"]["info_slave_data"]["isolated"], isolated);
            // A second one of that name is not the first.
            let (refused, ours) = call(words);
            assert_says(&refused, 5, "it already exists", name);
            assert_eq!(received(&ours).len(), 0);
            drop(tap);
            assert_gone(host, &[name.to_owned()]);
        }
        let (refused, ours) = call(&["eth1"]);
        assert_says(&refused, 3, "begin with tap or vnet", "eth1");
        assert_eq!(received(&ours).len(), 0);
        host.sandbox.assert_unchanged(&before);
    });
}
