//! Attacks: odd files.

use crate::unprivileged::{assert_done, assert_says, both_ways};

#[test]
fn an_acl_file_that_is_not_a_plain_file_of_roots_allows_nothing() {
    // How it is created, in /etc/qemu, and what comes of it.
    #[rustfmt::skip]
    let cases = [
        ("echo allow br0 >rules; ln -s rules bridge.conf", 0, ""),
        ("ln -s nowhere bridge.conf", 8, "a symbolic link to a file that does not exist"),
        ("ln -s bridge.conf bridge.conf", 8, "symbolic links"),
        ("mkfifo bridge.conf", 8, "not a regular file"),
        ("mkdir bridge.conf", 8, "not a regular file"),
        ("mknod bridge.conf c 1 5; chmod 644 bridge.conf", 8, "not a regular file"),
        ("ln -s /dev/zero bridge.conf", 8, "not a regular file"),
        ("ln -s /proc/self/mem bridge.conf", 8, ""),
        ("(echo allow br0; yes '#' | head -c 10485760) >bridge.conf", 8, "larger than"),
        ("echo allow br0 >bridge.conf; truncate -s 4G bridge.conf", 8, "larger than"),
        ("echo allow br0 >bridge.conf; chmod 666 bridge.conf", 8, "writable only by root"),
        ("echo allow br0 >bridge.conf; chmod 664 bridge.conf", 8, "writable only by root"),
        ("echo allow br0 >bridge.conf; chown 54321 bridge.conf", 8, "must be owned by root"),
        ("echo allow br0 >bridge.conf; chown 54322 bridge.conf", 8, "must be owned by root"),
        ("echo allow br0 >a; chown 54321 a; ln -s a bridge.conf", 8, "must be owned by root"),
        ("echo allow br0 >bridge.conf; chmod 600 bridge.conf", 8, "Permission denied"),
        ("echo allow br0 >bridge.conf; chmod 700 .", 8, "Permission denied"),
        ("mkfifo f; (echo allow br0; echo include $PWD/f) >bridge.conf", 8, "bridge.conf:2: cannot read"),
        ("(echo allow br0; echo include /etc/shadow) >bridge.conf", 8, "bridge.conf:2: cannot read"),
        ("(echo allow br0; echo include $PWD) >bridge.conf", 8, "bridge.conf:2: cannot read"),
    ];
    both_ways(|host| {
        let before = host.sandbox.snapshot();
        for (make, code, reason) in cases {
            host.sandbox.sh(&format!(
                "rm -rf /etc/qemu; mkdir -m 755 /etc/qemu; cd /etc/qemu; umask 022; {make}"
            ));
            let up = host.ifup(&["tap0"]);
            if code == 0 {
                assert_done(&up);
                host.delete("tap0");
            } else {
                assert_says(&up, code, reason, make);
            }
            host.sandbox.assert_unchanged(&before);
        }
    });
}

#[test]
fn an_included_acl_file_that_somebody_else_could_have_written_allows_nothing() {
    // Who has it and who may write to it, and whether it is believed.
    let cases = [
        ("0:0", "644", true),
        ("0:54321", "640", true),
        ("54321:54321", "644", false),
        ("54321:54321", "444", false),
        ("54322:54321", "644", false),
        ("0:0", "664", false),
        ("0:54330", "664", false),
        ("0:0", "646", false),
        ("0:0", "666", false),
    ];
    both_ways(|host| {
        let sandbox = &host.sandbox;
        // By itself, by a link, and by another file that is as it should be.
        sandbox.sh("ln -s more /etc/qemu/link; echo include /etc/qemu/more >/etc/qemu/between");
        for path in ["/etc/qemu/more", "/etc/qemu/link", "/etc/qemu/between"] {
            sandbox.etc("qemu/bridge.conf", &format!("include {path}\n"));
            for (owner, mode, is_believed) in cases {
                sandbox.etc("qemu/more", "allow br0\n");
                sandbox.sh(&format!(
                    "chown {owner} /etc/qemu/more; chmod {mode} /etc/qemu/more"
                ));
                if is_believed {
                    assert_done(&host.ifup(&["tap0"]));
                    host.delete("tap0");
                } else {
                    let reason =
                        "the included file must be owned by root and writable only by root";
                    host.assert_refused("qemu-ifup", &["tap0"], 8, reason);
                }
            }
        }
        // A denial in such a file is no more to be relied on than the lack of one.
        sandbox.etc("qemu/bridge.conf", "allow br0\ninclude /etc/qemu/more\n");
        sandbox.etc("qemu/more", "deny br9\n");
        sandbox.sh("chown 54321 /etc/qemu/more");
        host.assert_refused("qemu-ifup", &["tap0"], 8, "/etc/qemu/bridge.conf:2");
    });
}
