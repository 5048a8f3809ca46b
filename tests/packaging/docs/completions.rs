//! The completions of the shells: each shell loads them from where install.sh puts them, and offers just what the help has.

use crate::common::sandbox::Sandbox;
use crate::common::{bin, needs};
use crate::docs::help;
use std::collections::BTreeSet;

/// An option as it is written (`-b, --bridge NAME`), and what it is for.
type Described = (String, String);

/// Where the texts begin in the help.
const TEXT_COLUMN: usize = 22;

/// The options of a block in the help's layout.
fn options_in(block: &str) -> Vec<Described> {
    let mut options: Vec<Described> = Vec::new();
    for line in block.lines() {
        let is_option = line.starts_with("  -") || line.starts_with("      --");
        // A long one has its text in the next line.
        let has_text = line.get(TEXT_COLUMN - 1..TEXT_COLUMN) == Some(" ");
        let column = if has_text || !is_option {
            TEXT_COLUMN
        } else {
            line.len()
        };
        let (spec, text) = line.split_at_checked(column).unwrap_or_default();
        if is_option {
            options.push((spec.trim().to_owned(), text.to_owned()));
        } else if let Some((_, so_far)) = options.last_mut()
            && spec.trim().is_empty()
            && !text.is_empty()
        {
            let space = if so_far.is_empty() { "" } else { " " };
            *so_far += &format!("{space}{text}");
        }
    }
    options
}

/// For each shell a script that completes each line of $DIR/lines and writes what is offered to $DIR/offered, a line for
/// each candidate and a `.` at the end.
const SHELLS: [(&str, &str); 3] = [
    (
        "bash",
        // M-* inserts all candidates; a key of our own then has the line.
        r#"
        cat >"$DIR/commands" <<'END'
        . /usr/share/bash-completion/bash_completion
        offered() {
            local prefix
            IFS= read -r prefix <&3
            xargs -n 1 printf '%s\n' <<<"${READLINE_LINE:$(wc -c <<<"${prefix%[ =]*}")}" | grep . >>"$DIR/offered"
            echo . >>"$DIR/offered"
            READLINE_LINE=
        }
        bind -x '"\C-g": offered'
END
        sed 's/$/\x1b*\x07/' "$DIR/lines" | tr -d '\n' >>"$DIR/commands"
        echo exit >>"$DIR/commands"
        bash --norc -i 3<"$DIR/lines" <"$DIR/commands"
        "#,
    ),
    (
        "zsh",
        // The line editor is there only with a terminal, and runs zle-line-init first.
        r#"
        cat >"$DIR/.zshrc" <<'END'
        fpath=("$DIR/usr/share/zsh/site-functions" $fpath)
        autoload -Uz compinit && compinit -u -D
        compadd() {
            local -a found
            builtin compadd -O found "$@"
            print -rC1 -- $found >>$DIR/offered
        }
        zle-line-init() {
            while IFS= read -r BUFFER; do
                CURSOR=$#BUFFER
                zle list-choices
                echo . >>$DIR/offered
            done <$DIR/lines
            exit 0
        }
        zle -N zle-line-init
END
        ZDOTDIR=$DIR script -qec 'zsh -d -i' /dev/null </dev/null
        "#,
    ),
    (
        "fish",
        r#"
        fish -c 'while read -l line
            complete -C $line | string replace -r "\t.*" "" | string replace -r "^--bridge=" ""
            echo .
        end' <"$DIR/lines" >"$DIR/offered"
        "#,
    ),
];

/// A host with everything installed, one bridge and two taps; the second is called what no shell may ever run.
const SET_UP: &str = r#"
DESTDIR=$DIR PREFIX=/usr "$TOP/install.sh" --from "$BIN"
mkdir "$DIR/empty"
mkdir -p /dev/pts # which the sandbox covers
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
ln -sf pts/ptmx /dev/ptmx
ip link add br0 type bridge
ip tuntap add tap0 mode tap
ip tuntap add '$(>ran)' mode tap
"#;

const TAPS: [&str; 2] = ["tap0", "$(>ran)"];

struct Shells {
    sandbox: Sandbox,
}

