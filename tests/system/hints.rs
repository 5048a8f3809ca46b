//! Every command that an error prints is run here: it is taken out of the message, a shell runs it, and the call then works.

use crate::common::sandbox::Sandbox;
use crate::common::users::{ALICE, as_user, open_tap_as};
use crate::common::{needs, run};
use crate::expect::assert_error;
use crate::host::{host, host_for_alice, must, on_its_own, sh};
use std::fs;
use std::path::Path;

/// An error, and a command out of its hint.
struct Row {
    /// What is done to the host before.
    prepare: &'static str,
    /// The call that fails. Where `alice` makes it, she may attach her own taps to br0.
    call: &'static str,
    code: i32,
    error: &'static str,
    /// How the command begins, as the source has it.
    command: &'static str,
    /// What has to succeed then, with the command in the place of `{}`; empty is the command and then the same call.
    then: &'static str,
}

const fn row(
    prepare: &'static str,
    call: &'static str,
    code: i32,
    error: &'static str,
    command: &'static str,
    then: &'static str,
) -> Row {
    Row {
        prepare,
        call,
        code,
        error,
        command,
        then,
    }
}

const CONF: &str = "/etc/qemu-ifup.conf";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // The bridge.
    row("ip link del br0", "qemu-ifup tap0", 4, "no such bridge", "echo '* --create-bridge", ""),
    row("ip link del br0", "alice qemu-ifup tap0", 4, "no such bridge", "echo '* --create-bridge", ""),
    row("ip link del br0", "qemu-ifup tap0", 4, "no such bridge", "sudo ip link add", ""),
    row("ip link del br0", "alice qemu-ifup tap0", 4, "no such bridge", "sudo ip link add", ""),
    row("", "qemu-ifup -b lo tap0", 4, "is not a bridge (it is", "ip link show type bridge", "{} | grep -q br0"),
    row("ip link add d0 type veth peer name d1", "qemu-ifup -b d0 tap0", 4, "is not a bridge (it is", "ip link show type bridge", "{} | grep -q br0"),
    row("ip link set br0 down", "qemu-ifup --wait 0 held0", 9, "(state: disabled)", "sudo ip link set", "{}\nqemu-ifup --wait 5 held0"),
    row(
        "ip link set br0 type bridge stp_state 1 forward_delay 200",
        "qemu-ifup --wait 1 held0", 9, "(state: listening)", "--wait 65", "qemu-ifup {} held0",
    ),
    row(
        "qemu-ifup --lock-mac 52:54:00:00:00:01 held0",
        "qemu-ifup --lock-mac 52:54:00:00:00:01 tap0", 4, "held0 already uses that MAC", "bridge fdb show br", "{} | grep 'dev held0'",
    ),
    // The tap.
    row("", "qemu-ifup lo", 5, "not a tap (it is", "ip link show type tun", "{} | grep -q held0"),
    row("ip tuntap add t0 mode tap user 5", "qemu-ifup --group 7 t0", 5, "the tap has an owner", "sudo qemu-ifdown --delete", ""),
    row("ip tuntap add t0 mode tap", "qemu-ifup --multi-queue t0", 5, "with one queue", "sudo qemu-ifdown --delete", ""),
    row("", "qemu-ifup --multi-queue held0", 5, "with one queue", "sudo qemu-ifup --check", "{} | grep 'held0 is in use by'"),
    row("", "qemu-ifup --owner 7 held0", 5, "in use by another program", "sudo qemu-ifup --check", "{} | grep 'held0 is in use by'"),
    row("", "alice qemu-ifup eth7", 3, "begin with tap or vnet", "echo {} | sudo tee", ""),
    row("", "alice qemu-ifup my-7._", 3, "begin with tap or vnet", "echo {} | sudo tee", ""),
    row("", "alice qemu-ifup eth7", 3, "begin with tap or vnet", "sudo qemu-ifup", "{}"),
    row("", "alice qemu-ifup -- -h", 3, "begin with tap or vnet", "sudo qemu-ifup", "{}"),
    // /dev/net/tun
    row("rm /dev/net/tun", "qemu-ifup tap0", 6, "No such file", "sudo mkdir", ""),
    row("rm -r /dev/net", "alice qemu-ifup tap0", 6, "No such file", "sudo mkdir", ""),
    row(
        "rm /dev/net/tun; echo data >/dev/net/tun; chmod 666 /dev/net/tun", "alice qemu-ifup tap0", 6, "Inappropriate ioctl for device",
        "sudo mv /dev/net/tun", "{}\ngrep data /dev/net/tun.orig; alice qemu-ifup tap0",
    ),
    row("chmod 600 /dev/net/tun", "alice qemu-ifup tap0", 6, "Permission denied", "sudo chmod 0666", ""),
    // Root's files.
    row("echo '* --mtu 1400' >$C; chmod 666 $C", "qemu-ifup tap0", 8, "must be owned by root", "sudo cp", "{}\nqemu-ifup tap0; grep 1400 /etc/qemu-ifup.conf"),
    row(
        "echo '* --mtu 1400' >$DIR/alices; chown 54321 $DIR/alices; ln -s $DIR/alices $C", "qemu-ifup tap0", 8, "must be owned by root",
        "sudo cp", "{}\nqemu-ifup tap0; [ \"$(stat -c %u $DIR/alices)\" = 54321 ]; grep 1400 $DIR/alices",
    ),
    row("touch $C; chmod 600 $C", "alice qemu-ifup tap0", 8, "Permission denied", "sudo chmod a+r", ""),
    row("chmod 666 $A", "alice qemu-ifup tap0", 8, "must be owned by root", "sudo cp", ""),
    row("echo include $A.d >>$A; echo allow br1 >$A.d; chmod 600 $A.d", "alice qemu-ifup tap0", 8, "Permission denied", "sudo chmod a+r", ""),
    row("echo include $A.d >>$A; echo allow br1 >$A.d; chown 54321 $A.d", "alice qemu-ifup tap0", 8, "must be owned by root", "sudo cp", ""),
    // The caller, and the kernel.
    row("", "export SUDO_UID=x; qemu-ifup tap0", 2, "SUDO_UID is 'x'", "unset SUDO_UID", "SUDO_UID=x\n{}\nqemu-ifup tap0"),
    row(
        "for c in all default; do echo 1 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done",
        "qemu-ifup -b br9 --create-bridge --address fd00::1/64 tap0", 7, "IPv6 is disabled", "sudo sysctl", "",
    ),
];

