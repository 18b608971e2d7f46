//! Whether anything grows with a run: memory of all processes and the state folders, looked at each minute.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);
/// With so many, every other one is forgotten and half as many are taken: a run may last for days.
const SAMPLES_MAX: usize = 512;

/// What was seen, by what it is of.
pub struct Growth {
    samples: BTreeMap<String, Vec<f64>>,
    every: Duration,
    last: Instant,
}

impl Default for Growth {
    fn default() -> Self {
        Growth { samples: BTreeMap::new(), every: EVERY, last: Instant::now() }
    }
}

impl Growth {
    /// Whether it is time to look.
    pub fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }

    /// Looks: at these processes by their name, and at these folders.
    pub fn look<'a>(
        &mut self,
        processes: &[(String, u32)],
        folders: impl Iterator<Item = (String, &'a Path)>,
    ) {
        self.last = Instant::now();
        for (name, id) in processes {
            if let Some(mb) = resident_mb(*id) {
                self.add(format!("resident memory of {name}"), mb);
            }
        }
        for (name, path) in folders {
            self.add(format!("state folder of {name}"), folder_mb(path));
        }
        if self.samples.values().any(|all| all.len() >= SAMPLES_MAX) {
            self.thin();
        }
    }

    fn add(&mut self, what: String, mb: f64) {
        self.samples.entry(what).or_default().push(mb);
    }

    fn thin(&mut self) {
        self.every *= 2;
        for all in self.samples.values_mut() {
            *all = all.iter().copied().step_by(2).collect();
        }
    }

    /// For each the mean and the most of the first third and of the last, in MB. Nothing after fewer than three looks.
    pub fn thirds(&self) -> Vec<(String, String)> {
        let shown = self.samples.iter().filter(|(_, all)| all.len() >= 3);
        shown.map(|(what, all)| (format!("{what}, first third and last"), thirds_of(all))).collect()
    }
}

fn thirds_of(all: &[f64]) -> String {
    let third = all.len() / 3;
    let [first, last] = [&all[..third], &all[all.len() - third..]].map(|part| {
        let most = part.iter().copied().fold(0.0, f64::max);
        #[expect(clippy::cast_precision_loss, reason = "at most some hundred samples")]
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        format!("{mean:.0} MB (at most {most:.0})")
    });
    format!("{first}; {last}")
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

    #[test]
    fn the_first_third_is_held_against_the_last() {
        assert_eq!(thirds_of(&[1.0, 3.0, 9.0, 9.0, 5.0, 7.0]), "2 MB (at most 3); 6 MB (at most 7)");
    }

    #[test]
    fn samples_have_a_bound_and_this_process_has_a_size() {
        let mut growth = Growth::default();
        let me = [("me".to_string(), std::process::id())];
        for _ in 0..2 * SAMPLES_MAX {
            growth.look(&me, std::iter::empty());
        }
        assert!(growth.samples.values().all(|all| all.len() < SAMPLES_MAX && all[0] > 1.0));
        assert!(growth.every > EVERY);
    }
}
