//! What may import what. The table is the architecture: a change here is a change there.

use crate::source::{Source, find_words};

/// A module and the modules of this crate that it may name.
struct Row {
    module: &'static str,
    may: &'static [&'static str],
}

const TABLE: &[Row] = &[
    Row { module: "core", may: &[] },
    Row { module: "workflow", may: &["core"] },
    Row { module: "codec", may: &["core"] },
    Row { module: "store", may: &["core", "codec"] },
    Row { module: "log", may: &["core", "codec"] },
    Row { module: "sim", may: &["core", "workflow", "codec", "store", "log"] },
    Row { module: "lane", may: &["core", "workflow", "codec", "store", "log", "telemetry"] },
    Row { module: "ingress", may: &["core", "workflow", "codec", "store", "log", "telemetry"] },
    Row { module: "client", may: &["core", "codec", "log"] },
    Row {
        module: "runtime",
        may: &[
            "core",
            "workflow",
            "codec",
            "store",
            "log",
            "sim",
            "lane",
            "ingress",
            "client",
            "config",
            "telemetry",
        ],
    },
    Row { module: "config", may: &["core", "codec", "log"] },
    Row { module: "telemetry", may: &["core", "config"] },
    Row { module: "http", may: &["runtime", "client", "core", "config", "telemetry"] },
    Row { module: "cli", may: &["runtime", "client", "core", "config", "telemetry"] },
];

/// Implementations behind the traits, and who may name them.
const BEHIND_TRAITS: &[(&str, &[&str])] = &[("log::kafka", &["runtime"]), ("store::rocks", &["runtime"])];

/// Libraries that live behind one module.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("rdkafka", &["src/log/kafka"]),
    ("rocksdb", &["src/store/rocks"]),
    ("prometheus_client", &["src/telemetry"]),
    ("axum", &["src/http"]),
    ("sakia_broker", &["src/cli", "src/main.rs"]),
    ("clap", &["src/cli", "src/main.rs"]),
];

/// What `core` must not name: it decides, and performs nothing.
const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "std::io",
    "tokio",
    "rdkafka",
    "rocksdb",
    "uuid",
    "rand",
    "tracing",
    "crossbeam_channel",
];

/// Edges that the table forbids and the code needs, each with its reason: module, what it names, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("client", "workflow", "typed constants and the error type are what its callers write with"),
    ("client", "log::kafka", "a client is a process of its own, without a runtime that could pick for it"),
    ("client", "config", "it is made from the same configuration as an app"),
    ("config", "log::kafka", "it holds the connection's settings and checks the topics by them"),
    ("runtime", "cli", "App::main is the command line of a program that consists of one app"),
    ("runtime", "http", "it opens the process's port, which sees the process only as a report"),
    ("store", "telemetry", "it says how much memory it holds in the words in which that is shown"),
    ("cli", "codec", "it prints payloads and decodes answers and dead letters"),
    ("cli", "workflow", "it is given the app, whose error type it prints"),
    ("cli", "log", "dlq list and topics init read and make topics without an app"),
    ("cli", "log::kafka", "the same"),
];

/// What a file names that its row does not allow.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let Some(path) = source.path.strip_prefix("src/") else { return Vec::new() };
    let mut found = libraries(source);
    let module = path.split(['/', '.']).next().unwrap_or_default();
    if matches!(module, "lib" | "main") {
        return found;
    }
    let Some(row) = TABLE.iter().find(|row| row.module == module) else {
        found.push(format!(
            "{}: module \"{module}\" has no row in the table of tests/tidy/imports.rs",
            source.path
        ));
        return found;
    };
    if module == "core" {
        found.extend(impure(source));
    }
    for (at, target) in crate_paths(&source.shipped, depth(path)) {
        let top = target.split("::").next().unwrap_or_default();
        let known = TABLE.iter().any(|row| row.module == top);
        if known && top != module && !row.may.contains(&top) && !excepted(module, top) {
            found.push(format!("{}: {module} must not import {top}", source.place(at)));
        }
        for (inner, may) in BEHIND_TRAITS {
            let owner = inner.split("::").next().unwrap_or_default();
            let named = target == *inner || target.starts_with(&format!("{inner}::"));
            if named && module != owner && !may.contains(&module) && !excepted(module, inner) {
                found
                    .push(format!("{}: {module} must not import {inner}, only the traits", source.place(at)));
            }
        }
    }
    found
}

fn excepted(module: &str, target: &str) -> bool {
    EXCEPTIONS.iter().any(|(from, to, _)| *from == module && *to == target)
}

fn libraries(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (library, homes) in LIBRARIES {
        if homes.iter().any(|home| source.path.starts_with(home)) {
            continue;
        }
        for at in find_words(&source.shipped, &format!("{library}::")) {
            found.push(format!("{}: {library} belongs to {}", source.place(at), homes.join(", ")));
        }
    }
    found
}

