//! An error that an operator can act on has a code, and a page that says how.

use crate::source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const PREFIX: &str = "SAKIA-";

/// The pages of `docs/errors/`: name without extension, and text.
pub(crate) fn pages() -> BTreeMap<String, String> {
    let folder = crate::source::top().join("docs/errors");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .map(|path| {
            (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Codes without a page, pages without a code, pages that do not say what to do.
pub(crate) fn findings(sources: &[Source], pages: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut codes = BTreeSet::new();
    for source in sources {
        for (at, code) in codes_in(&source.text) {
            if !pages.contains_key(&code) && codes.insert(code.clone()) {
                let line = source.text[..at].matches('\n').count() + 1;
                found.push(format!("{}:{line}: {code} has no page docs/errors/{code}.md", source.path));
            }
            codes.insert(code);
        }
    }
    for (name, text) in pages {
        if !codes.contains(name) {
            found.push(format!("docs/errors/{name}.md: no source mentions the code {name}"));
        }
        if !text.starts_with(&format!("# {name}: ")) {
            found.push(format!("docs/errors/{name}.md: its title must begin with the code"));
        }
        for part in ["**What happened.**", "**Why.**", "**What to do.**"] {
            if !text.contains(part) {
                found.push(format!("docs/errors/{name}.md: there is no \"{part}\""));
            }
        }
    }
    found
}

/// Codes such as `…-P01`: a letter and two digits behind the prefix.
fn codes_in(text: &str) -> Vec<(usize, String)> {
    text.match_indices(PREFIX)
        .filter_map(|(at, _)| {
            let rest = &text.as_bytes()[at + PREFIX.len()..];
            let fits = rest.len() >= 3
                && rest[0].is_ascii_uppercase()
                && rest[1..3].iter().all(u8::is_ascii_digit)
                && !rest.get(3).is_some_and(u8::is_ascii_alphanumeric);
            fits.then(|| (at, text[at..at + PREFIX.len() + 3].to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(code: &str) -> (String, String) {
        (code.into(), format!("# {code}: x\n\n**What happened.** a\n\n**Why.** b\n\n**What to do.** c\n"))
    }

    fn found(text: &str, pages: &[(String, String)]) -> Vec<String> {
        findings(&[Source::of("src/a.rs", text)], &pages.iter().cloned().collect())
    }

    #[test]
    fn a_code_without_a_page_and_a_page_without_a_code_are_found() {
        let text = "/// SAKIA-Q01: a.\nlet code = \"SAKIA-Q01\";";
        assert_eq!(found(text, &[page("SAKIA-Q01")]), [""; 0]);
        assert_eq!(found(text, &[]).len(), 1);
        assert_eq!(found("", &[page("SAKIA-Q01")]).len(), 1);
    }

    #[test]
    fn a_page_that_does_not_say_what_to_do_is_found() {
        let (code, text) = page("SAKIA-Q01");
        assert_eq!(found("SAKIA-Q01", &[(code.clone(), text.replace("**What to do.**", ""))]).len(), 1);
        assert_eq!(found("SAKIA-Q01", &[(code, text.replace("# SAKIA-Q01", "# Oops"))]).len(), 1);
    }

    #[test]
    fn only_whole_codes_count() {
        let codes = codes_in("SAKIA-Q01, SAKIA-Q012, SAKIA-xNN, SAKIA-Q1");
        assert_eq!(codes.iter().map(|(_, code)| code.as_str()).collect::<Vec<_>>(), ["SAKIA-Q01"]);
    }
}
