//! The places outside of the source where the options stand. `QEMU_IFUP_WRITE=1 cargo test --lib options` writes them from the
//! table; without the variable the test says where they differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::help::{groups, spelling};
use crate::config::program::Program;
use crate::config::table::{Completion, Group, OptionRow, options_of};

/// The line before a block that is written, and the line after it, without what begins a comment.
const BEGIN: &str = "written from src/config/table.rs:";
const END: &str = "end of what is written";

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn rows(program: Option<Program>) -> Vec<&'static OptionRow> {
    let of_one = options_of(program.unwrap_or(Program::Ifup));
    of_one.filter(|row| row.only_program() == program).collect()
}

/// The first clause of the text, for a list of candidates.
fn summary(row: &OptionRow) -> String {
    let ends = [". ", "; ", " (", ": "];
    // "with --check: ...", "in /etc/qemu-ifup.conf: ..."
    let is_where = row.help.starts_with("with --") || row.help.starts_with("in /");
    let text = row.help.split_once(": ").filter(|_| is_where);
    let text = text.map_or(row.help, |(_, text)| text);
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}

/// Each spelling with what is said of it.
fn candidates(row: &OptionRow) -> Vec<(&'static str, String)> {
    let opposite = row
        .opposite
        .map(|opposite| (opposite, format!("the opposite of --{}", row.long)));
    [(row.long, summary(row))]
        .into_iter()
        .chain(opposite)
        .collect()
}

fn zsh(row: &OptionRow) -> Vec<String> {
    let quoted = |text: &str| text.replace(':', "\\:").replace('\'', "'\\''");
    let value = row.value.map_or(String::new(), |value| {
        let complete = match value.completion {
            Completion::Nothing => String::new(),
            Completion::Bridges => "_qemu_ifup_links bridge".to_owned(),
            Completion::Users => "_users".to_owned(),
            Completion::Groups => "_groups".to_owned(),
            Completion::Words(words) => format!("({})", words.join(" ")),
        };
        format!(":{}:{complete}", value.name)
    });
    let (plus, equals) = if row.value.is_some() {
        ("+", "=")
    } else {
        ("", "")
    };
    if let Some(short) = row.short {
        let text = quoted(&summary(row));
        return vec![format!(
            "'(-{short} --{long})'{{-{short}{plus},--{long}{equals}}}'[{text}]{value}'",
            long = row.long
        )];
    }
    let others = |name: &str| match row.opposite {
        Some(opposite) if name == row.long => format!("(--{opposite})"),
        Some(_) => format!("(--{})", row.long),
        None => String::new(),
    };
    let repeated = if row.long == "address" { "*" } else { "" };
    let lines = candidates(row).into_iter().map(|(name, text)| {
        let text = quoted(&text);
        format!(
            "'{repeated}{}--{name}{equals}[{text}]{value}'",
            others(name)
        )
    });
    lines.collect()
}

fn fish(program: Option<Program>, row: &OptionRow) -> Vec<String> {
    let commands = match program {
        Some(program) => format!("-c {}", program.name()),
        None => "-c qemu-ifup -c qemu-ifdown".to_owned(),
    };
    let short = row
        .short
        .map_or(String::new(), |short| format!(" -s {short}"));
    let value = row
        .value
        .map_or(String::new(), |value| match value.completion {
            Completion::Nothing => " -x".to_owned(),
            Completion::Bridges => " -x -a '(__qemu_ifup_links bridge)'".to_owned(),
            Completion::Users => " -x -a '(__fish_complete_users)'".to_owned(),
            Completion::Groups => " -x -a '(__fish_complete_groups)'".to_owned(),
            Completion::Words(words) => format!(" -x -a '{}'", words.join(" ")),
        });
    let lines = candidates(row).into_iter().map(|(name, text)| {
        let text = text.replace('\'', "\\'");
        format!("complete {commands}{short} -l {name}{value} -d '{text}'")
    });
    lines.collect()
}

fn bash_words(program: Option<Program>) -> Vec<String> {
    let rows = rows(program);
    let words = rows.iter().flat_map(|row| {
        let short = row.short.map(|short| format!("-{short}"));
        short
            .into_iter()
            .chain(row.names().map(|name| format!("--{name}")))
    });
    let words: Vec<String> = words.collect();
    let name = program
        .map_or("qemu-ifup-both", Program::name)
        .replace('-', "_");
    let mut lines = vec![format!("_{name}_options=\"")];
    for word in words {
        let last = lines.last_mut().unwrap();
        if last.len() + word.len() > 110 {
            lines.push(format!("    {word}"));
        } else {
            let space = if last.ends_with('"') { "" } else { " " };
            *last += &format!("{space}{word}");
        }
    }
    *lines.last_mut().unwrap() += "\"";
    lines
}

