//! What the hardware and the kernel allow between two processes: the floor under every round trip.
//!
//! A forked child shares one page with us. *Cache line*: we store a number in one line and spin until
//! the child has stored it in another; two transfers, no system call. *Futex*: the same two words, but
//! each side sleeps in the kernel until the other wakes it; what waking a sleeping worker must cost.
//!
//! The child sleeps in `read` between measurements and costs nothing then. It ends with us.

use super::affinity;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};
use std::time::{Duration, Instant};

/// Two cache lines: adjacent-line prefetch pulls them in pairs.
#[repr(C, align(128))]
struct Line(AtomicU32);

#[repr(C)]
struct Page {
    ping: Line,
    pong: Line,
}

/// What the child is asked for, as it travels through the pipe.
#[repr(C)]
#[derive(Clone, Copy)]
struct Order {
    count: u32,
    how: u32,
}

/// How both sides wait. With or without a pause, now one is faster and now the other, depending on the CPU and on
/// who else uses its core.
const SPIN: u32 = 0;
const SPIN_PAUSING: u32 = 1;
const SLEEP: u32 = 2;

/// The forked partner of every measurement.
pub struct Partner {
    page: *const Page,
    child: libc::pid_t,
    orders: libc::c_int,
    cpus: (usize, usize),
}

impl Partner {
    /// Forks the child, pinned to the second CPU of the pair.
    pub fn start() -> io::Result<Partner> {
        let cpus = affinity::pair();
        let page = shared_page()?;
        let mut pipe = [0; 2];
        // SAFETY: `pipe` has room for the two descriptors.
        check(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: getpid touches no memory.
        let parent = unsafe { libc::getpid() };
        // SAFETY: the child calls only async-signal-safe functions (see `serve`) and never returns.
        let child = check(unsafe { libc::fork() })?;
        if child == 0 {
            serve(page, pipe, parent, cpus.1);
        }
        // SAFETY: the read end is ours and nothing else uses it.
        unsafe { libc::close(pipe[0]) };
        Ok(Partner { page, child, orders: pipe[1], cpus })
    }

    /// Nanoseconds from storing in one cache line to seeing the answer in the other: the faster way to spin.
    pub fn cacheline_ns(&self, count: u32) -> f64 {
        let _pinned = affinity::Pinned::to(self.cpus.0);
        self.spin_ns(count, SPIN).min(self.spin_ns(count, SPIN_PAUSING))
    }

    fn spin_ns(&self, count: u32, how: u32) -> f64 {
        self.order(Order { count, how });
        let page = self.page();
        let start = Instant::now();
        for turn in 1..=count {
            page.ping.0.store(turn, Release);
            wait_until(&page.pong.0, turn, how);
        }
        super::per(start.elapsed(), u64::from(count))
    }

    /// Nanoseconds to wake the sleeping child and to be woken by its answer, after `idle` each time.
    pub fn futex_ns(&self, count: u32, idle: Duration) -> f64 {
        let _pinned = affinity::Pinned::to(self.cpus.0);
        self.order(Order { count, how: SLEEP });
        let page = self.page();
        let mut total = Duration::ZERO;
        for turn in 1..=count {
            std::thread::sleep(idle);
            let start = Instant::now();
            page.ping.0.store(turn, Release);
            wake(&page.ping.0);
            wait_until(&page.pong.0, turn, SLEEP);
            total += start.elapsed();
        }
        super::per(total, u64::from(count))
    }

    /// Starts a measurement: both words at zero, and the child past its `read`.
    fn order(&self, order: Order) {
        let page = self.page();
        page.ping.0.store(0, Release);
        page.pong.0.store(u32::MAX, Release);
        let bytes = size_of::<Order>();
        // SAFETY: `order` is plain bytes of that length; a pipe takes 8 bytes whole or not at all.
        let sent = unsafe { libc::write(self.orders, (&raw const order).cast(), bytes) };
        assert_eq!(sent, bytes as isize, "the partner process is gone: {}", io::Error::last_os_error());
        wait_until(&page.pong.0, 0, SPIN);
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped in `start`, aligned to a page, unmapped only in `drop`; all its fields are atomics.
        unsafe { &*self.page }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not yet waited for, so its pid cannot have been used again;
        // the descriptor and the mapping are ours, and no reference to the page outlives `self`.
        unsafe {
            libc::close(self.orders);
            libc::kill(self.child, libc::SIGKILL);
            libc::waitpid(self.child, std::ptr::null_mut(), 0);
            libc::munmap(self.page.cast_mut().cast(), size_of::<Page>());
        }
    }
}

/// The child's whole life: take an order, answer it, until the pipe or the parent ends.
fn serve(page: *const Page, pipe: [libc::c_int; 2], parent: libc::pid_t, cpu: usize) -> ! {
    // SAFETY: plain system calls on numbers; the write end is closed so that `read` can see the end.
    unsafe {
        libc::close(pipe[1]);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != parent || affinity::pin_thread(cpu).is_err() {
            libc::_exit(1);
        }
    }
    // SAFETY: a fork keeps the shared mapping at its address; all fields are atomics.
    let page = unsafe { &*page };
    loop {
        let mut order = Order { count: 0, how: SPIN };
        let bytes = size_of::<Order>();
        // SAFETY: `order` has room for that many bytes and any bytes are a valid Order.
        let got = unsafe { libc::read(pipe[0], (&raw mut order).cast(), bytes) };
        if got != bytes as isize {
            // SAFETY: ends this process at once, running none of the parent's exit code.
            unsafe { libc::_exit(0) };
        }
        answer(page, order);
    }
}

fn answer(page: &Page, order: Order) {
    page.pong.0.store(0, Release);
    for turn in 1..=order.count {
        wait_until(&page.ping.0, turn, order.how);
        page.pong.0.store(turn, Release);
        if order.how == SLEEP {
            wake(&page.pong.0);
        }
    }
}

#[inline]
fn wait_until(word: &AtomicU32, value: u32, how: u32) {
    match how {
        SPIN => while word.load(Acquire) != value {},
        SPIN_PAUSING => {
            while word.load(Acquire) != value {
                std::hint::spin_loop();
            }
        }
        _ => sleep_until(word, value),
    }
}

fn sleep_until(word: &AtomicU32, value: u32) {
    loop {
        let seen = word.load(Acquire);
        if seen == value {
            return;
        }
        let forever = std::ptr::null::<libc::timespec>();
        // SAFETY: the word lives in the shared page for the whole call; a null time-out waits without one.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, forever) };
    }
}

fn wake(word: &AtomicU32) {
    // SAFETY: the word lives in the shared page; waking touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

fn shared_page() -> io::Result<*const Page> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice; zero bits are a valid Page.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Page>(), protection, flags, -1, 0) };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(page.cast_const().cast()) }
}

fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}
