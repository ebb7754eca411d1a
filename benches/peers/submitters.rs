//! Several submitter processes and two workers (N11): what all of them get done in a fixed time, and how it is shared out.

use crate::child::{self, Helper, step};
use crate::ours::{self, CAPACITY, expected};
use crate::report::{Amount, Bound, Report};
use crate::setup::Setup;
use std::io;
use std::time::{Duration, Instant};
use taskring::Executor;

/// How many submitters there are at a time.
const CROWDS: [usize; 4] = [1, 2, 4, 8];
/// Tasks that a submitter has under way, and how many it runs between two looks at the clock.
const WINDOW: usize = 64;
const STRETCH: u64 = 512;

/// N11. Nothing is pinned: there are more processes than CPUs.
pub fn measure(setup: &Setup, report: &mut Report) -> io::Result<()> {
    report.heading(
        "k submitter processes that attached by name, 2 workers: tasks a second, and the smallest share of a submitter",
    );
    let (pool, mut crowd) = gather(CROWDS[CROWDS.len() - 1], setup.pick(1500, 400))?;
    let rounds = setup.pick(7, 3);
    let (mut rates, mut shares) = (vec![Vec::new(); CROWDS.len()], vec![Vec::new(); CROWDS.len()]);
    for _ in 0..rounds {
        for (at, &k) in CROWDS.iter().enumerate() {
            let each = run(&mut crowd[..k])?;
            let all: f64 = each.iter().sum();
            rates[at].push(all);
            shares[at].push(each.iter().copied().fold(f64::INFINITY, f64::min) / (all / k as f64));
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    let shares: Vec<f64> = shares.into_iter().map(median).collect();
    for ((k, rate), share) in CROWDS.iter().zip(&rates).zip(&shares) {
        report.value("submitters", &format!("{k} submitters"), Amount(*rate, "/s"));
        report.value("submitters", &format!("{k} submitters, smallest part of a fair share"), Amount(*share, ""));
    }
    let (one, eight) = (rates[0], rates[rates.len() - 1]);
    let amounts = (Amount(eight, "/s"), Amount(one, "/s"));
    report.target("N11a", ("8-submitters", amounts.0), ("1-submitter", amounts.1), eight / one, Bound::AtLeast(0.8));
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let amounts = (Amount(least, ""), Amount(1.0, ""));
    report.target("N11b", ("smallest-share", amounts.0), ("fair-share", amounts.1), least, Bound::AtLeast(0.5));
    drop(crowd);
    drop(pool);
    Ok(())
}

/// A pool of two workers and so many submitters of it, each of which will submit for so long when it is told to.
pub fn gather(submitters: usize, millis: u64) -> io::Result<(Executor, Vec<Helper>)> {
    let name = format!("peers-submitters-{}", std::process::id());
    let pool = Executor::builder().workers(2).capacity(CAPACITY).create_named(&name).map_err(io::Error::other)?;
    let args = [name, millis.to_string()];
    let mut crowd = Vec::new();
    for _ in 0..submitters {
        let mut submitter = Helper::role("submitter", &args)?;
        submitter.wait_ready()?;
        crowd.push(submitter);
    }
    Ok((pool, crowd))
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lets them run at the same time; tasks a second of each.
pub fn run(crowd: &mut [Helper]) -> io::Result<Vec<f64>> {
    step("several submitters");
    crowd.iter_mut().try_for_each(|submitter| submitter.order("go"))?;
    crowd.iter_mut().map(|submitter| submitter.answer()?.parse().map_err(io::Error::other)).collect()
}

/// The role of a submitter: at each order it submits for that long, and tells its tasks a second.
pub fn play(name: &str, millis: &str) -> io::Result<()> {
    let time = Duration::from_millis(millis.parse().map_err(io::Error::other)?);
    let pool = Executor::attach(name).map_err(io::Error::other)?;
    assert_eq!(ours::single(&pool, WINDOW, STRETCH), expected(STRETCH));
    child::ready();
    for _ in child::orders() {
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < time {
            assert_eq!(ours::single(&pool, WINDOW, STRETCH), expected(STRETCH));
            done += STRETCH;
        }
        println!("{}", done as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}
