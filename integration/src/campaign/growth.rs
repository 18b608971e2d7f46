//! Whether anything grows with a run: memory of all processes, and the folders of state and of Kafka, looked at each minute.
//!
//! A run is held against itself, its first third against its last, and begins for this when the first deck of faults is over:
//! in it a million timers were started, which everybody had room for once. A process of ours must not outgrow that. Folders
//! do grow, as an ended instance is kept for good; they are shown beside the number of those.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);
/// With so many, every other one is forgotten and half as many are taken: a run may last for days.
const SAMPLES_MAX: usize = 512;
/// Fewer prove nothing: each third has three then.
const JUDGED_MIN: usize = 9;
/// A process of ours may have so many times as much in the last third as in the first, and so many MB on top: workers are
/// killed and start small, caches fill, and what is sought has no bound.
const FACTOR_MAX: f64 = 2.0;
const SLACK_MB: f64 = 100.0;

/// What is looked at.
#[derive(Debug, Clone)]
pub enum Place {
    /// Memory of a process of ours. It has a bound.
    Ours(u32),
    /// Memory of a process of Kafka's.
    Kafkas(u32),
    /// A folder of state. It grows with what has ended.
    State(PathBuf),
    /// A folder of Kafka's data. So does that.
    Data(PathBuf),
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    mb: f64,
    /// Instances that had ended then.
    ended: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bounded,
    Shown,
    PerInstance,
}

struct Series {
    kind: Kind,
    samples: Vec<Sample>,
}

/// What was seen, by what it is of.
pub struct Growth {
    series: BTreeMap<String, Series>,
    every: Duration,
    last: Instant,
    has_begun: bool,
}

impl Default for Growth {
    fn default() -> Self {
        Growth { series: BTreeMap::new(), every: EVERY, last: Instant::now(), has_begun: false }
    }
}

impl Growth {
    /// Whether it is time to look.
    pub fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }

    /// The first deck is over: what was seen before is forgotten.
    pub fn begin(&mut self) {
        self.series.clear();
        self.has_begun = true;
    }

    /// Looks at these places, by their names, when so many instances have ended.
    pub fn look(&mut self, places: Vec<(String, Place)>, ended: u64) {
        self.last = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "far below what a double holds")]
        let ended = ended as f64;
        for (name, place) in places {
            let (kind, what, mb) = match place {
                Place::Ours(id) => (Kind::Bounded, "resident memory", resident_mb(id)),
                Place::Kafkas(id) => (Kind::Shown, "resident memory", resident_mb(id)),
                Place::State(path) => (Kind::PerInstance, "state folder", Some(folder_mb(&path))),
                Place::Data(path) => (Kind::PerInstance, "data folder", Some(folder_mb(&path))),
            };
            if let Some(mb) = mb {
                let series = self.series.entry(format!("{what} of {name}"));
                let series = series.or_insert(Series { kind, samples: Vec::new() });
                series.samples.push(Sample { mb, ended });
            }
        }
        if self.series.values().any(|series| series.samples.len() >= SAMPLES_MAX) {
            self.thin();
        }
    }

    fn thin(&mut self) {
        self.every *= 2;
        for Series { samples, .. } in self.series.values_mut() {
            *samples = samples.iter().copied().step_by(2).collect();
        }
    }

    /// For each the mean and the most of the first third and of the last, in MB. Nothing after fewer than three looks.
    pub fn thirds(&self) -> Vec<(String, String)> {
        let all = self.series.iter();
        all.filter_map(|(what, s)| {
            Some((format!("{what}, first third and last"), Thirds::of(&s.samples)?.text(s.kind)))
        })
        .collect()
    }

    /// Whether there is enough to say that nothing of ours grows.
    pub fn is_judged(&self) -> bool {
        self.has_begun && self.series.values().any(Series::is_judged)
    }

    /// What of ours has grown too much.
    pub fn outgrown(&self) -> Vec<String> {
        let all = self.series.iter().filter(|(_, series)| self.has_begun && series.is_judged());
        all.filter_map(|(what, s)| Some((what, Thirds::of(&s.samples)?)))
            .filter(|(_, thirds)| thirds.have_outgrown())
            .map(|(what, thirds)| {
                format!(
                    "the {what} grew by more than {FACTOR_MAX} times and {SLACK_MB} MB: {}",
                    thirds.means()
                )
            })
            .collect()
    }
}

impl Series {
    fn is_judged(&self) -> bool {
        self.kind == Kind::Bounded && self.samples.len() >= JUDGED_MIN
    }
}

/// One third of the samples.
struct Third {
    mean_mb: f64,
    most_mb: f64,
    /// At the mean as well.
    ended: f64,
}

