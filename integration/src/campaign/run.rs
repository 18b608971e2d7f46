//! One run from the first process to the verdict.

use super::audit::Audit;
use super::commands::Follower;
use super::faults::Faults;
use super::ledger::{Ledger, Wrong};
use super::lock::lock;
use super::options::Options;
use super::recompute::{Compared, compare};
use super::scenarios::{self, Scenario};
use super::stage::Stage;
use super::verdict::{Ended, Verdict};
use super::worker::{PANICKED, PARKED, STOPPED};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After healing, everything ends within this.
const RECOVERY: Duration = Duration::from_secs(120);
const AUDIT_EVERY: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Group offsets are committed once a second and when a worker ends; markers of the last transactions take a moment.
const LOOSE_ENDS: Duration = Duration::from_secs(30);

/// Runs a campaign and says what came of it.
pub fn run(options: &Options, seed: u64) -> Result<Verdict> {
    let folder = folder(options, seed)?;
    println!("campaign: seed {seed}, {} min, log in {}", options.minutes, folder.display());
    let chosen = choose(options)?;
    let mut stage = Stage::set(options, &folder, seed)?;
    let (readers, load, done) = (stage.audits()?, stage.load.clone(), AtomicBool::new(false));
    let mut follower = stage.follower()?;
    let began = Instant::now();
    let (mut skipped, mut audited) = (Vec::new(), 0);
    let outcome = std::thread::scope(|scope| -> Result<()> {
        let loader = scope.spawn(|| load.run(seed.wrapping_add(1)));
        let audits: Vec<_> = readers.iter().map(|reader| scope.spawn(|| follow(reader, &done))).collect();
        let commands = scope.spawn(|| follow_commands(&mut follower, &done));
        let played = play(&mut stage, &chosen, &mut skipped);
        load.end();
        let ended = played.and_then(|()| loader_ended(loader)).and_then(|()| settle(&mut stage));
        done.store(true, Ordering::SeqCst);
        for audit in audits {
            audited += audit.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        }
        commands.join().map_err(|_| anyhow::anyhow!("the reader of the commands panicked"))??;
        ended
    });
    if let Err(error) = &outcome {
        stage.faults.note(&format!("the run was cut short: {error:#}"));
        eprintln!("campaign: cut short: {error:#}");
    }
    // The last tokens, which came while the last commands were read.
    follower.follow(Duration::ZERO);
    judge_suspicions(&stage, &follower);
    let compared = recompute(&mut stage, &follower, outcome.is_ok(), &mut skipped);
    // With that of the process that was restored for the comparison.
    accuse_by_logs(&stage);
    let ended = Ended { length: began.elapsed(), audited, compared, skipped, cut_short: outcome.err() };
    let verdict = Verdict::of(&stage, seed, &chosen, ended);
    std::fs::write(folder.join("figures.md"), verdict.markdown())?;
    Ok(verdict)
}

/// Looks at the input of what is suspicious.
fn judge_suspicions(stage: &Stage, follower: &Follower) {
    let doubled = &follower.model.doubled;
    let mut ledger = lock(&stage.ledger);
    ledger.doubled_inputs = doubled.len() as u64;
    for suspicion in std::mem::take(&mut ledger.suspicions) {
        if !doubled.contains(&suspicion.key) {
            ledger.accuse(suspicion.wrong, &suspicion.what);
        }
    }
}

/// Compares the stores with the model, if that has seen everything and everything has ended. Says why not.
fn recompute(
    stage: &mut Stage,
    follower: &Follower,
    settled: bool,
    inconclusive: &mut Vec<String>,
) -> Compared {
    inconclusive
        .extend(follower.missed.iter().take(1).map(|why| format!("the model has missed commands: {why}")));
    let open = lock(&stage.ledger).open();
    if !settled || open > 0 {
        inconclusive.push("the stores were not compared with the model: not everything has ended".into());
    }
    if !settled || open > 0 || !follower.missed.is_empty() {
        return Compared::default();
    }
    compare(stage, follower).unwrap_or_else(|error| {
        inconclusive.push(format!("the stores could not be compared with the model: {error:#}"));
        Compared::default()
    })
}

/// What the workers themselves say is wrong.
fn accuse_by_logs(stage: &Stage) {
    let paths = stage.faults.paths();
    let marks = [(STOPPED, Wrong::Torn), (PARKED, Wrong::Stuck), (PANICKED, Wrong::Stuck)];
    for (mark, wrong) in marks {
        if let Some(times) = paths.get(mark) {
            lock(&stage.ledger).accuse(wrong, &format!("the workers' logs say {times} times: {mark}"));
        }
    }
}