/// Those that cannot be run here, and why.
const NOT_RUN: [(&str, &str); 6] = [
    ("sudo modprobe tun", "it would change this machine's kernel"),
    ("sudo modprobe bridge", "the same"),
    (
        "--create-bridge --bridge brvlan",
        "needs VLAN filtering: tests/qemu/guest/second_kernel.rs",
    ),
    (
        "docker run --device /dev/net/tun",
        "needs Docker; it is a part of a command",
    ),
    (
        "docker run --cap-add NET_ADMIN",
        "needs Docker; it is a part of a command",
    ),
    (
        "install.sh --setcap",
        "not where the reader stands; tests/packaging/install/setcap.rs runs it",
    ),
];

/// From its first word up to the end of the line.
fn command_in<'a>(text: &'a str, start: &str) -> &'a str {
    let (start, _) = start.split_once(" {}").unwrap_or((start, ""));
    let hint = text.split_once("hint: ").map_or(text, |(_, hint)| hint);
    let at = hint.find(start);
    let at = at.unwrap_or_else(|| panic!("no command '{start}' in: {text}"));
    hint[at..].lines().next().unwrap()
}

#[test]
fn each_command_that_an_error_prints_fixes_what_it_is_about() {
    for row in ROWS {
        let name = format!("{}: {} {}", row.prepare, row.call, row.command);
        on_its_own(&name, || {
            let is_alices = row.call.starts_with("alice");
            let host = if is_alices {
                host_for_alice("allow br0\n")
            } else {
                host()
            };
            let Some(s) = host else { return };
            let _held = open_tap_as(0, "held0", 0).unwrap();
            must(
                &s,
                &format!("C={CONF}; A=/etc/qemu/bridge.conf\n{}", row.prepare),
            );
            let before = s.links();
            let failed = sh(&s, row.call);
            assert_error(&failed, row.code, row.error, "hint: ");
            assert_eq!(s.links(), before, "{}", row.call);
            // To root no sudo is named, which not every host has.
            assert_eq!(
                failed.stderr.contains("sudo "),
                is_alices && failed.stderr.contains("sudo"),
                "{failed:?}"
            );
            let start = row.command.trim_start_matches("sudo ");
            let start = if is_alices { row.command } else { start };
            let command = command_in(&failed.stderr, start);
            let then = match row.then {
                "" => format!("{command}\n{}", row.call),
                then => then.replace("{}", command),
            };
            must(&s, &then);
        });
    }
}

#[test]
fn sudo_is_a_part_of_a_command_for_whoever_is_not_root_in_their_shell() {
    let Some(s) = host_for_alice("allow br0\n") else {
        return;
    };
    s.sh("ip link del br0");
    for (call, has_sudo) in [
        ("qemu-ifup tap0", false),
        ("SUDO_UID=54321 qemu-ifup tap0", true),
        ("alice qemu-ifup tap0", true),
    ] {
        let said = sh(&s, call).stderr;
        assert!(said.contains("ip link add br0"), "{said}");
        let prefix = if has_sudo { "run: sudo " } else { "run: " };
        assert!(said.contains(&format!("{prefix}ip link add br0")), "{said}");
        assert_eq!(said.contains("sudo"), has_sudo, "{said}");
    }
}

