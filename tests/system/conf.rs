//! /etc/qemu-ifup.conf and the other places that an option comes from.

use crate::common::interfaces::{assert_new_bridge, info, port};
use crate::common::sandbox::Sandbox;
use crate::common::users::ALICE;
use crate::common::{bin, command, run};
use crate::expect::{IPV4, assert_error, assert_in_bridge, assert_succeeded, words};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

#[test]
fn the_first_of_command_line_program_name_configuration_and_default_says_the_bridge() {
    let Some(s) = Sandbox::new() else { return };
    for bridge in ["br0", "br1", "br2", "br3"] {
        s.bridge_up(bridge);
    }
    let link = |name: &str| {
        let path = s.dir().join(name);
        symlink(bin("qemu-ifup"), &path).unwrap();
        path
    };
    let (plain, named, other) = (
        link("qemu-ifup"),
        link("qemu-ifup.br1"),
        link("qemu-ifup-br1"),
    );
    const CONF: &str = "# all but one\ntap*  --bridge br2   # here\nother? --bridge br9\n";
    for (conf, program, args, expected) in [
        ("", &plain, "tap0", "br0"),
        ("", &named, "tap0", "br1"),
        ("", &named, "--bridge br3 tap0", "br3"),
        ("", &other, "tap0", "br0"),
        (CONF, &plain, "tap0", "br2"),
        (CONF, &plain, "web0", "br0"),
        (CONF, &named, "tap0", "br1"),
        (CONF, &plain, "--br=br3 tap0", "br3"),
        (CONF, &named, "-b br3 tap0", "br3"),
        (CONF, &plain, "--bridge br0 other1", "br0"),
    ] {
        s.etc("qemu-ifup.conf", conf);
        let args = words(args);
        assert_succeeded(&run(command(program).args(&args)), "");
        let tap = args.last().unwrap();
        assert_in_bridge(&s, expected, tap);
        s.sh(&format!("ip link del {tap}"));
    }

    let before = s.snapshot();
    for bad in [
        "qemu-ifup.",
        "qemu-ifup.1234567890123456",
        "qemu-ifup.a b",
        "qemu-ifup.br%d",
    ] {
        let run = run(command(link(bad)).arg("tap0"));
        let suffix = bad.split_once('.').unwrap().1;
        assert_error(
            &run,
            2,
            &format!("'{suffix}' is not an interface name"),
            "15 bytes",
        );
    }
    s.assert_unchanged(&before);
    // It is not asked where the command line says the bridge.
    assert_succeeded(
        &run(command(s.dir().join("qemu-ifup.")).args(["-b", "br1", "tap0"])),
        "",
    );
}

#[test]
fn every_option_of_the_configuration_does_what_it_does_on_the_command_line() {
    let Some(s) = Sandbox::new() else { return };
    s.etc(
        "qemu-ifup.conf",
        "*    --create-bridge --address 192.168.10.1/24 --mtu 1400
         web? --bridge br1 --isolated --owner 54321 --multi-queue --address=fd00::1/64
         web9 --mtu 1300 --wait 3\n",
    );
    for (args, bridge, given, mtu, isolated) in [
        ("web0", "br1", &["fd00::1/64"][..], 1400, true),
        ("--mtu 1310 web1", "br1", &["fd00::1/64"], 1310, true),
        ("web9", "br1", &["fd00::1/64"], 1300, true),
        (
            "--address 10.0.0.1/8 db0",
            "br0",
            &["10.0.0.1/8"],
            1400,
            false,
        ),
        ("--bridge br5 db0", "br5", &[IPV4], 1400, false),
    ] {
        let args = words(args);
        let tap = args.last().unwrap();
        assert_eq!(s.ifup(&args).code, 0, "{args:?}");
        assert_in_bridge(&s, bridge, tap);
        assert_new_bridge(&s, bridge, given);
        let link = s.link(tap).unwrap();
        assert_eq!(
            (&link["mtu"], &port(&s, tap)["isolated"]),
            (&json!(mtu), &json!(isolated)),
            "{args:?}"
        );
        let owner = if isolated {
            json!(ALICE)
        } else {
            json!("root")
        };
        assert_eq!(info(&s, tap)["user"], owner, "{args:?}");
        assert_eq!(info(&s, tap)["multi_queue"], isolated, "{args:?}");
        s.sh(&format!("ip link del {tap}; ip link del {bridge}"));
    }
}

