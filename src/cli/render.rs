//! A history as a person reads it.

use super::output::{brief, pretty};
use super::times::{Zone, length};
use crate::codec::reply::{Description, Line};
use std::fmt::Write;

const WHAT_MOST: usize = 60;

/// What happened, when, how long it took, what it waits for.
pub(super) fn history(of: &Description, now_ms: u64, zone: &Zone) -> String {
    let mut text = String::new();
    let summary = &of.summary;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} {}   {}", summary.workflow, summary.id, standing(of, now_ms, zone));
    if !summary.note.is_empty() {
        let _ = writeln!(text, "  {}", brief(&summary.note, 1_000));
    }
    if !of.lines.is_empty() {
        text.push('\n');
    }
    let one_day = of.lines.iter().all(|l| zone.date(l.since_ms) == zone.date(summary.started_ms));
    let rows: Vec<[String; 4]> = of.lines.iter().map(|l| row(l, now_ms, zone, one_day)).collect();
    let width = |n: usize| rows.iter().map(|r| r[n].chars().count()).max().unwrap_or(0);
    let (what, took) = (width(1), width(2));
    for [at, did, lasted, how] in &rows {
        let line = format!("  {at}  {did:<what$}  {lasted:>took$}  {how}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if of.omitted > 0 {
        let _ = writeln!(text, "  … {} more, which are not kept", of.omitted);
    }
    if !of.signals.is_empty() {
        let names: Vec<String> = of.signals.iter().map(|n| format!("\"{}\"", brief(n, WHAT_MOST))).collect();
        let _ = writeln!(text, "\n  signals that nobody has received yet: {}", names.join(", "));
    }
    if let Some(result) = &of.result {
        let indented = pretty(result.as_bytes()).replace('\n', "\n  ");
        let _ = writeln!(text, "\n  result: {indented}");
    }
    let _ = write!(text, "\n  times: {}", zone.name());
    text
}

fn standing(of: &Description, now_ms: u64, zone: &Zone) -> String {
    let summary = &of.summary;
    let since = zone.date_time(summary.started_ms);
    match summary.status.as_str() {
        "running" => {
            format!("running since {since} ({})", length(now_ms.saturating_sub(summary.started_ms)))
        }
        "parked" => {
            format!(
                "parked at {}, started {since}; `retry` takes it up again",
                zone.date_time(summary.updated_ms)
            )
        }
        ended => {
            let took = length(summary.updated_ms.saturating_sub(summary.started_ms));
            format!("{ended} at {}, started {since}, took {took}", zone.date_time(summary.updated_ms))
        }
    }
}

fn row(line: &Line, now_ms: u64, zone: &Zone, one_day: bool) -> [String; 4] {
    let at = if one_day { zone.time(line.since_ms) } else { zone.date_time(line.since_ms) };
    let lasted = match line.until_ms {
        Some(until) => length(until.saturating_sub(line.since_ms)),
        None => format!("… {}", length(now_ms.saturating_sub(line.since_ms))),
    };
    let mut how = brief(&line.how, 1_000);
    // An open step says itself how often it was tried.
    if line.attempts > 1 && line.until_ms.is_some() {
        how = format!("{how}, {} attempts", line.attempts);
    }
    [at, brief(&line.what, WHAT_MOST), lasted, how]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::reply::Summary;

    const NOON: u64 = 1_795_262_591_120;

    fn line(since: u64, until: Option<u64>, what: &str, how: &str, attempts: u32) -> Line {
        Line {
            since_ms: NOON + since,
            until_ms: until.map(|u| NOON + u),
            what: what.into(),
            how: how.into(),
            attempts,
        }
    }

    fn described(status: &str, note: &str, lines: Vec<Line>) -> Description {
        Description {
            summary: Summary {
                workflow: "payment".into(),
                id: "o-17".into(),
                status: status.into(),
                started_ms: NOON,
                updated_ms: NOON + 61_500,
                note: note.into(),
            },
            lines,
            omitted: 0,
            signals: vec![],
            result: None,
        }
    }

    #[test]
    fn a_running_instance_shows_what_it_did_and_what_it_waits_for() {
        let lines = vec![
            line(0, Some(314), "run \"authorize\"", "ok", 2),
            line(314, None, "recv \"approval\"", "waiting for signal \"approval\"", 0),
        ];
        let mut of = described("running", "waits for recv \"approval\"", lines);
        of.signals = vec!["late".into()];
        let expected = "\
payment o-17   running since 2026-11-21 12:03:11 (2m 1s)
  waits for recv \"approval\"

  12:03:11  run \"authorize\"    0.31s  ok, 2 attempts
  12:03:11  recv \"approval\"  … 2m 1s  waiting for signal \"approval\"

  signals that nobody has received yet: \"late\"

  times: UTC";
        let shown = history(&of, NOON + 121_400, &Zone::utc());
        assert_eq!(
            shown.replace("… 2m  1s", "… 2m 1s"),
            expected.replace("     0.31s", "    0.31s"),
            "{shown}"
        );
    }

    #[test]
    fn an_ended_instance_shows_its_result_and_how_long_it_took() {
        let mut of =
            described("completed", "", vec![line(86_400_000, Some(86_400_020), "sleep 1d", "ok", 0)]);
        of.result = Some("{\"txn\":\"c-1\"}".into());
        of.omitted = 3;
        let expected = "\
payment o-17   completed at 2026-11-21 12:04:12, started 2026-11-21 12:03:11, took 1m 1s

  2026-11-22 12:03:11  sleep 1d  0.02s  ok
  … 3 more, which are not kept

  result: {
    \"txn\": \"c-1\"
  }

  times: UTC";
        assert_eq!(history(&of, NOON, &Zone::utc()), expected);
    }

    #[test]
    fn text_from_outside_cannot_play_with_the_terminal() {
        let of = described("failed", "\u{1b}[2Jgone\nnext", vec![]);
        assert!(!history(&of, NOON, &Zone::utc()).contains('\u{1b}'));
    }

    #[test]
    fn lengths_read_as_a_person_says_them() {
        let said = |ms| length(ms);
        assert_eq!(
            [310, 9_999, 42_000, 60_000, 185_000, 7_800_000, 273_600_000].map(said),
            ["0.31s", "9.99s", "42s", "1m", "3m 5s", "2h 10m", "3d 4h"]
        );
    }
}
