//! A long file is a missing noun, a long function a missing verb.

use crate::source::{Source, block_end, find_words};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Files and functions that are too long.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
    }
    for at in find_words(&source.code, "fn") {
        let rest = &source.code[at..];
        // A type such as `fn(A) -> B` has no name, a declaration in a trait no body.
        let named = rest[2..].trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_');
        let Some(brace) = body(rest) else { continue };
        let Some(end) = block_end(&source.code, at + brace) else { continue };
        let lines = source.line(end - 1) - source.line(at) + 1;
        if named && lines > FUNCTION_LINES_MAX {
            let name: String =
                rest[2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(format!(
                "{}: fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                source.place(at)
            ));
        }
    }
    found
}

/// Where the body of a function begins, if it has one. An array type `[u8; 4]` has a semicolon, but no end.
fn body(function: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in function.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function_of(lines: usize) -> String {
        format!("fn long(a: [u8; 4]) {{\n{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_found_and_named() {
        assert_eq!(findings(&Source::of("a.rs", &function_of(FUNCTION_LINES_MAX))), [""; 0]);
        let found = findings(&Source::of("a.rs", &function_of(FUNCTION_LINES_MAX + 1)));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("a.rs:1") && found[0].contains("long"), "{found:?}");
    }

    #[test]
    fn a_declaration_does_not_swallow_what_follows() {
        let text = format!("trait A {{ fn short(&self); }}\n{}", "struct B {}\n".repeat(100));
        assert_eq!(findings(&Source::of("a.rs", &text)), [""; 0]);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(findings(&Source::of("a.rs", &"//\n".repeat(FILE_LINES_MAX))), [""; 0]);
        assert_eq!(findings(&Source::of("a.rs", &"//\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
    }
}
