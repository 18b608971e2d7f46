//! Runs simulations by hand.

fn main() {
    let seed: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let n: u64 = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(1);
    for seed in seed..seed + n {
        let report = sakia_simulator::run(seed);
        if n == 1 {
            for e in &report.events {
                println!("{e}");
            }
        }
        if let Some(v) = report.violation {
            println!("{seed}: {v}");
        }
    }
}