impl Shells {
    fn new() -> Option<Self> {
        let names = SHELLS.map(|(name, _)| name);
        if !names.into_iter().chain(["script"]).all(needs) {
            return None;
        }
        let sandbox = Sandbox::new()?;
        sandbox.sh(&format!(
            "TOP='{}' BIN='{}'\n{SET_UP}",
            env!("CARGO_MANIFEST_DIR"),
            bin("qemu-ifup").parent().unwrap().display(),
        ));
        Some(Self { sandbox })
    }

    /// Hands to `check` what each shell offers for each line.
    fn complete(&self, lines: &[String], mut check: impl FnMut(&str, &str, BTreeSet<String>)) {
        let dir = self.sandbox.dir();
        std::fs::write(dir.join("lines"), lines.join("\n") + "\n").unwrap();
        for (shell, script) in SHELLS {
            self.sandbox.sh(&format!(
                "cd \"$DIR/empty\"
                rm -f ../offered
                export HOME=\"$DIR\" XDG_DATA_DIRS=\"$DIR/usr/share:/usr/share\" PATH=\"$DIR/usr/bin:$PATH\"
                {script}"
            ));
            let offered = std::fs::read_to_string(dir.join("offered")).unwrap();
            let mut rest = offered.lines();
            for line in lines {
                let found = rest.by_ref().take_while(|candidate| *candidate != ".");
                let found = found.filter(|candidate| !candidate.is_empty());
                check(shell, line, found.map(str::to_owned).collect());
            }
            assert_eq!(rest.next(), None, "{shell}: {offered}");
            self.sandbox.sh("test -z \"$(ls \"$DIR/empty\")\"");
        }
    }
}

fn set<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.map(str::to_owned).into()
}

/// The names of an option, and has it an argument?
fn parts((spec, _): &Described) -> (Vec<&str>, bool) {
    let words = spec.split([' ', ',', '=']).filter(|word| !word.is_empty());
    let (names, arguments): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('-'));
    (names, !arguments.is_empty())
}

#[test]
fn the_completions_have_the_options_of_the_help() {
    let Some(shells) = Shells::new() else { return };
    for program in ["qemu-ifup", "qemu-ifdown"] {
        let options = options_in(&help(program));
        let options: Vec<(Vec<&str>, bool)> = options.iter().map(parts).collect();
        let all = options.iter().flat_map(|(names, _)| names);
        let all: BTreeSet<String> = all.map(|name| (*name).to_owned()).collect();
        assert!(all.len() > 8, "{all:?}");

        shells.complete(&[format!("{program} -")], |shell, line, offered| {
            assert_eq!(offered, all, "{shell}: {line}");
        });
        let mut lines = Vec::new();
        let mut is_tap_next = Vec::new();
        for (names, has_argument) in &options {
            for name in names {
                lines.push(format!("{program} {name} "));
                is_tap_next.push(!has_argument);
            }
        }
        let mut expected = is_tap_next.iter().cycle();
        shells.complete(&lines, |shell, line, offered| {
            let is_tap_next = expected.next().unwrap();
            assert_eq!(offered.contains("tap0"), *is_tap_next, "{shell}: {line}");
        });
    }
}

#[test]
fn the_completions_have_the_bridges_and_the_taps_of_the_host() {
    let Some(shells) = Shells::new() else { return };
    let lines = [
        "qemu-ifup ",
        "qemu-ifdown ",
        "qemu-ifup --check tap0 ",
        "qemu-ifup -b ",
        "qemu-ifup --bridge ",
        "qemu-ifup --bridge=",
        "qemu-ifup --qdisc ",
        "qemu-ifup --owner roo",
        "qemu-ifup --group roo",
        "qemu-ifup t",
    ];
    shells.complete(&lines.map(str::to_owned), |shell, line, offered| {
        let expected = match line {
            "qemu-ifup t" => set(["tap0"]),
            line if line.contains("-b") => set(["br0"]),
            line if line.contains("qdisc") => set(["noqueue", "default"]),
            line if line.contains("roo") => set(["root"]),
            _ => set(TAPS),
        };
        assert_eq!(offered, expected, "{shell}: {line}");
    });
}
