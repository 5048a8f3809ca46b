//! Two guests and the host talk over a bridge.

use crate::common::PATIENCE;
use crate::common::sandbox::Sandbox;
use crate::guest::{FIRST, Guest, SECOND, boot, has_flag, sandbox_with_bridge};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Somebody pings an address. Several times where no answer is what is hoped for: the first may be lost to anything.
const PING: &str = "busybox ping -c 1 -W 10";

const PING_IN_VAIN: &str = "busybox ping -c 3 -W 1";

/// What guest and host do in the walk-through when QEMU runs, with an address for the second guest too.
fn configure(first: &mut Guest, second: &mut Guest) {
    first.sh("ip link set eth0 up
         ip addr add 10.0.2.15/24 dev eth0
         ip route add default via 10.0.2.2
         ip link set eth1 up
         ip addr add 192.168.10.2/24 dev eth1");
    second.sh("ip link set eth0 up
         ip addr add 192.168.10.3/24 dev eth0");
}

/// Both taps are ports that forward, and the host has no address of its own on them: with a carrier it would get one.
fn assert_forwarding(sandbox: &Sandbox) {
    let ports = sandbox.bridge(&["link", "show"]);
    for (n, tap) in ["tap0", "tap1"].into_iter().enumerate() {
        assert_eq!(ports[n]["ifname"], tap, "{ports:#}");
        assert_eq!(ports[n]["master"], "br0", "{ports:#}");
        assert_eq!(ports[n]["state"], "forwarding", "{ports:#}");
        let addresses = sandbox.ip(&["addr", "show", "dev", tap]);
        assert!(has_flag(&addresses[0], "LOWER_UP"), "{addresses:#}");
        assert_eq!(addresses[0]["addr_info"], json!([]));
    }
    assert_eq!(ports.as_array().unwrap().len(), 2, "{ports:#}");
}

/// The guests end, and with them their taps; no script had anything to complain about.
fn power_off(sandbox: &Sandbox, guests: [Guest; 2]) {
    for guest in guests {
        let ended = guest.power_off();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    }
    assert_eq!(sandbox.links(), ["lo", "br0"]);
}

#[test]
fn two_guests_and_the_host_reach_each_other() {
    let Some(sandbox) = sandbox_with_bridge() else {
        return;
    };
    let [mut first, mut second] = boot(&sandbox, [FIRST, SECOND]);
    configure(&mut first, &mut second);
    assert_forwarding(&sandbox);

    sandbox.sh(&format!("{PING} 192.168.10.2; {PING} 192.168.10.3"));
    first.sh(&format!("{PING} 192.168.10.1; {PING} 192.168.10.3"));
    second.sh(&format!("{PING} 192.168.10.1; {PING} 192.168.10.2"));
    let routes = first.json("ip -j route");
    let route = |n: usize| (routes[n]["dst"].as_str(), routes[n]["dev"].as_str());
    assert_eq!(route(0), (Some("default"), Some("eth0")), "{routes:#}");
    assert_eq!(routes[0]["gateway"], "10.0.2.2", "{routes:#}");
    assert_eq!(route(2), (Some("192.168.10.0/24"), Some("eth1")));

    // httpd returns when it listens, so nothing here races.
    first.sh("echo this is the first guest >/greeting; httpd -p 22 -h /");
    for address in ["127.0.0.1:2222", "192.168.10.2:22"] {
        let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /greeting HTTP/1.0\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.ends_with("\r\n\r\nthis is the first guest\n"),
            "{address}: {answer}"
        );
    }
    power_off(&sandbox, [first, second]);
}

#[test]
fn isolated_guests_reach_the_host_and_not_each_other() {
    let Some(sandbox) = sandbox_with_bridge() else {
        return;
    };
    sandbox.etc("qemu-ifup.conf", "* --isolated\n");
    let [mut first, mut second] = boot(&sandbox, [FIRST, SECOND]);
    configure(&mut first, &mut second);
    assert_forwarding(&sandbox);
    for port in sandbox.bridge(&["-d", "link", "show"]).as_array().unwrap() {
        assert_eq!(port["isolated"], true, "{port:#}");
    }

    sandbox.sh(&format!("{PING} 192.168.10.2; {PING} 192.168.10.3"));
    let (code, said) = first.try_sh(&format!("{PING_IN_VAIN} 192.168.10.3"));
    assert!(code != 0 && said.contains("100% packet loss"), "{said}");
    let (code, said) = second.try_sh(&format!("{PING_IN_VAIN} 192.168.10.2"));
    assert!(code != 0 && said.contains("100% packet loss"), "{said}");

    // Nothing else was in their way.
    sandbox.sh("bridge link set dev tap0 isolated off");
    first.sh(&format!("{PING} 192.168.10.3"));
    power_off(&sandbox, [first, second]);
}
