//! What must not stay: unfinished code, silenced lints, prints in the library, names that say nothing.

use crate::source::{Source, find_words};

/// Never, also in tests.
const NEVER: &[(&str, &str)] = &[
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
    ("dbg!", "remove it"),
    ("#[ignore", "a test runs or does not exist"),
    ("#[allow(", "use #[expect(…, reason = \"…\")]"),
    ("#![allow(", "use #[expect(…, reason = \"…\")]"),
];
/// Words for unfinished thoughts, also in comments. Spelled so that this file does not find itself.
const MARKS: &[&str] = &[concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK"), concat!("TO", "DO:")];
/// Not in a library, where the log is for messages; programs and the command may.
const PRINTS: &[&str] = &["println!", "eprintln!", "print!", "eprint!"];
const NAMELESS: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc"];

/// Leftovers of a file.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (what, remedy) in NEVER {
        found.extend(
            find_words(&source.code, what).map(|at| format!("{}: {what}…: {remedy}", source.place(at))),
        );
    }
    for mark in MARKS {
        let lines =
            source.text.lines().enumerate().filter(|(_, line)| find_words(line, mark).next().is_some());
        found.extend(
            lines.map(|(n, _)| format!("{}:{}: {mark}: do it, or open an issue", source.path, n + 1)),
        );
    }
    if is_library(&source.path) {
        for print in PRINTS {
            let places = find_words(&source.shipped, print);
            found.extend(places.map(|at| format!("{}: {print} in a library: use tracing", source.place(at))));
        }
    }
    let names = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    found.extend(
        names.filter(|n| NAMELESS.contains(n)).map(|n| format!("{}: \"{n}\" says nothing", source.path)),
    );
    found
}

fn is_library(path: &str) -> bool {
    let in_src = path.starts_with("src/") || path.starts_with("broker/src/");
    in_src && !path.starts_with("src/cli") && !path.ends_with("/main.rs") && !path.contains("/bin/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        findings(&Source::of(path, text)).len()
    }

    #[test]
    fn unfinished_and_silenced_code_is_found() {
        for (what, _) in NEVER {
            assert_eq!(found("src/a.rs", &format!("fn f() {{}}\n{what}")), 1, "{what}");
            assert_eq!(found("src/a.rs", &format!("// {what}")), 0, "{what}");
        }
        assert_eq!(found("src/a.rs", "#[expect(dead_code, reason = \"…\")]"), 0);
    }

    #[test]
    fn unfinished_thoughts_are_found_in_comments_too() {
        for mark in MARKS {
            assert_eq!(found("src/a.rs", &format!("// {mark} later")), 1, "{mark}");
        }
    }

    #[test]
    fn a_library_prints_nothing_and_the_command_may() {
        assert_eq!(found("src/lane/run.rs", "fn f() { println!(); }"), 1);
        assert_eq!(found("src/lane/run.rs", "#[cfg(test)]\nmod tests { fn f() { println!(); } }"), 0);
        assert_eq!(found("src/cli/list.rs", "fn f() { println!(); }"), 0);
        assert_eq!(found("examples/a/src/main.rs", "fn f() { println!(); }"), 0);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for name in ["src/utils.rs", "src/lane/helpers/a.rs", "broker/src/common.rs"] {
            assert_eq!(found(name, ""), 1, "{name}");
        }
    }
}
