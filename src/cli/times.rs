//! Times and lengths as a person says them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `0.31s`, `42s`, `3m 5s`, `2h 10m`, `3d 4h`.
pub(super) fn length(ms: u64) -> String {
    let (s, m, h, d) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    if ms < 10_000 {
        return format!("{}.{:02}s", s, ms % 1_000 / 10);
    }
    let two = |a: u64, a_unit: &str, b: u64, b_unit: &str| {
        if b == 0 { format!("{a}{a_unit}") } else { format!("{a}{a_unit} {b}{b_unit}") }
    };
    match () {
        () if m == 0 => format!("{s}s"),
        () if h == 0 => two(m, "m", s % 60, "s"),
        () if d == 0 => two(h, "h", m % 60, "m"),
        () => two(d, "d", h % 24, "h"),
    }
}

/// A zone, and how to say which.
pub(super) struct Zone(TimeZone);

impl Zone {
    /// The machine's; UTC if it does not say.
    pub(super) fn local() -> Self {
        Zone(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }
    #[cfg(test)]
    pub(super) fn utc() -> Self {
        Zone(TimeZone::UTC)
    }
    pub(super) fn name(&self) -> &str {
        match self.0.iana_name() {
            Some("Etc/UTC" | "Etc/UCT" | "UCT" | "Zulu") => "UTC",
            Some(name) => name,
            None => "local time",
        }
    }
    /// `2026-11-21 12:03:11`.
    pub(super) fn date_time(&self, ms: u64) -> String {
        self.format(ms, "%F %T")
    }
    /// `2026-11-21`.
    pub(super) fn date(&self, ms: u64) -> String {
        self.format(ms, "%F")
    }
    /// `12:03:11`.
    pub(super) fn time(&self, ms: u64) -> String {
        self.format(ms, "%T")
    }
    fn format(&self, ms: u64, how: &str) -> String {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map_or_else(|| format!("{ms} ms"), |at| at.to_zoned(self.0.clone()).strftime(how).to_string())
    }
}

/// Now, in milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}
