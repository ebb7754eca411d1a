//! What the reader sees: headings, checked statements, the table of speeds and the progress bar.

use std::io::IsTerminal;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::work::Done;

/// The checks of a run. One that failed makes the exit status 1.
#[derive(Debug, Default)]
pub struct Checks {
    passed: usize,
    failed: usize,
}

impl Checks {
    /// Prints `statement` and whether it `holds`.
    pub fn check(&mut self, holds: bool, statement: impl AsRef<str>) {
        let (count, mark) = if holds { (&mut self.passed, "ok    ") } else { (&mut self.failed, "FAILED") };
        *count += 1;
        println!("  {mark}  {}", statement.as_ref());
    }

    /// The last line of the run; true if nothing failed.
    pub fn verdict(&self) -> bool {
        println!("\n{} checks ok, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

/// Opens a chapter.
pub fn heading(text: impl AsRef<str>) {
    println!("\n{}", text.as_ref());
}

/// A progress bar on stderr; invisible if that is no terminal.
pub fn bar(label: &'static str, length: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:14} [{bar:40}] {pos}/{len}  {per_sec}  {eta}")
        .expect("the template is a constant and valid")
        .progress_chars("=> ");
    ProgressBar::new(length as u64).with_style(style).with_message(label)
}

/// One way to do the work: how long all of it took, and each task.
#[derive(Debug)]
pub struct Speed {
    label: String,
    images: usize,
    wall: Duration,
    tasks: Histogram<u64>,
}

impl Speed {
    pub fn of(label: String, wall: Duration, results: &[Done]) -> Self {
        // Three significant digits, growing as needed.
        let mut tasks = Histogram::new(3).expect("3 digits are allowed");
        for done in results {
            tasks += done.took.as_nanos() as u64;
        }
        Self { label, images: results.len(), wall, tasks }
    }

    pub fn per_second(&self) -> f64 {
        self.images as f64 / self.wall.as_secs_f64()
    }

    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.tasks.mean() as u64)
    }

    fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.tasks.value_at_quantile(quantile))
    }
}

/// Prints the speeds below each other; the factor is against the first.
pub fn table(speeds: &[Speed]) {
    println!("  {:26} {:>8} {:>9} {:>7} {:>10} {:>9} {:>9}", "", "wall s", "images/s", "factor", "task mean", "p50", "p99");
    for speed in speeds {
        println!(
            "  {:26} {:>8.2} {:>9.0} {:>7.2} {:>10} {:>9} {:>9}",
            speed.label,
            speed.wall.as_secs_f64(),
            speed.per_second(),
            speed.per_second() / speeds[0].per_second(),
            milliseconds(speed.mean()),
            milliseconds(speed.quantile(0.50)),
            milliseconds(speed.quantile(0.99)),
        );
    }
}

/// A duration as a reader likes it here: milliseconds, with decimals where they matter.
pub fn milliseconds(time: Duration) -> String {
    let value = time.as_secs_f64() * 1e3;
    let decimals = if value < 1.0 {
        3
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} ms")
}
