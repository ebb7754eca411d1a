//! The peer: a pool of threads in one process, fed with boxed closures through a bounded crossbeam channel.
//!
//! This is how such a pool is usually written. Answers come back through a second bounded channel that the worker
//! holds; a sender cloned into each closure was a third slower, and a place per task no faster. It keeps none of
//! our promises: one process, no cancelling, no order of answers, and a crash takes everything.

use super::affinity;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() -> u64 + Send>;

/// Worker threads, the channel that feeds them and the one that brings their answers.
pub struct CrossbeamPool {
    jobs: Option<Sender<Job>>,
    answers: Receiver<u64>,
    workers: Vec<JoinHandle<()>>,
    window: usize,
}

impl CrossbeamPool {
    /// One worker thread for each CPU in `cpus`, pinned there; room for `window` tasks under way.
    pub fn pinned(cpus: &[usize], window: usize) -> CrossbeamPool {
        CrossbeamPool::new(cpus.iter().copied().map(Some), window)
    }

    /// That many worker threads wherever the kernel puts them.
    pub fn free(workers: usize, window: usize) -> CrossbeamPool {
        CrossbeamPool::new(std::iter::repeat_n(None, workers), window)
    }

    fn new(cpus: impl Iterator<Item = Option<usize>>, window: usize) -> CrossbeamPool {
        let (jobs, queue) = bounded::<Job>(window);
        let (answer, answers) = bounded(window);
        let worker = |cpu: Option<usize>| {
            let (queue, answer) = (queue.clone(), answer.clone());
            std::thread::spawn(move || {
                if let Some(cpu) = cpu {
                    affinity::pin_thread(cpu).expect("sched_setaffinity of a pool thread");
                }
                for job in queue {
                    answer.send(job()).expect("the pool outlives its workers");
                }
            })
        };
        let workers = cpus.map(worker).collect();
        CrossbeamPool { jobs: Some(jobs), answers, workers, window }
    }

    /// Runs `f` on every number below `count`, at most `window` of them under way; the sum of the answers.
    pub fn run(&self, count: u64, window: usize, f: fn(u64) -> u64) -> u64 {
        assert!(0 < window && window <= self.window, "more under way than the channels hold could block for ever");
        let ahead = count.min(window as u64);
        let mut sum = 0u64;
        for x in 0..count {
            if x >= ahead {
                sum = sum.wrapping_add(self.collect());
            }
            self.submit(Box::new(move || f(x)));
        }
        for _ in 0..ahead {
            sum = sum.wrapping_add(self.collect());
        }
        sum
    }

    /// Hands one task over. Waits while the window is full.
    pub fn submit(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("open until dropped");
        jobs.send(job).expect("a worker thread is alive");
    }

    /// An answer, if there is one.
    pub fn try_collect(&self) -> Option<u64> {
        self.answers.try_recv().ok()
    }

    fn collect(&self) -> u64 {
        self.answers.recv().expect("a worker thread is alive")
    }
}

impl Drop for CrossbeamPool {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            worker.join().expect("a pool thread panicked");
        }
    }
}
