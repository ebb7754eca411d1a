//! Helper processes, and the watch that ends this program when one of them hangs.
//!
//! A helper is this program in a role (`--role NAME ...`), or another program. Between measurements it sleeps in a `read` of its input, so it
//! takes no CPU from the others. It dies with us, and is killed and waited for when its owner is dropped.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest that one step (a round, an answer of a helper) may take.
const STEP_MAX: Duration = Duration::from_secs(55);

/// How long a helper may take to leave.
const LEAVE_MAX: Duration = Duration::from_secs(1);

static STEP: Mutex<Option<(String, Instant)>> = Mutex::new(None);

/// Says what is being done now. Until the next step no more than `STEP_MAX` may pass.
pub fn step(what: &str) {
    *STEP.lock().expect("no thread panics with it") = Some((what.to_owned(), Instant::now()));
}

/// Starts the thread that ends this program, and so its helpers, when a step takes too long.
pub fn watch() {
    step("start");
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let step = STEP.lock().expect("no thread panics with it").clone();
            if let Some((what, since)) = step
                && since.elapsed() > STEP_MAX
            {
                eprintln!("peers: {what} did not come to an end within {} s", STEP_MAX.as_secs());
                // At once: the exit of a program with a pool waits for its tasks, and one of them may be what hangs.
                // SAFETY: takes an integer.
                unsafe { libc::_exit(1) };
            }
        }
    });
}

/// A process of ours with pipes to and from it.
pub struct Helper {
    child: Child,
    name: String,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    /// This program in a role.
    pub fn role(role: &str, args: &[String]) -> io::Result<Helper> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", role]).args(args);
        Helper::start(role, command)
    }

    /// Any program. What it says on its error output is shown only when it is asked for, see [`Helper::complaint`].
    pub fn start(name: &str, mut command: Command) -> io::Result<Helper> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?);
        Ok(Helper { child, name: name.to_owned(), orders, answers })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends one line.
    pub fn order(&mut self, line: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or_else(|| io::Error::other("its input is closed"))?;
        orders.write_all(format!("{line}\n").as_bytes())
    }

    /// Waits for one line, which a helper that ended does not give.
    pub fn answer(&mut self) -> io::Result<String> {
        step(&format!("the peer {}", self.name));
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => {
                let how = self.end()?;
                Err(io::Error::other(format!("{} ended: {how}", self.name)))
            }
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Waits for the one word that a helper says when it can be measured.
    pub fn wait_ready(&mut self) -> io::Result<()> {
        match self.answer()?.as_str() {
            "ready" => Ok(()),
            other => Err(io::Error::other(format!("{} says {other:?}", self.name))),
        }
    }

    fn end(&mut self) -> io::Result<String> {
        self.orders = None;
        Ok(self.child.wait()?.to_string())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The end of its input tells it to leave; one that does not is killed. None of this can fail but for a process that has ended.
        self.orders = None;
        let begun = Instant::now();
        while begun.elapsed() < LEAVE_MAX && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the kernel kill the process when the thread that starts it ends. All are started by the main thread.
pub fn die_with_us(command: &mut Command) {
    let parent = std::process::id().cast_signed();
    // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() != parent {
                libc::_exit(1);
            }
            Ok(())
        })
    };
}

/// The lines of our input, in a role: each is an order.
pub fn orders() -> impl Iterator<Item = String> {
    io::stdin().lock().lines().map_while(Result::ok)
}

/// In a role: says that we can be measured.
pub fn ready() {
    let mut out = io::stdout().lock();
    // When nobody reads this any more we are about to be killed.
    let _ = out.write_all(b"ready\n").and_then(|()| out.flush());
}
