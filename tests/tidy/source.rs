//! Rust sources as text, with what is no code blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with Rust sources, from the top of the workspace.
pub(crate) const EVERYWHERE: &[&str] = &[
    "src",
    "tests",
    "broker/src",
    "broker/tests",
    "examples",
    "integration/src",
    "integration/tests",
    "simulator/src",
    "simulator/tests",
    "bench",
];

/// One file.
pub(crate) struct Source {
    /// From the top of the workspace, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Comments, strings and character literals are blank; as many lines as `text`.
    pub(crate) code: String,
    /// The same, and test modules are blank too.
    pub(crate) shipped: String,
}

/// The folder of the workspace. Asked of cargo when the test runs: a target folder may be shared by several clones.
pub(crate) fn top() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from)
}

impl Source {
    /// All Rust files in some folders; a folder that does not exist has none.
    pub(crate) fn all(folders: &[&str]) -> Vec<Source> {
        let top = top();
        let mut paths = Vec::new();
        for folder in folders {
            collect(&top.join(folder), &mut paths);
        }
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(&top).unwrap().to_string_lossy().replace('\\', "/");
            Source::of(&name, &fs::read_to_string(path).unwrap())
        };
        paths.iter().map(read).collect()
    }

    /// A file with this text.
    pub(crate) fn of(path: &str, text: &str) -> Source {
        let code = blank_comments_and_literals(text);
        let shipped = blank_test_modules(&code);
        Source { path: path.into(), text: text.into(), code, shipped }
    }

    /// The line of a byte of `code` or `shipped`.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// `path:line`, as editors understand it.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.line(at))
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where a word occurs as a whole.
pub(crate) fn find_words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let (before, after) = (at.checked_sub(1).map(|b| bytes[b]), bytes.get(at + word.len()).copied());
        let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
        let joined_before = before.is_some_and(is_word) && is_word(first);
        let joined_after = after.is_some_and(is_word) && is_word(last);
        !joined_before && !joined_after
    })
}

/// The end of the block whose `{` is the first at or after `from`: the place behind its `}`.
pub(crate) fn block_end(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn blank(out: &mut [u8], from: usize, to: usize) {
    for byte in &mut out[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn blank_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if let Some(end) = end {
            blank(&mut out, at, end.min(bytes.len()));
            at = end.max(at + 1);
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins here ends, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + comment_len(rest));
    }
    if rest[0] == b'"' {
        return Some(at + string_len(rest));
    }
    if starts_word && matches!(rest[0], b'r' | b'b' | b'c') {
        let prefix = rest.iter().take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
        let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
        if prefix <= 2 && rest.get(prefix + hashes) == Some(&b'"') {
            let raw = rest[..prefix].contains(&b'r');
            let body = prefix + hashes;
            return Some(
                at + body + if raw { raw_len(&rest[body..], hashes) } else { string_len(&rest[body..]) },
            );
        }
        return None;
    }
    if rest[0] == b'\'' { char_len(rest).map(|len| at + len) } else { None }
}

fn comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_len(rest: &[u8], hashes: usize) -> usize {
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    rest[1..].windows(end.len()).position(|w| w == end).map_or(rest.len(), |p| 1 + p + end.len())
}

/// A character literal, but not a lifetime.
fn char_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return rest[3..].iter().position(|b| *b == b'\'').map(|p| p + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)]);
    let first = match text {
        Ok(text) => text.chars().next(),
        Err(error) => std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).ok()?.chars().next(),
    }?;
    let len = 1 + first.len_utf8();
    (rest.get(len) == Some(&b'\'')).then_some(len + 1)
}

fn blank_test_modules(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let after = code[at..].trim_start_matches("#[cfg(test)]");
        let skipped = code[at..].len() - after.len();
        let semicolon = after.find(';').unwrap_or(usize::MAX);
        let brace = after.find('{').unwrap_or(usize::MAX);
        let end = if semicolon < brace {
            Some(at + skipped + semicolon + 1)
        } else {
            block_end(code, at + skipped)
        };
        blank(&mut out, at, end.unwrap_or(code.len()));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn what_is_no_code_is_blanked_and_lines_stay() {
    let text = "let a = \"std::fs\"; // std::net\nlet b = 'x'; let c: &'static str = r#\"\"std::env\"\"#;\n/* std\n /* */ ::fs */ d(b'\\'', '\"', '{');\n";
    let source = Source::of("x.rs", text);
    assert!(!source.code.contains("std") && !source.code.contains('{'), "{}", source.code);
    assert!(source.code.contains("let c: &'static str ="), "{}", source.code);
    assert!(source.code.contains(" d(b"), "{}", source.code);
    assert_eq!(source.code.matches('\n').count(), text.matches('\n').count());
}

#[test]
fn test_modules_are_not_shipped_and_what_follows_them_is() {
    let source =
        Source::of("x.rs", "#[cfg(test)]\nmod tests { fn a() {} }\n#[cfg(test)]\nmod more;\nfn b() {}\n");
    assert!(!source.shipped.contains("fn a"), "{}", source.shipped);
    assert!(source.shipped.contains("fn b"), "{}", source.shipped);
    assert!(source.code.contains("fn a"));
}