/// The cases of the word before that take a value.
fn bash_values() -> Vec<String> {
    let mut cases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows(Some(Program::Ifup)) {
        let Some(value) = row.value else { continue };
        let complete = match value.completion {
            Completion::Nothing => String::new(),
            Completion::Bridges => " _qemu_ifup_links bridge \"$word\"".to_owned(),
            Completion::Users => " mapfile -t COMPREPLY < <(compgen -u -- \"$word\")".to_owned(),
            Completion::Groups => " mapfile -t COMPREPLY < <(compgen -g -- \"$word\")".to_owned(),
            Completion::Words(words) => format!(
                " mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$word\")",
                words.join(" ")
            ),
        };
        let short = row.short.map(|short| format!("-{short}"));
        let longs = [Some(row.long), row.alias].into_iter().flatten();
        let words = short
            .into_iter()
            .chain(longs.map(|long| format!("--{long}")));
        cases.entry(complete).or_default().extend(words);
    }
    let line =
        |(complete, words): (String, Vec<String>)| format!("{}){complete} ;;", words.join(" | "));
    cases.into_iter().map(line).collect()
}

/// The name of each block in a file, and its lines.
type Blocks = Vec<(&'static str, Vec<String>)>;

fn blocks() -> [(&'static str, Blocks); 4] {
    let programs = [
        ("options of both", None),
        ("options of qemu-ifup", Some(Program::Ifup)),
        ("options of qemu-ifdown", Some(Program::Ifdown)),
    ];
    let each = |line: &dyn Fn(Option<Program>, &OptionRow) -> Vec<String>| {
        let block = |program| {
            rows(program)
                .into_iter()
                .flat_map(|row| line(program, row))
                .collect()
        };
        programs
            .map(|(name, program)| (name, block(program)))
            .to_vec()
    };
    let bash = programs
        .map(|(name, program)| (name, bash_words(program)))
        .to_vec();
    let help = |program| {
        let groups = groups(program);
        let lines = groups.trim_start_matches('\n').lines();
        let fence = || ["```"].into_iter();
        fence()
            .chain(lines)
            .chain(fence())
            .map(str::to_owned)
            .collect()
    };
    [
        ("completions/_qemu-ifup", each(&|_, row| zsh(row))),
        ("completions/qemu-ifup.fish", each(&fish)),
        (
            "completions/qemu-ifup.bash",
            [bash, vec![("values", bash_values())]].concat(),
        ),
        (
            "docs/command-line.md",
            vec![
                ("qemu-ifup", help(Program::Ifup)),
                ("qemu-ifdown", help(Program::Ifdown)),
            ],
        ),
    ]
}

/// The file with its blocks written.
fn written(text: &str, blocks: &Blocks) -> String {
    let mut lines = text.lines();
    let mut written = String::new();
    let mut found = 0;
    while let Some(line) = lines.next() {
        written += &format!("{line}\n");
        let Some((before, name)) = line.split_once(BEGIN) else {
            continue;
        };
        let indent = &before[..before.len() - before.trim_start().len()];
        let name = name.trim_end_matches("-->").trim();
        let block = blocks.iter().find(|(block, _)| *block == name);
        let (_, block) = block.unwrap_or_else(|| panic!("there is no block {name:?}"));
        for line in block {
            let indent = if line.is_empty() { "" } else { indent };
            written += &format!("{indent}{line}\n");
        }
        found += 1;
        // The Markdown fence belongs to the block's frame.
        let end = lines.find(|line| line.contains(END));
        written += &format!("{}\n", end.unwrap_or_else(|| panic!("{name:?} has no end")));
    }
    assert_eq!(found, blocks.len(), "the blocks of the file");
    written
}

/// An option, or an option's text, that is in one and not in the other.
fn first_difference<'a>(is: &'a str, wanted: &'a str) -> &'a str {
    let lines = wanted.lines().zip(is.lines().chain(std::iter::repeat("")));
    let differing = lines
        .filter(|(wanted, is)| wanted != is)
        .map(|(wanted, _)| wanted);
    differing
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("its end")
}

fn check(file: &str, text: &str, wanted: &str, differing: &mut Vec<String>) {
    if text == wanted {
        return;
    }
    if std::env::var_os("QEMU_IFUP_WRITE").is_some() {
        fs::write(repository(file), wanted).unwrap();
    } else {
        differing.push(format!("{file}: {}", first_difference(text, wanted)));
    }
}

#[test]
fn the_options_stand_everywhere_as_in_the_table() {
    let mut differing = Vec::new();
    for (file, blocks) in blocks() {
        let text = fs::read_to_string(repository(file)).unwrap();
        check(file, &text, &written(&text, &blocks), &mut differing);
    }
    for program in [Program::Ifup, Program::Ifdown] {
        let file = format!("man/{}.8", program.name());
        let text = fs::read_to_string(repository(&file)).unwrap();
        check(
            &file,
            &text,
            &manual::written(&text, program),
            &mut differing,
        );
    }
    let file = "man/qemu-ifup.conf.5";
    let text = fs::read_to_string(repository(file)).unwrap();
    check(file, &text, &manual::configuration(&text), &mut differing);
    assert!(
        differing.is_empty(),
        "QEMU_IFUP_WRITE=1 cargo test --lib options writes:\n{}",
        differing.join("\n")
    );
}

/// The manual pages (mdoc(7)). What an option's entry says beyond the table stands in the page, after a comment.
mod manual {
    use super::*;
    use crate::config::table::OptionId;

    const MORE: &str = ".\\\" more";

    /// Text of the table as lines of mdoc: a sentence begins a line.
    fn text(help: &str) -> String {
        let help = help
            .replace("this help", "the help")
            .replace("--", "\\-\\-");
        let mut lines: Vec<String> = vec![String::new()];
        for word in help.split(' ') {
            let last = lines.last_mut().unwrap();
            let ends = last.ends_with('.') && !last.ends_with("e.g.");
            if ends || last.len() + word.len() > 76 {
                lines.push(word.to_owned());
            } else {
                let space = if last.is_empty() { "" } else { " " };
                *last += &format!("{space}{word}");
            }
        }
        lines.join("\n") + "\n"
    }

    fn tag(row: &OptionRow) -> String {
        let short = row
            .short
            .map_or(String::new(), |short| format!("{short} , "));
        let value = row.value.map_or(String::new(), |value| {
            let equals = if row.long == "fd" { "Ns = Ns " } else { "" };
            format!(" {equals}Ar {}", value.name)
        });
        let opposite = row
            .opposite
            .map_or(String::new(), |opposite| format!(" , Fl -{opposite}"));
        format!(".It Fl {short}-{}{value}{opposite}\n", row.long)
    }

    /// What the page says of each option beyond the table, by the option's long name.
    fn more(section: &str) -> BTreeMap<String, String> {
        let items = section.split("\n.It Fl ").skip(1);
        let found = items.filter_map(|item| {
            let (tag, rest) = item.split_once('\n')?;
            let long = tag.split(' ').find_map(|word| word.strip_prefix('-'))?;
            let (_, more) = rest.split_once(&format!("{MORE}\n"))?;
            let end = more.find("\n.El").map_or(more.len(), |end| end + 1);
            Some((long.to_owned(), more[..end].trim_end().to_owned() + "\n"))
        });
        found.collect()
    }

    fn section<'a>(page: &'a str, heading: &str) -> (&'a str, &'a str, &'a str) {
        let begin = page.find(heading).unwrap() + heading.len();
        let end = begin + page[begin..].find("\n.Sh ").unwrap() + 1;
        (&page[..begin], &page[begin..end], &page[end..])
    }

    pub(super) fn written(page: &str, program: Program) -> String {
        let (before, section, after) = section(page, ".Sh OPTIONS\n");
        let intro = section
            .find(".Ss ")
            .or_else(|| section.find(".Bl "))
            .unwrap();
        let mut more = more(section);
        let mut text = section[..intro].to_owned();
        for group in Group::ALL {
            let rows: Vec<_> = options_of(program)
                .filter(|row| row.group == group)
                .collect();
            if rows.is_empty() {
                continue;
            }
            text += &format!(".Ss {}\n.Bl -tag -width Ds\n", group.heading());
            for row in rows {
                text += &tag(row);
                match more.remove(row.long) {
                    Some(more) => {
                        text += &self::text(&format!("{}.", row.help));
                        text += &format!("{MORE}\n{more}");
                    }
                    None => text += &self::text(row.help),
                }
            }
            text += ".El\n";
        }
        assert!(
            more.is_empty(),
            "{}: no option has these: {:?}",
            program.name(),
            more.keys()
        );
        [before, &text, after].concat()
    }

    /// The list of the options that a line of the configuration may have.
    pub(super) fn configuration(page: &str) -> String {
        let begin = ".Bl -item -compact -offset indent\n";
        let (before, rest) = page.split_once(begin).unwrap();
        let (_, after) = rest.split_once(".El\n").unwrap();
        let rows = options_of(Program::Ifup).filter(|row| matches!(row.id, OptionId::Tap(_)));
        let items = rows.map(|row| tag(row).replacen(".It Fl", ".It\n.Fl", 1));
        [before, begin, &items.collect::<String>(), ".El\n", after].concat()
    }

    #[test]
    fn a_sentence_begins_a_line_and_hyphens_stay_hyphens() {
        assert_eq!(
            text("one (--two). Three, e.g. 4"),
            "one (\\-\\-two).\nThree, e.g. 4\n"
        );
        assert!(spelling(options_of(Program::Ifup).next().unwrap()).starts_with("-b, --bridge"));
    }
}