#[test]
fn a_configuration_that_cannot_be_relied_on_stops_ifup_before_it_changes_anything_but_never_ifdown()
{
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.sh("ip tuntap add tap1 mode tap user 54321");
    s.sh("ip link set tap1 addrgenmode none address fe:00:00:00:00:77; ip link set tap1 master br0 up");
    let before = s.snapshot();
    let path = "/etc/qemu-ifup.conf";
    let line = "invalid line: /etc/qemu-ifup.conf:";
    let only_roots = "it must be owned by root and writable only by root";
    let not_regular = "not a regular file";
    let cases = [
        // Whose it is, and who may write to it.
        ("echo '* --mtu 1400' >$C; chmod 666 $C", path, only_roots),
        ("echo '* --mtu 1400' >$C; chmod 620 $C", path, only_roots),
        ("echo '* --mtu 1400' >$C; chown 54321 $C", path, only_roots),
        (
            ">\"$DIR/c\"; chown 54321 \"$DIR/c\"; ln -s \"$DIR/c\" $C",
            path,
            only_roots,
        ),
        // What it is.
        ("mkfifo $C", path, not_regular),
        ("mkfifo \"$DIR/c\"; ln -s \"$DIR/c\" $C", path, not_regular),
        ("mkdir $C", path, not_regular),
        ("ln -s /dev/zero $C", path, not_regular),
        ("ln -s /dev/tty $C", path, ""),
        (
            "ln -s /nowhere/c $C",
            path,
            "it is a symbolic link to a file that does not exist",
        ),
        ("ln -s qemu-ifup.conf $C", path, "symbolic links"),
        (
            "ln -s b /etc/qemu-ifup.a; ln -s /etc/qemu-ifup.a /etc/b; ln -s b $C",
            path,
            "symbolic links",
        ),
        (
            "head -c 10485760 /dev/zero | tr '\\0' ' ' >$C",
            path,
            "larger than 1 MiB",
        ),
        ("truncate -s 1T $C", path, "larger than 1 MiB"),
        // What is in it, in lines that match and in others.
        (
            "printf '* --mtu 1400\\n\\n* --frob\\n' >$C",
            line,
            "3: unknown option --frob",
        ),
        ("printf 'nobody --mtu 9\\n' >$C", line, "1: "),
        (
            "printf '* --bridge br\\0\\n' >$C",
            line,
            "1: 'br\\x00' is not an interface name",
        ),
        ("printf '* --mtu 15\\37700\\n' >$C", line, "1: "),
        (
            "printf -- '--mtu 1400\\n' >$C",
            line,
            "1: a line must begin with a pattern",
        ),
        (
            "{ yes '* --mtu 1400' | head -n 70000; echo '* --mtu'; } >$C",
            line,
            "70001: ",
        ),
        (
            "{ printf '* --bridge '; head -c 900000 /dev/zero | tr '\\0' a; } >$C",
            line,
            "1: 'aaaa",
        ),
    ];
    for (make, start, problem) in cases {
        s.sh(&format!(
            "C=/etc/qemu-ifup.conf; rm -rf $C /etc/qemu-ifup.a /etc/b \"$DIR/c\"\n{make}"
        ));
        let begun = Instant::now();
        for tap in ["tap0", "tap1"] {
            let run = s.ifup(&["--isolated", tap]);
            let at = format!("{make}: {run:.500?}");
            assert_eq!(run.code, 8, "{at}");
            assert!(
                run.stderr.starts_with(&format!("qemu-ifup: {tap}: "))
                    && run.stderr.contains(start),
                "{at}"
            );
            assert!(run.stderr.contains(problem), "{at}");
            assert!(
                run.stderr.contains(": hint: ") && run.stderr.len() < 1000,
                "{at}"
            );
        }
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{make}: {:?}",
            begun.elapsed()
        );
        s.assert_unchanged(&before);
        assert_succeeded(&s.ifdown(&["tap1"]), "");
        s.sh("ip link set tap1 master br0 up");
    }
}