/// To delete a tap that is theirs, a user needs no sudo; to attach one that exists takes root.
#[test]
fn a_command_for_a_tap_has_sudo_for_whoever_needs_it_and_for_nobody_else() {
    #[rustfmt::skip]
    let table = [
        // (how it is called, whether the program has the capability, the tap's owner, whether the commands that delete and
        // attach it have sudo)
        ("", false, ALICE, [false, false]),
        ("export SUDO_UID=54321;", false, ALICE, [false, true]),
        ("alice", false, ALICE, [false, true]),
        ("alice", true, ALICE, [false, true]),
        ("alice", true, 5, [true, true]),
    ];
    for (who, is_capable, owner, [deletes_by_sudo, attaches_by_sudo]) in table {
        on_its_own(&format!("{who} {is_capable} {owner}"), || {
            let host = if is_capable {
                host_for_alice("allow br0\n")
            } else {
                host()
            };
            let Some(s) = host else { return };
            s.sh(&format!("ip tuntap add tap5 mode tap user {owner}"));
            let run_as_reader = |command: &str, has_sudo: bool| {
                let reader = if has_sudo || who != "alice" { "" } else { who };
                must(&s, &format!("{reader} {command}"));
            };
            let found = |text: &str, start: &str, has_sudo: bool| {
                let command = command_in(text, start).to_owned();
                let with_sudo = text.matches(&format!("sudo {start}")).count();
                let all = text.matches(start).count();
                assert_eq!(with_sudo, if has_sudo { all } else { 0 }, "{text}");
                command
            };
            let checked = must_say(&s, &format!("{who} qemu-ifup --check -v tap5"));
            found(&checked, "qemu-ifdown --delete tap5", deletes_by_sudo);
            let attach = found(&checked, "qemu-ifup --bridge br0 tap5", attaches_by_sudo);
            run_as_reader(&attach, attaches_by_sudo);
            assert!(s.link("tap5").unwrap()["master"] == "br0");
            s.etc("qemu-ifup.conf", "* --multi-queue\n");
            let checked = must_say(&s, &format!("{who} qemu-ifup --check -v tap5"));
            let mut delete = found(&checked, "qemu-ifdown --delete tap5", deletes_by_sudo);
            if owner == ALICE {
                let failed = sh(&s, &format!("{who} qemu-ifup --dry-run tap5")).stderr;
                delete = found(&failed, "qemu-ifdown --delete tap5", deletes_by_sudo);
            }
            let delete = delete.split(" && ").next().unwrap();
            run_as_reader(delete, deletes_by_sudo);
            assert!(s.link("tap5").is_none());
        });
    }
}

/// No word of what somebody has typed is taken for one of ours.
#[test]
fn the_name_of_a_user_is_printed_as_it_was_given() {
    let Some(s) = host() else { return };
    let said = sh(&s, "qemu-ifup --owner 'sudo foo' tap0").stderr;
    assert!(said.contains("unknown user 'sudo foo'"), "{said}");
}

/// What it prints, whatever it ends with.
fn must_say(s: &Sandbox, line: &str) -> String {
    let said = sh(s, line);
    assert!(!said.stdout.is_empty(), "{said:?}");
    said.stdout
}

#[test]
fn to_root_check_names_no_sudo() {
    let Some(s) = host() else { return };
    s.sh("ip tuntap add t0 mode tap; echo 0 >/proc/sys/net/ipv4/ip_forward");
    let said = must_say(&s, "qemu-ifup --check -v t0");
    assert!(said.contains("sysctl") && !said.contains("sudo"), "{said}");
}

#[test]
fn an_id_that_a_user_namespace_does_not_map_has_a_command_too() {
    if !needs("unshare") {
        return;
    }
    let Some(s) = host() else { return };
    s.sh("chmod 755 \"$DIR\"");
    let rootless = |line: &str| {
        let script = format!(
            "ip link set lo up; SUDO_UID=1000 {} --create-bridge {line}",
            "/etc/qemu-ifup"
        );
        run(as_user(ALICE, ALICE, "unshare").args(["-Urn", "sh", "-euc", &script]))
    };
    let failed = rootless("tap0");
    assert_error(&failed, 7, "uid 1000 is not mapped", "--owner 0");
    let done = rootless(&format!("{} tap0", command_in(&failed.stderr, "--owner 0")));
    assert_eq!(done.code, 0, "{done:?}");
    let shown = run(as_user(ALICE, ALICE, "sh").args(["-c", command_in(&failed.stderr, "cat ")]));
    assert_eq!(shown.code, 0, "{shown:?}");
}

