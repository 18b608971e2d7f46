//! The drawings beside docs/performance.md, as SVG.

use crate::bench::Outcome;
use crate::plan::CLOSED;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (760, 380);
const COLOURS: &[RGBColor] = &[
    RGBColor(0, 90, 160),
    RGBColor(210, 90, 30),
    RGBColor(40, 140, 80),
    RGBColor(140, 80, 160),
    RGBColor(120, 120, 120),
    RGBColor(190, 160, 20),
];

/// A drawing that was made.
pub(crate) struct Drawing {
    /// What it shows.
    pub(crate) title: &'static str,
    /// Its name in the folder.
    pub(crate) file: &'static str,
}

/// Lines in one drawing.
struct Lines {
    drawing: Drawing,
    /// Curves whose name begins so.
    prefix: &'static str,
    x: &'static str,
    y: &'static str,
}

const fn lines(
    file: &'static str,
    title: &'static str,
    prefix: &'static str,
    x: &'static str,
    y: &'static str,
) -> Lines {
    Lines { drawing: Drawing { title, file }, prefix, x, y }
}

const LINES: &[Lines] = &[
    lines("history.svg", "L: milliseconds per step along one instance", "history: ", "step", "ms per step"),
    lines(
        "recovery.svg",
        "R: workflows completed while processes die",
        "recovery: ",
        "seconds",
        "completed per second",
    ),
    lines(
        "lanes-rate.svg",
        "X: steps per second by lanes in one process",
        "lanes rate: ",
        "lanes",
        "steps per second",
    ),
    lines(
        "lanes-cpu.svg",
        "X: CPU per step by lanes, app and broker",
        "lanes cpu: ",
        "lanes",
        "CPU µs per step",
    ),
    lines("soak.svg", "Z: memory of the app over time", "soak: ", "minutes", "RSS MB"),
];

const PEERS: Drawing = Drawing { title: "Workflows per second beside the peers", file: "peers.svg" };

/// Draws all for which there are figures.
pub(crate) fn draw(outcome: &Outcome, folder: &Path) -> Result<Vec<Drawing>> {
    std::fs::create_dir_all(folder)?;
    let mut drawn = Vec::new();
    if CLOSED.iter().any(|cell| !outcome.results.sides(cell.name).is_empty()) {
        peers(outcome, &folder.join(PEERS.file)).map_err(|e| anyhow!("{}: {e}", PEERS.file))?;
        drawn.push(PEERS);
    }
    for one in LINES {
        let of = outcome
            .curves
            .iter()
            .filter_map(|(name, points)| Some((name.strip_prefix(one.prefix)?, &points[..])));
        let of: Vec<(&str, &[(f64, f64)])> = of.collect();
        if !of.is_empty() {
            draw_lines(one, &of, &folder.join(one.drawing.file))
                .map_err(|e| anyhow!("{}: {e}", one.drawing.file))?;
            drawn.push(Drawing { ..one.drawing });
        }
    }
    Ok(drawn)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_lines(lines: &Lines, curves: &[(&str, &[(f64, f64)])], file: &Path) -> Drawn {
    let largest = |pick: fn(&(f64, f64)) -> f64| {
        curves.iter().flat_map(|(_, c)| c.iter().map(pick)).fold(0.0, f64::max)
    };
    let (right, top) = (largest(|p| p.0), largest(|p| p.1) * 1.15);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(lines.drawing.title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().x_desc(lines.x).y_desc(lines.y).light_line_style(TRANSPARENT).draw()?;
    for ((name, points), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(2))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}

fn legend<'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>) -> Drawn
where
    X: Ranged,
    Y: Ranged,
{
    let labels = chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw();
    Ok(labels?)
}

/// Bars over a logarithmic scale: systems differ by factors of hundreds.
fn peers(outcome: &Outcome, file: &Path) -> Drawn {
    let results = &outcome.results;
    let cells: Vec<_> = CLOSED.iter().filter(|cell| !results.sides(cell.name).is_empty()).collect();
    let mut sides: Vec<String> = Vec::new();
    for side in cells.iter().flat_map(|cell| results.sides(cell.name)) {
        if !sides.contains(&side) {
            sides.push(side);
        }
    }
    let rate = |cell: &str, side: &str| results.value(cell, side, "per_second").map_or(0.0, |s| s.median);
    let all = cells.iter().flat_map(|cell| sides.iter().map(move |side| rate(cell.name, side)));
    // Room for the legend above the bars.
    let top = all.fold(10.0, f64::max) * 100.0;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(PEERS.title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..cells.len() as f64, (1.0..top).log_scale())?;
    // A mark at each half; those between two groups have no name.
    let name = |x: &f64| match cells.get(*x as usize) {
        Some(cell) if (x.fract() - 0.5).abs() < 0.01 => cell.name.to_owned(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * cells.len() + 1)
        .x_label_formatter(&name)
        .y_desc("per second, logarithmic")
        .light_line_style(TRANSPARENT)
        .draw()?;
    let width = 0.8 / sides.len() as f64;
    for (n, (side, colour)) in sides.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let bars = cells.iter().enumerate().filter_map(|(at, cell)| {
            let rate = rate(cell.name, side);
            let left = at as f64 + 0.1 + n as f64 * width;
            (rate > 0.0)
                .then(|| Rectangle::new([(left, 1.0), (left + width * 0.9, rate.max(1.0))], colour.filled()))
        });
        chart
            .draw_series(bars)?
            .label(side)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}