#[test]
fn a_configuration_that_is_missing_empty_or_elsewhere_is_none_to_complain_of() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    for (make, mtu) in [
        ("", 1500),
        (">$C", 1500),
        ("printf '* --mtu 1400' >$C", 1400),
        ("printf '* --mtu 1400\\r\\n' >$C; chmod 400 $C", 1400),
        ("echo '* --mtu 1400' >\"$DIR/c\"; ln -s \"$DIR/c\" $C", 1400),
        (
            "{ yes '* --mtu 1300' | head -n 50000; echo '* --mtu 1400'; } >$C",
            1400,
        ),
    ] {
        s.sh(&format!(
            "C=/etc/qemu-ifup.conf; rm -rf $C \"$DIR/c\"\n{make}"
        ));
        assert_succeeded(&s.ifup(&["tap0"]), "");
        assert_eq!(s.link("tap0").unwrap()["mtu"], mtu, "{make}");
        s.sh("ip link del tap0");
    }
}

#[test]
fn a_line_that_asks_for_what_cannot_be_is_named_with_its_file() {
    let Some(s) = Sandbox::new() else { return };
    s.bridge_up("br0");
    s.sh("ip tuntap add one0 mode tap user 54321");
    let before = s.snapshot();
    const CREATE: &str = "* --bridge br9 --create-bridge";
    let cases: [(&str, &str, i32, usize, &str); 10] = [
        // What is wrong with the file.
        (
            "* --address 10.0.0.1/8\n",
            "tap0",
            8,
            1,
            "--address requires --create-bridge",
        ),
        (
            "# here\ntap? --owner ann0\n",
            "tap0",
            8,
            2,
            "unknown user 'ann0' (not in /etc/passwd)",
        ),
        (
            "* --group staff0\n",
            "tap0",
            8,
            1,
            "unknown group 'staff0' (not in /etc/group)",
        ),
        // What is wrong with the host, or does not go with it.
        (
            "* --bridge br8\n\n* --bridge br9\n* --isolated\n",
            "tap0",
            4,
            3,
            "cannot attach to br9: no such bridge",
        ),
        (
            "* --bridge lo\n",
            "tap0",
            4,
            1,
            "cannot attach to lo: lo is not a bridge",
        ),
        (
            "* --pvid 5\n",
            "tap0",
            4,
            1,
            "cannot set VLANs: VLAN filtering is off on bridge br0",
        ),
        (
            "* --multi-queue\n* --owner 54321\n",
            "one0",
            5,
            1,
            "cannot use several queues",
        ),
        (
            "* --multi-queue\none1 --group 7\none? --group 7\n",
            "one0",
            5,
            1,
            "cannot use several queues",
        ),
        (
            "* --group 7\n",
            "one0",
            5,
            1,
            "cannot set the group to gid 7: the tap has an owner",
        ),
        (
            "CREATE --address fd00::1/64 --address fd00::1/48\n",
            "tap0",
            7,
            1,
            "the same address is given twice",
        ),
    ];
    for (conf, tap, code, line, error) in cases {
        s.etc("qemu-ifup.conf", &conf.replace("CREATE", CREATE));
        let run = s.ifup(&[tap]);
        let start = format!("qemu-ifup: {tap}: /etc/qemu-ifup.conf:{line}: ");
        assert_eq!(run.code, code, "{conf}: {run:?}");
        assert!(run.stderr.starts_with(&start), "{conf}: {run:?}");
        assert!(run.stderr.contains(error), "{conf}: {run:?}");
        s.assert_unchanged(&before);
    }
    // What the command line asks for is its own mistake.
    for (conf, args, code) in [
        ("* --bridge br8\n", "--bridge br9 tap0", 4),
        ("* --owner ann0\n", "--owner bob0 tap0", 2),
        ("* --pvid 5\n", "--pvid 6 tap0", 4),
        ("* --isolated\n", "--address 10.0.0.1/8 tap0", 2),
    ] {
        s.etc("qemu-ifup.conf", conf);
        let run = s.ifup(&words(args));
        assert_eq!(run.code, code, "{args}: {run:?}");
        assert!(!run.stderr.contains(".conf:"), "{args}: {run:?}");
    }
}