fn folder(options: &Options, seed: u64) -> Result<PathBuf> {
    let folder = match &options.folder {
        Some(folder) => folder.clone(),
        None => {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
            cache
                .or_else(home)
                .context("neither XDG_CACHE_HOME nor HOME is set: use --folder")?
                .join("sakia/campaign")
        }
    };
    let folder = folder.join(format!("seed-{seed}"));
    // What an earlier run of this seed left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn choose(options: &Options) -> Result<Vec<&'static Scenario>> {
    if options.scenario.is_empty() {
        return Ok(scenarios::ALL.iter().filter(|s| options.is_long() || !s.is_long()).copied().collect());
    }
    let find = |name: &String| scenarios::ALL.iter().find(|s| s.name == name).copied();
    options.scenario.iter().map(|n| find(n).with_context(|| format!("no scenario {n}: see --list"))).collect()
}

fn loader_ended(loader: std::thread::ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    match loader.join() {
        Ok(result) => result.context("the load"),
        Err(_) => bail!("the load panicked"),
    }
}

fn follow(reader: &Audit, done: &AtomicBool) -> Result<u64> {
    let (mut audited, mut last) = (0, Instant::now());
    while !done.load(Ordering::SeqCst) {
        reader.follow(POLL);
        if last.elapsed() > AUDIT_EVERY {
            audited += reader.audit()?;
            last = Instant::now();
        }
    }
    // What came while the last checks were made: nothing may.
    for _ in 0..50 {
        reader.follow(POLL);
    }
    Ok(audited + reader.audit()?)
}

fn follow_commands(follower: &mut Follower, done: &AtomicBool) -> Result<()> {
    while !done.load(Ordering::SeqCst) {
        follower.follow(POLL);
    }
    follower.catch_up()
}

/// Plays decks of scenarios until the time is over, and each scenario at least once however short that is.
fn play(stage: &mut Stage, chosen: &[&'static Scenario], skipped: &mut Vec<String>) -> Result<()> {
    let began = Instant::now();
    let mut length = Duration::from_secs_f64(stage.options.minutes * 60.0);
    let mut playable = Vec::new();
    for scenario in chosen {
        match (scenario.missing)(stage) {
            None => playable.push(*scenario),
            Some(why) => skipped.push(format!("{}: {why}", scenario.name)),
        }
    }
    if playable.is_empty() {
        bail!("no scenario can be played: {}", skipped.join("; "));
    }
    // The first lanes are taken over and the first jobs end before the first fault.
    let first = |stage: &mut Stage| lock(&stage.ledger).workflows() > 0;
    if !stage.pass_until(RECOVERY, first)? {
        bail!("no workflow ended within {RECOVERY:?}");
    }
    let mut first = true;
    loop {
        let deck = scenarios::deck(stage, &playable, first);
        let must = std::mem::take(&mut first);
        if deck.is_empty() {
            return Ok(());
        }
        for scenario in deck {
            if !must && began.elapsed() >= length {
                return Ok(());
            }
            progress(&stage.faults, &lock(&stage.ledger), scenario.name);
            let before = began.elapsed();
            (scenario.play)(stage).with_context(|| scenario.name)?;
            if scenario.is_long() {
                length += began.elapsed() - before;
            }
        }
        if must {
            play_again(stage, &playable)?;
            stage.growth.begin();
        }
    }
}

/// On a busy machine a rule may strike nobody in its few seconds: what made none of its faults gets a second chance.
fn play_again(stage: &mut Stage, playable: &[&'static Scenario]) -> Result<()> {
    let counts = stage.faults.counts();
    let is_idle = |s: &&&Scenario| s.kinds.iter().any(|kind| !counts.contains_key(*kind));
    for scenario in playable.iter().filter(is_idle) {
        progress(&stage.faults, &lock(&stage.ledger), scenario.name);
        (scenario.play)(stage).with_context(|| scenario.name)?;
    }
    Ok(())
}

fn progress(faults: &Faults, ledger: &Ledger, next: &str) {
    let made: u64 = faults.counts().values().sum();
    let (ended, fired, open) = (ledger.workflows(), ledger.alarms_fired(), ledger.open());
    let at_s = faults.at_s();
    println!(
        "{at_s:8.1} s  {ended} workflows ended, {fired} alarms fired, {open} open, {made} faults; {next}"
    );
}

/// Heals, waits until everything has ended, ends the workers, and looks for what is left.
fn settle(stage: &mut Stage) -> Result<()> {
    stage.heal()?;
    stage.load.settle()?;
    let ended = stage.pass_until(RECOVERY, |stage| lock(&stage.ledger).open() == 0)?;
    if !ended {
        let mut ledger = lock(&stage.ledger);
        let open = ledger.list_open(10);
        let what = format!(
            "{} things have not ended {RECOVERY:?} after healing: {}",
            ledger.open(),
            open.join("; ")
        );
        ledger.accuse(Wrong::Stuck, &what);
    }
    lock(&stage.ledger).check_bank();
    stage.stop_workers()?;
    stage.note_trimmed()?;
    let mut ends = Vec::new();
    let began = Instant::now();
    while began.elapsed() < LOOSE_ENDS {
        ends = stage.loose_ends()?;
        if ends.is_empty() {
            return Ok(());
        }
    }
    for end in ends {
        lock(&stage.ledger).accuse(Wrong::Stuck, &end);
    }
    Ok(())
}
