//! Pools as one writes them with what the kernel offers: a child process and a socketpair, or two pipes; and ipc-channel, which does it with
//! types.
//!
//! A request is four bytes of length and the argument, an answer eight bytes. Each is one `write`; both sides read through a buffer, so under
//! load one `read` brings many. No more are under way than both buffers hold, or both ends would block for ever.

use crate::child::{Helper, die_with_us};
use crate::common::affinity;
use crate::ours::{ends_of, plain};
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, channel};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// Requests under way when there are many.
pub const WINDOW: usize = 64;

/// A child process that is fed through descriptors.
pub struct Framed {
    child: Child,
    to: Option<File>,
    from: BufReader<File>,
}

impl Framed {
    /// Both directions through one pair of sockets.
    pub fn socketpair(cpu: usize) -> io::Result<Framed> {
        Framed::socketpair_to("framed", cpu)
    }

    /// The same to a child in another role.
    pub fn socketpair_to(role: &str, cpu: usize) -> io::Result<Framed> {
        let (ours, theirs) = UnixStream::pair()?;
        let (ours, theirs) = (OwnedFd::from(ours), OwnedFd::from(theirs));
        let child = spawn(role, cpu, theirs.try_clone()?.into(), theirs.into())?;
        Ok(Framed { child, to: Some(ours.try_clone()?.into()), from: BufReader::new(ours.into()) })
    }

    /// A pipe there and a pipe back.
    pub fn pipes(cpu: usize) -> io::Result<Framed> {
        let mut child = spawn("framed", cpu, Stdio::piped(), Stdio::piped())?;
        let gone = || io::Error::other("no pipe");
        let to = child.stdin.take().ok_or_else(gone)?.as_fd().try_clone_to_owned()?;
        let from = child.stdout.take().ok_or_else(gone)?.as_fd().try_clone_to_owned()?;
        Ok(Framed { child, to: Some(to.into()), from: BufReader::new(from.into()) })
    }

    /// Sends one request whose frame is complete: its length in front.
    pub fn send(&mut self, frame: &[u8]) {
        self.to.as_mut().expect("open until dropped").write_all(frame).expect("the child reads");
    }

    pub fn receive(&mut self) -> u64 {
        let mut answer = [0; 8];
        self.from.read_exact(&mut answer).expect("the child answers");
        u64::from_le_bytes(answer)
    }

    pub fn window(&mut self, window: usize, count: u64) -> u64 {
        self.window_of(window, count, |x| x)
    }

    /// The same with an argument for each task.
    pub fn window_of(&mut self, window: usize, count: u64, argument: impl Fn(u64) -> u64) -> u64 {
        let ahead = count.min(window as u64);
        let mut sum = 0u64;
        for x in 0..count {
            if x >= ahead {
                sum = sum.wrapping_add(self.receive());
            }
            let mut frame = [0; 12];
            frame[..4].copy_from_slice(&8_u32.to_le_bytes());
            frame[4..].copy_from_slice(&argument(x).to_le_bytes());
            self.send(&frame);
        }
        (0..ahead).fold(sum, |sum, _| sum.wrapping_add(self.receive()))
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        self.to = None;
        // Neither can fail but for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(role: &str, cpu: usize, input: Stdio, output: Stdio) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--role", role, &cpu.to_string()]).stdin(input).stdout(output);
    die_with_us(&mut command);
    command.spawn()
}

/// The role of the child: eight bytes are squared, of more their ends are told.
pub fn play_framed(cpu: usize) -> io::Result<()> {
    serve(cpu, |bytes| match bytes.try_into() {
        Ok(number) => plain(u64::from_le_bytes(number)),
        Err(_) => ends_of(bytes),
    })
}

/// Answers each request that comes through the standard input.
pub fn serve(cpu: usize, answer: impl Fn(&[u8]) -> u64) -> io::Result<()> {
    affinity::pin_thread(cpu)?;
    let mut input = BufReader::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let (mut head, mut bytes) = ([0; 4], Vec::new());
    // Its end is the end of the pool.
    while input.read_exact(&mut head).is_ok() {
        bytes.resize(u32::from_le_bytes(head) as usize, 0);
        input.read_exact(&mut bytes)?;
        output.write_all(&answer(&bytes).to_le_bytes())?;
    }
    Ok(())
}

/// A child process behind two of ipc-channel's channels.
pub struct IpcChannel {
    to: IpcSender<u64>,
    from: IpcReceiver<u64>,
    _child: Helper,
}

impl IpcChannel {
    pub fn new(cpu: usize) -> io::Result<IpcChannel> {
        let other = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
        let (server, name) = IpcOneShotServer::<(IpcSender<u64>, IpcReceiver<u64>)>::new()?;
        let child = Helper::role("ipc-channel", &[cpu.to_string(), name])?;
        let (_, (to, from)) = server.accept().map_err(|e| other(&e))?;
        Ok(IpcChannel { to, from, _child: child })
    }

    pub fn window(&mut self, window: usize, count: u64) -> u64 {
        let ahead = count.min(window as u64);
        let receive = |sum: u64| sum.wrapping_add(self.from.recv().expect("the child answers"));
        let mut sum = 0u64;
        for x in 0..count {
            if x >= ahead {
                sum = receive(sum);
            }
            self.to.send(x).expect("the child receives");
        }
        (0..ahead).fold(sum, |sum, _| receive(sum))
    }
}

/// The role of the child.
pub fn play_ipc_channel(cpu: usize, name: String) -> io::Result<()> {
    affinity::pin_thread(cpu)?;
    let (to_us, requests) = channel::<u64>()?;
    let (answers, from_us) = channel::<u64>()?;
    let server = IpcSender::connect(name)?;
    server.send((to_us, from_us)).map_err(|e| io::Error::other(e.to_string()))?;
    while let Ok(x) = requests.recv() {
        answers.send(plain(x)).map_err(|e| io::Error::other(e.to_string()))?;
    }
    Ok(())
}
