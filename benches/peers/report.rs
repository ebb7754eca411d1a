//! What the bench prints: a row for each system, a line for each target, and the same as JSON.
//!
//! A target's line is `N<id> ours=<figure> against=<name>:<figure> ratio=<r> target=<t> ok|short`. A target that is a plain number is the
//! most that the ratio may be; one that begins with `>=` is the least. Where our figure is one of several ways, its name stands before it.

use crate::common::rounds::Figure;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::Path;

/// The bound of a target's ratio.
#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Bound::AtMost(most) => ratio <= most,
            Bound::AtLeast(least) => ratio >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(most) => write!(f, "{most:.2}"),
            Bound::AtLeast(least) => write!(f, ">={least:.2}"),
        }
    }
}

/// A number and what it counts.
#[derive(Clone, Copy)]
pub struct Amount(pub f64, pub &'static str);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount(value, unit) = *self;
        match unit {
            "ns" if value >= 1e6 => write!(f, "{:.2}ms", value / 1e6),
            "ns" if value >= 1e4 => write!(f, "{:.1}us", value / 1e3),
            "ns" if value < 100.0 => write!(f, "{value:.1}ns"),
            _ if value.abs() < 100.0 && value.fract() != 0.0 => write!(f, "{value:.3}{unit}"),
            _ => write!(f, "{value:.0}{unit}"),
        }
    }
}

/// Everything that was found in this run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Value>,
    targets: Vec<Value>,
    absent: Vec<Value>,
    unmeasured: Vec<Value>,
    short: usize,
}

impl Report {
    /// A heading above the rows of one measurement.
    pub fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    /// A remark that a reader of the figures needs.
    pub fn remark(&self, text: &str) {
        println!("  ({text})");
    }

    /// One row: a system, its median and its spread.
    pub fn row(&mut self, part: &str, figure: &Figure) {
        let (fastest, slowest) = figure.spread();
        let (median, low, high) = (Amount(figure.ns(), "ns"), Amount(fastest, "ns"), Amount(slowest, "ns"));
        println!("  {:44} median {median:>9}   rounds {low} to {high}", figure.name);
        self.rows
            .push(json!({ "part": part, "system": figure.name, "unit": "ns", "median": figure.ns(), "fastest": fastest,
            "slowest": slowest }));
    }

    /// One row whose figure is not the median of rounds.
    pub fn value(&mut self, part: &str, system: &str, amount: Amount) {
        println!("  {system:44} {amount}");
        self.rows.push(json!({ "part": part, "system": system, "unit": amount.1, "value": amount.0 }));
    }

    /// The line of a target.
    pub fn target(&mut self, id: &str, ours: (&str, Amount), against: (&str, Amount), ratio: f64, bound: Bound) {
        let ok = bound.holds(ratio);
        let label = if ours.0.is_empty() { String::new() } else { format!("{}:", ours.0) };
        let verdict = if ok { "ok" } else { "short" };
        println!(
            "{id} ours={label}{} against={}:{} ratio={ratio:.3} target={bound} {verdict}",
            ours.1,
            against.0.replace(' ', "-"),
            against.1
        );
        let (kind, limit) = match bound {
            Bound::AtMost(most) => ("at most", most),
            Bound::AtLeast(least) => ("at least", least),
        };
        self.short += usize::from(!ok);
        self.targets.push(json!({ "id": id, "way": ours.0, "ours": ours.1.0, "unit": ours.1.1, "against": against.0,
            "against_value": against.1.0, "against_unit": against.1.1, "ratio": ratio, "bound": kind, "target": limit, "ok": ok }));
    }

    /// The line of a target that compares two figures of one interleaved measurement.
    pub fn compare(&mut self, id: &str, ours: &Figure, against: &Figure, most: f64) {
        let amounts = (Amount(ours.ns(), "ns"), Amount(against.ns(), "ns"));
        let way = if ours.name == "ours" { String::new() } else { ours.name.replace(' ', "-") };
        self.target(id, (&way, amounts.0), (&against.name, amounts.1), ours.against(against), Bound::AtMost(most));
    }

    /// A peer that cannot be measured here, and why; said once.
    pub fn absent(&mut self, peer: &str, why: &str) {
        if self.absent.iter().any(|known| known["peer"] == peer) {
            return;
        }
        let why = why.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gives no reason").trim();
        println!("peer {peer}: not here: {why}");
        self.absent.push(json!({ "peer": peer, "why": why }));
    }

    /// The peers that were not here.
    pub fn absences(&self) -> &[Value] {
        &self.absent
    }

    /// A target that cannot be measured here, and why.
    pub fn unmeasured(&mut self, id: &str, why: &str) {
        println!("{id} not measured: {why}");
        self.unmeasured.push(json!({ "id": id, "why": why }));
    }

    /// The last line.
    pub fn sum_up(&self) {
        let (all, short) = (self.targets.len(), self.short);
        println!(
            "\npeers: {all} targets measured, {} ok, {short} short, {} not measured",
            all - short,
            self.unmeasured.len()
        );
    }

    /// Writes everything to `file`.
    pub fn write_json(&self, file: &Path, quick: bool, machine: &str) -> io::Result<()> {
        let all = json!({ "machine": machine, "quick": quick, "figures": self.rows, "targets": self.targets,
            "absent": self.absent, "not_measured": self.unmeasured });
        std::fs::write(file, format!("{all:#}\n"))
    }
}
