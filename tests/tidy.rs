//! The house rules, as tests. CONTRIBUTING.md gives their reasons.
//!
//! Reads the sources as text: comments, strings and (where it says so) test modules are blanked out first, line by
//! line, so that a finding names the right line. Every rule has a test that shows it fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

#[path = "tidy/errors.rs"]
mod errors;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/leftovers.rs"]
mod leftovers;
#[path = "tidy/size.rs"]
mod size;
#[path = "tidy/source.rs"]
mod source;

use source::Source;

/// Fails with all findings, not only the first.
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} finding(s):\n  {}", findings.len(), findings.join("\n  "));
}

#[test]
fn modules_import_only_what_their_row_of_the_table_allows() {
    none(Source::all(&["src"]).iter().flat_map(imports::findings).collect());
}

#[test]
fn files_and_functions_are_short() {
    none(Source::all(source::EVERYWHERE).iter().flat_map(size::findings).collect());
}

#[test]
fn nothing_is_left_over() {
    none(Source::all(source::EVERYWHERE).iter().flat_map(leftovers::findings).collect());
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    none(errors::findings(&Source::all(&["src", "broker/src"]), &errors::pages()));
}

#[test]
fn every_header_of_ours_is_on_the_page_of_public_records() {
    let page = std::fs::read_to_string(source::top().join("schemas/topics.md")).unwrap();
    let names = std::fs::read_to_string(source::top().join("src/codec/headers.rs")).unwrap();
    let names: Vec<&str> = names.split('"').filter(|name| name.starts_with("sakia-")).collect();
    assert!(names.len() > 10, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "schemas/topics.md does not mention {missing:?}");
}
