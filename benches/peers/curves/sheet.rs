//! Tables of what was measured: printed with the systems below each other and the points beside each other, and written as JSON.

use crate::common::affinity;
use crate::common::rounds::Figure;
use crate::plan::Plan;
use crate::report::{Amount, Report};
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// What was measured at one point: the median and the lowest and highest round.
#[derive(Clone, Copy)]
struct Measured {
    x: f64,
    median: f64,
    low: f64,
    high: f64,
}

/// One quantity along one curve.
pub struct Table {
    curve: &'static str,
    /// What is measured, and its unit.
    what: (&'static str, &'static str),
    /// What grows, and its unit.
    along: (&'static str, &'static str),
    series: Vec<(String, Vec<Measured>)>,
}

impl Table {
    pub fn new(curve: &'static str, what: (&'static str, &'static str), along: (&'static str, &'static str)) -> Table {
        Table { curve, what, along, series: Vec::new() }
    }

    /// One figure without rounds of its own.
    pub fn add(&mut self, x: f64, system: &str, value: f64) {
        self.insert(system, Measured { x, median: value, low: value, high: value });
    }

    /// What took turns at one point.
    pub fn add_figures(&mut self, x: u64, figures: &[Figure]) {
        for figure in figures {
            let (low, high) = figure.spread();
            // What comes from a script has the point behind its name.
            let system = figure.name.split('@').next().unwrap_or_default();
            self.insert(system, Measured { x: x as f64, median: figure.ns(), low, high });
        }
    }

    fn insert(&mut self, system: &str, measured: Measured) {
        match self.series.iter_mut().find(|(known, _)| known == system) {
            Some((_, points)) => points.push(measured),
            None => self.series.push((system.to_owned(), vec![measured])),
        }
    }

    fn print(&self) {
        let mut columns: Vec<f64> = self.series.iter().flat_map(|(_, points)| points.iter().map(|p| p.x)).collect();
        columns.sort_by(f64::total_cmp);
        columns.dedup();
        println!("\n{}: {}, by {}", self.curve, self.what.0, self.along.0);
        let width = self.series.iter().map(|(system, _)| system.len()).max().unwrap_or(0);
        print!("  {:width$}", "");
        columns.iter().for_each(|&x| print!(" {:>9}", point(x, self.along.1)));
        println!();
        for (system, points) in &self.series {
            print!("  {system:width$}");
            for &x in &columns {
                let found = points.iter().find(|p| p.x == x);
                print!(" {:>9}", found.map_or(String::new(), |p| amount(p.median, self.what.1)));
            }
            println!();
        }
    }

    fn json(&self) -> Value {
        let points = |points: &[Measured]| points.iter().map(|p| json!([p.x, p.median, p.low, p.high])).collect::<Vec<_>>();
        let series = self.series.iter().map(|(system, of)| json!({ "system": system, "points": points(of) }));
        json!({ "curve": self.curve, "what": self.what.0, "unit": self.what.1, "along": self.along.0,
            "along_unit": self.along.1, "series": series.collect::<Vec<_>>() })
    }
}

/// A point of a curve, short.
fn point(x: f64, unit: &str) -> String {
    match unit {
        "B" if x >= f64::from(1 << 20) => format!("{} MiB", x / f64::from(1 << 20)),
        "B" if x >= 1024.0 => format!("{} KiB", x / 1024.0),
        _ => format!("{x} {unit}").trim_end().to_owned(),
    }
}

fn amount(value: f64, unit: &'static str) -> String {
    match unit {
        "/s" if value >= 1e6 => format!("{:.2}M/s", value / 1e6),
        "/s" if value >= 1e4 => format!("{:.0}k/s", value / 1e3),
        _ => Amount(value, unit).to_string(),
    }
}

/// Everything that was found in this run.
pub struct Sheet {
    /// Of the peers that are not here.
    pub report: Report,
    machine: String,
    quick: bool,
    tables: Vec<Value>,
}

impl Sheet {
    pub fn new(plan: &Plan) -> Sheet {
        println!("curves: {}{}", affinity::describe(), plan.pick("", "; quick", "; two points of each"));
        let machine = affinity::machine();
        println!("curves: {machine}");
        Sheet { report: Report::default(), machine, quick: plan.setup.quick, tables: Vec::new() }
    }

    /// Prints a table and keeps it.
    pub fn put(&mut self, table: &Table) {
        table.print();
        self.tables.push(table.json());
    }

    /// Writes everything to `file`, a table a line.
    pub fn write_json(&self, file: &Path) -> io::Result<()> {
        let tables: Vec<String> = self.tables.iter().map(Value::to_string).collect();
        let (machine, absent) = (json!(self.machine), json!(self.report.absences()));
        let text = format!(
            "{{\"machine\":{machine},\"quick\":{},\"absent\":{absent},\"tables\":[\n{}\n]}}\n",
            self.quick,
            tables.join(",\n")
        );
        std::fs::write(file, text)
    }
}