fn impure(source: &Source) -> Vec<String> {
    let words = IMPURE.iter().flat_map(|word| find_words(&source.shipped, word).map(move |at| (at, word)));
    words.map(|(at, word)| format!("{}: core is pure and must not name {word}", source.place(at))).collect()
}

/// How many `super::` lead from a file's module to the top of the crate.
fn depth(path: &str) -> usize {
    path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count()
}

/// Every path of a file from the top of the crate: `crate::a::b`, or as many `super::` as lead there.
fn crate_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for top in ["crate::".to_string(), "super::".repeat(depth)] {
        for at in find_words(code, &top) {
            spell_out(&code[at + top.len()..], "", &mut |path| paths.push((at, path)));
        }
    }
    paths
}

/// Expands `a::{b, c::{d}}` into `a::b`, `a::c::d`.
fn spell_out(rest: &str, prefix: &str, found: &mut dyn FnMut(String)) {
    let rest = rest.trim_start();
    let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..len]);
    if !(rest[len..].starts_with('{') && (path.is_empty() || path.ends_with("::"))) {
        return found(path.trim_end_matches(':').to_string());
    }
    let mut depth = 0_usize;
    let mut start = len + 1;
    for (at, c) in rest.char_indices().skip_while(|(at, _)| *at < len) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            if !rest[start..at].trim().is_empty() {
                spell_out(&rest[start..at], &path, found);
            }
            start = at + 1;
        }
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        findings(&Source::of(path, text))
    }

    #[test]
    fn a_forbidden_import_is_found_in_every_form() {
        for text in [
            "use crate::lane::Lane;",
            "use crate::{core::ids, lane::Lane};",
            "use crate::{\n    core::{ids, input},\n    lane,\n};",
            "fn f(l: &crate::lane::Lane) {}",
            "use super::super::lane::Lane;",
        ] {
            assert_eq!(found("src/workflow/ctx.rs", text).len(), 1, "{text}");
        }
        assert_eq!(found("src/workflow/ctx.rs", "use crate::core::{ids, input};"), [""; 0]);
    }

    #[test]
    fn a_path_in_a_comment_a_string_or_a_test_is_none() {
        let text = "// crate::lane::Lane\nconst A: &str = \"crate::lane\";\n#[cfg(test)]\nmod tests { use crate::lane::Lane; }";
        assert_eq!(found("src/workflow/ctx.rs", text), [""; 0]);
    }

    #[test]
    fn implementations_behind_traits_are_for_the_runtime_only() {
        let text = "use crate::log::kafka::KafkaLog;";
        assert_eq!(found("src/lane/run.rs", text).len(), 1);
        assert_eq!(found("src/lane/run.rs", "use crate::log::{Log, kafka::KafkaLog};").len(), 1);
        assert_eq!(found("src/runtime/app.rs", text), [""; 0]);
        assert_eq!(found("src/lane/run.rs", "use crate::log::Log;"), [""; 0]);
    }

    #[test]
    fn libraries_stay_in_their_module() {
        assert_eq!(found("src/lane/run.rs", "use rdkafka::Message;").len(), 1);
        assert_eq!(found("src/log/mod.rs", "use rdkafka::Message;").len(), 1);
        assert_eq!(found("src/log/kafka/log.rs", "use rdkafka::Message;"), [""; 0]);
        assert_eq!(found("src/store/memory.rs", "fn f(d: rocksdb::DB) {}").len(), 1);
        assert_eq!(found("src/store/rocks.rs", "use rocksdb::DB;"), [""; 0]);
    }

    #[test]
    fn core_is_pure() {
        for text in [
            "use std::time::{Duration, Instant};",
            "use std::time::SystemTime;",
            "let f = std::fs::read(p);",
            "tokio::spawn(x);",
            "use uuid::Uuid;",
        ] {
            assert_eq!(found("src/core/retry.rs", text).len(), 1, "{text}");
        }
        assert_eq!(found("src/core/retry.rs", "use std::time::Duration; let random = operand;"), [""; 0]);
    }

    #[test]
    fn a_module_without_a_row_is_found() {
        assert_eq!(found("src/misc/a.rs", "").len(), 1);
    }

    #[test]
    fn every_exception_is_about_modules_that_exist_and_has_a_reason() {
        for (from, to, why) in EXCEPTIONS {
            let to = to.split("::").next().unwrap();
            assert!(
                TABLE.iter().any(|r| r.module == *from) && TABLE.iter().any(|r| r.module == to),
                "{from} {to}"
            );
            assert!(!why.is_empty(), "{from} {to}");
        }
    }
}