impl Third {
    fn of(samples: &[Sample]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most some hundred samples")]
        let mean = |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / samples.len() as f64;
        let most_mb = samples.iter().map(|s| s.mb).fold(0.0, f64::max);
        Third { mean_mb: mean(|s| s.mb), most_mb, ended: mean(|s| s.ended) }
    }
}

struct Thirds {
    first: Third,
    last: Third,
}

impl Thirds {
    fn of(samples: &[Sample]) -> Option<Self> {
        let third = samples.len() / 3;
        let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
        (third > 0).then(|| Thirds { first: Third::of(first), last: Third::of(last) })
    }

    fn have_outgrown(&self) -> bool {
        self.last.mean_mb > FACTOR_MAX * self.first.mean_mb + SLACK_MB
    }

    fn means(&self) -> String {
        format!("{:.0} MB in the first third, {:.0} MB in the last", self.first.mean_mb, self.last.mean_mb)
    }

    fn text(&self, kind: Kind) -> String {
        let [first, last] = [&self.first, &self.last]
            .map(|third| format!("{:.0} MB (at most {:.0})", third.mean_mb, third.most_mb));
        let ended = self.last.ended - self.first.ended;
        if kind != Kind::PerInstance || ended <= 0.0 {
            return format!("{first}; {last}");
        }
        let bytes = (self.last.mean_mb - self.first.mean_mb) * 1e6 / ended;
        format!("{first}; {last}; {bytes:.0} bytes for each of {ended:.0} instances that ended between")
    }
}

/// Memory that a process has resident. Nothing, if it is gone.
fn resident_mb(process: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kb = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_ascii_whitespace().next()?;
    Some(kb.parse::<f64>().ok()? / 1024.0)
}

/// Files that vanish meanwhile, as a store's do, have no size.
fn folder_mb(folder: &Path) -> f64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0.0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_mb(&entry.path()),
        #[expect(clippy::cast_precision_loss, reason = "shown in whole megabytes")]
        Ok(meta) => meta.len() as f64 / 1e6,
        Err(_) => 0.0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(mb: &[f64]) -> Vec<Sample> {
        mb.iter().zip(0_u8..).map(|(mb, at)| Sample { mb: *mb, ended: 1e6 * f64::from(at) }).collect()
    }

    fn grown(mb: &[f64], kind: Kind) -> Growth {
        let mut growth = Growth::default();
        growth.begin();
        growth.series.insert("it".into(), Series { kind, samples: samples(mb) });
        growth
    }

    #[test]
    fn the_first_third_is_held_against_the_last() {
        let text = |kind| Thirds::of(&samples(&[1.0, 3.0, 9.0, 9.0, 5.0, 7.0])).map(|t| t.text(kind));
        assert_eq!(text(Kind::Shown).as_deref(), Some("2 MB (at most 3); 6 MB (at most 7)"));
        let with =
            "2 MB (at most 3); 6 MB (at most 7); 1 bytes for each of 4000000 instances that ended between";
        assert_eq!(text(Kind::PerInstance).as_deref(), Some(with));
        assert!(Thirds::of(&samples(&[1.0, 2.0])).is_none());
    }

    #[test]
    fn only_a_process_of_ours_that_has_grown_beyond_its_slack_is_named() {
        let (flat, steep) =
            ([[50.0; 6].as_slice(), &[199.0; 3]].concat(), [[50.0; 6].as_slice(), &[201.0; 3]].concat());
        assert_eq!(grown(&flat, Kind::Bounded).outgrown(), [""; 0]);
        assert_eq!(grown(&steep, Kind::Bounded).outgrown().len(), 1);
        assert_eq!(grown(&steep, Kind::Shown).outgrown(), [""; 0]);
        assert_eq!(grown(&steep, Kind::PerInstance).outgrown(), [""; 0]);
        let short = grown(&steep[1..], Kind::Bounded);
        assert!(!short.is_judged() && short.outgrown().is_empty());
        assert!(grown(&steep, Kind::Bounded).is_judged() && !grown(&steep, Kind::Shown).is_judged());
    }

    #[test]
    fn the_first_deck_is_not_compared() {
        let mut growth = grown(&[1.0; 9], Kind::Bounded);
        growth.has_begun = false;
        assert!(!growth.is_judged());
        growth.begin();
        assert!(growth.thirds().is_empty());
    }

    #[test]
    fn samples_have_a_bound_and_this_process_has_a_size() {
        let mut growth = Growth::default();
        for _ in 0..2 * SAMPLES_MAX {
            growth.look(vec![("me".into(), Place::Ours(std::process::id()))], 0);
        }
        let small = |series: &Series| series.samples.len() < SAMPLES_MAX && series.samples[0].mb > 1.0;
        assert!(growth.series.values().all(small));
        assert!(growth.every > EVERY);
    }
}
