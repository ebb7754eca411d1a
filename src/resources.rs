//! What each worker that its owner starts is given: an environment, the CPUs that it runs on, and the memory that it may use.
//!
//! The environment goes with the start itself. The other two stand among the pool's constants, so that a worker reads them however it came into being
//! (`setup.rs`), and one that takes another's place as well.

use crate::constants::{Constants, What};
use crate::error::{Error, Result};
use crate::start::StartMethod;
use crate::sys::{self, CPUS_MAX};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

#[derive(Clone, Debug, Default)]
pub(crate) struct Resources {
    pub(crate) env: Vec<(OsString, OsString)>,
    cpus: Option<Vec<usize>>,
    memory_max: Option<u64>,
}

impl Resources {
    pub(crate) fn run_on(&mut self, cpus: Vec<usize>) {
        self.cpus = Some(cpus);
    }

    pub(crate) fn limit_memory(&mut self, bytes: u64) {
        self.memory_max = Some(bytes);
    }

    /// Refuses what no worker could be given, and what workers of this kind have in common with their owner.
    pub(crate) fn check(&self, method: StartMethod) -> Result<()> {
        let given = [("worker_env", !self.env.is_empty()), ("worker_memory_max", self.memory_max.is_some())];
        if let Some((name, _)) = given.iter().find(|(_, given)| *given)
            && (method.is_thread() || method == StartMethod::None)
        {
            return Err(Error::invalid(name, format!("with {method:?}"), "workers that this pool starts as processes"));
        }
        for (name, value) in &self.env {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            if name.is_empty() || name.contains(&b'=') || name.contains(&0) || value.contains(&0) {
                let shown = format!("{:?}={:?}", OsStr::from_bytes(name), OsStr::from_bytes(value));
                return Err(Error::invalid("worker_env", shown, "a name without '=', and no zero byte in it or its value"));
            }
        }
        if self.memory_max == Some(0) {
            return Err(Error::invalid("worker_memory_max", 0, "at least 1 byte"));
        }
        let Some(cpus) = &self.cpus else { return Ok(()) };
        if method == StartMethod::None {
            return Err(Error::invalid("worker_cpus", "with None", "workers that this pool starts"));
        }
        let allowed = sys::cpus();
        if cpus.is_empty() {
            return Err(Error::invalid("worker_cpus", "none", "at least one CPU"));
        }
        if cpus.len() > CPUS_MAX {
            return Err(Error::TooMany { what: "worker_cpus", max: CPUS_MAX });
        }
        match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            Some(cpu) => Err(Error::invalid("worker_cpus", cpu, format!("CPUs that this process may use: {allowed:?}"))),
            None => Ok(()),
        }
    }

    /// Says to the workers what they are to see to themselves.
    pub(crate) fn put(&self, constants: &mut Constants) {
        if let Some(cpus) = &self.cpus {
            let bytes = cpus.iter().flat_map(|&cpu| (cpu as u32).to_le_bytes()).collect();
            constants.set(What::Cpus, "cpus".to_owned(), bytes);
        }
        if let Some(bytes) = self.memory_max {
            constants.set(What::MemoryMax, "memory".to_owned(), bytes.to_le_bytes().to_vec());
        }
    }
}
