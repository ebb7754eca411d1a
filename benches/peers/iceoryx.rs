//! A peer in shared memory: iceoryx2's request and response. Both sides poll, as in `queues.rs`.
//!
//! It is a feature of this package, for building it takes libclang.

use crate::child::{self, Helper};
use crate::common::affinity;
use crate::ours::plain;
use crate::queues::{number, polled};
use iceoryx2::port::client::Client;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::request_response::PortFactory;
use std::io;

type Factory = PortFactory<ipc::Service, u64, (), u64, ()>;

/// A client whose server is the child.
pub struct Iceoryx {
    client: Client<ipc::Service, u64, (), u64, ()>,
    child: Helper,
    _service: Factory,
    _node: Node<ipc::Service>,
}

impl Iceoryx {
    pub fn new(cpu: usize) -> io::Result<Iceoryx> {
        let name = format!("taskring-peers/{}", std::process::id());
        let (node, service) = open_service(&name)?;
        let mut child = Helper::role("iceoryx2", &[cpu.to_string(), name])?;
        child.wait_ready()?;
        let client = service.client_builder().create().map_err(failed)?;
        Ok(Iceoryx { client, child, _service: service, _node: node })
    }

    /// Tells the child how many requests will come.
    pub fn begin(&mut self, count: u64) {
        self.child.order(&count.to_string()).expect("the child listens");
    }

    pub fn round_trips(&mut self, count: u64) -> u64 {
        (0..count).fold(0, |sum, x| {
            let request = self.client.loan_uninit().expect("a sample").write_payload(x);
            let pending = request.send().expect("a server is connected");
            sum.wrapping_add(polled(|| pending.receive().expect("a connected server").map(|answer| *answer)))
        })
    }
}

/// The role of the child.
pub fn play(cpu: usize, name: &str) -> io::Result<()> {
    affinity::pin_thread(cpu)?;
    let (_node, service) = open_service(name)?;
    let server = service.server_builder().create().map_err(failed)?;
    child::ready();
    for order in child::orders() {
        for _ in 0..number(&order)? {
            let request = polled(|| server.receive().expect("a connected client"));
            let answer = request.loan_uninit().map_err(failed)?.write_payload(plain(*request));
            answer.send().map_err(failed)?;
        }
    }
    Ok(())
}

fn open_service(name: &str) -> io::Result<(Node<ipc::Service>, Factory)> {
    set_log_level(LogLevel::Error);
    let node =
        NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create::<ipc::Service>().map_err(failed)?;
    let name: ServiceName = name.try_into().map_err(failed)?;
    let service = node.service_builder(&name).request_response::<u64, u64>().open_or_create().map_err(failed)?;
    Ok((node, service))
}

fn failed(e: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{e:?}"))
}