#[test]
fn a_bridge_that_is_there_without_the_address_has_a_command_that_gives_it() {
    let Some(s) = host() else { return };
    let line = "qemu-ifup --create-bridge --address 192.168.10.1/24 --address fd00::1/64 tap0";
    let said = must(&s, line).stderr;
    let words = "tap0: br0 already exists without the address fd00::1/64 (--address applies only to a new bridge). To add the address, run: ";
    assert!(said.contains(words), "{said}");
    must(&s, command_in(&said, "ip address add"));
    assert!(!must(&s, line).stderr.contains("address"));
}

/// A line of the configuration for all taps has the address of one bridge; on a second one it would cut off the first.
#[test]
fn a_bridge_is_not_to_get_an_address_whose_network_another_one_is_in() {
    let Some(s) = host() else { return };
    s.bridge_up("br1");
    for address in ["192.168.10.1/24", "192.168.10.2/24"] {
        let line = format!("qemu-ifup -b br1 --create-bridge --address {address} tap0");
        let said = must(&s, &line).stderr;
        assert!(!said.contains("ip address add"), "{said}");
        must(&s, "qemu-ifdown --delete tap0");
    }
}

/// All texts that print commands.
const SOURCES: [&str; 5] = [
    "src/error/hint.rs",
    "src/policy/limits.rs",
    "src/policy/rules.rs",
    "src/policy/tap.rs",
    "src/plan/outcome.rs",
];

#[test]
fn there_is_no_other_command_in_the_source() {
    let elsewhere = [
        // In the tests above, or those of --check.
        "sudo ip address add",
        "sudo iptables -I FORWARD",
        "cat /proc/self/uid_map",
        "cat /proc/self/gid_map",
        "--owner 0",
        // In tests/system/creator.rs, and tests/system/unprivileged/existing.rs and limits.rs.
        "qemu-ifdown --delete",
        "sudo qemu-ifup --bridge",
        "sudo qemu-ifdown --delete",
        "sudo ip link property del dev",
        "qemu-ifup {name}",
        "qemu-ifup --check",
        "qemu-ifup --version",
    ];
    // Who needs sudo is not a part of the text.
    let known: Vec<&str> = (ROWS.iter().map(|row| row.command))
        .chain(NOT_RUN.iter().map(|(command, _)| *command))
        .chain(elsewhere)
        .map(|command| command.trim_start_matches("sudo "))
        .collect();
    let programs = [
        "sudo ",
        "ip ",
        "cat ",
        "echo ",
        "unset ",
        "docker ",
        "qemu-ifup -",
        "qemu-ifdown -",
        "install.sh ",
        "sysctl ",
        "modprobe ",
        "chmod ",
        "rm ",
        "chown ",
        "--wait ",
        "--create-bridge ",
    ];
    let mut found = 0;
    for source in SOURCES {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in lines.filter(|line| line.contains('"')) {
            for program in programs {
                for (at, _) in line.match_indices(program) {
                    let before = line[..at].chars().next_back().unwrap_or(' ');
                    let is_word = !before.is_alphanumeric() && !"-/.".contains(before);
                    let is_sudos = line[..at].ends_with("sudo ");
                    // A part of one that is found by its first word.
                    let is_inside = line[..at].contains(".and(Command::")
                        || line[..at].ends_with("&& ")
                        || line[..at].ends_with("* ")
                        || line[..at].ends_with("| ")
                        || line[..at].ends_with("&& sudo ");
                    if is_word && !is_sudos && !is_inside {
                        found += 1;
                        let rest = &line[at..];
                        let fixed = rest.split('{').next().unwrap();
                        let is_known = known
                            .iter()
                            .any(|known| rest.starts_with(known) || known.starts_with(fixed));
                        assert!(is_known, "{source}: no test runs: {rest}");
                    }
                }
            }
        }
    }
    assert!(found > 25, "{found}");
}

#[test]
fn no_hint_takes_a_network_card_a_running_guest_or_a_bridge_of_others_away() {
    let Some(s) = host() else { return };
    let _held = open_tap_as(0, "held0", 0).unwrap();
    s.sh("ip link add d0 type veth peer name d1");
    for (line, harm) in [
        ("qemu-ifup -b d0 tap0", "master"),
        ("qemu-ifup --multi-queue held0", "delete"),
        ("qemu-ifup --pvid 5 tap0", "vlan_filtering 1"),
    ] {
        let said = sh(&s, line).stderr;
        assert!(said.contains("hint: ") && !said.contains(harm), "{said}");
    }
}
