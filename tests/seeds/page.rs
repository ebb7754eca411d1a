//! The reference page's examples: a power, two ways for tasks to wait for ever, copies of files in a scope, a loop over pages of which one is missing,
//! primes. And the example of the page on pools of processes: a call, a map, one result after another, and a time-out.

use crate::{Example, Outcome};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;
use taskring::{Error, Executor, Future, MultiPool, StartMethod, TaskError, as_completed, current_pool};

pub const EXAMPLES: &[Example] = &[
    Example { name: "power", rust: Some(power), prints: "main: 3099 digits, from 733018741971 to 073630500507\n" },
    // One of the two is told, whichever waits last; then the other one's wait ends.
    Example {
        name: "two_wait_for_each_other",
        rust: Some(two_wait_for_each_other),
        prints: "\
a task: its wait could never end
a task: the other one gives #
main: 5 and 6
",
    },
    Example {
        name: "one_waits_for_its_own_submit",
        rust: Some(one_waits_for_its_own_submit),
        prints: "a task: 25\nmain: it is over\n",
    },
    Example {
        name: "four_copies",
        rust: Some(four_copies),
        prints: "main: to1.txt has text 1\nmain: to2.txt has text 2\nmain: to3.txt has text 3\nmain: to4.txt has text 4\n",
    },
    Example {
        name: "pages",
        rust: Some(pages),
        prints: "\
| page1.html has 100 bytes
| page2.html has 200 bytes
| page3.html has 300 bytes
| page4.html has 400 bytes
| missing.html generated an exception: No such file or directory*
",
    },
    Example {
        name: "primes",
        rust: Some(primes),
        prints: "\
112272535095293 is prime: true
112582705942171 is prime: true
112272535095293 is prime: true
115280095190773 is prime: true
115797848077099 is prime: true
1099726899285419 is prime: false
",
    },
    Example {
        name: "pool_of_processes",
        rust: Some(pool_of_processes),
        prints: "main: 100\nmain: 0 1 4 9 16 25 36 49 64 81\nmain: 0\nmain: 1\nmain: 4\nmain: it timed out\n",
    },
];

const NUMBERS: [u64; 6] =
    [112272535095293, 112582705942171, 112272535095293, 115280095190773, 115797848077099, 1099726899285419];

/// Enough for anything, if the computer is not very slow.
const ENOUGH: Duration = Duration::from_secs(60);

taskring::task! {
    /// All decimals of a power.
    fn pow(base: u64, exponent: u64) -> String {
        const BILLION: u64 = 1_000_000_000;
        // Nine decimals in each, the lowest first.
        let mut digits = vec![1];
        for _ in 0..exponent {
            let mut carry = 0;
            for part in &mut digits {
                carry += *part * base;
                *part = carry % BILLION;
                carry /= BILLION;
            }
            if carry != 0 {
                digits.push(carry);
            }
        }
        let first = digits.pop().unwrap_or_default().to_string();
        digits.iter().rev().fold(first, |text, part| text + &format!("{part:09}"))
    }
    fn wait_on_b() -> Result<u64, TaskError> { wait_on(&B).map(|()| 5) }
    fn wait_on_a() -> Result<u64, TaskError> { wait_on(&A).map(|()| 6) }
    fn wait_on_future() -> Result<(), TaskError> {
        // The only worker runs this task: it runs the other one on top of it.
        let future = current_pool()?.submit(pow, (5, 2))?;
        println!("a task: {}", future.result()?);
        Ok(())
    }
    fn copy(from: String, to: String) -> Result<u64, TaskError> { Ok(std::fs::copy(from, to)?) }
    fn load(page: String) -> Result<u64, TaskError> { Ok(std::fs::read(page)?.len() as u64) }
    fn is_prime(n: u64) -> bool {
        n == 2 || n > 2 && !n.is_multiple_of(2) && (3..).step_by(2).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
    }
    fn times_itself(x: u64) -> u64 { x * x }
    fn sleep(seconds: u64) { std::thread::sleep(Duration::from_secs(seconds)) }
}

/// The two that wait for each other. Their workers are threads of this process, so that each can have the other one's future.
static A: OnceLock<Future<u64>> = OnceLock::new();
static B: OnceLock<Future<u64>> = OnceLock::new();

fn wait_on(other: &OnceLock<Future<u64>>) -> Result<(), TaskError> {
    match other.wait().result() {
        Ok(n) => println!("a task: the other one gives {n}"),
        Err(Error::WouldDeadlock) => println!("a task: its wait could never end"),
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn threads(count: usize) -> taskring::Result<Executor> {
    Executor::builder().start(StartMethod::Thread).workers(count).build()
}

fn power() -> Outcome {
    let pool = threads(1)?;
    let text = pool.submit(pow, (323, 1235))?.result()?;
    println!("main: {} digits, from {} to {}", text.len(), &text[..12], &text[text.len() - 12..]);
    Ok(())
}

fn two_wait_for_each_other() -> Outcome {
    let pool = threads(2)?;
    let a = A.get_or_init(|| pool.submit(wait_on_b, ()).expect("submitted"));
    let b = B.get_or_init(|| pool.submit(wait_on_a, ()).expect("submitted"));
    println!("main: {} and {}", a.result()?, b.result()?);
    Ok(())
}

fn one_waits_for_its_own_submit() -> Outcome {
    let pool = threads(1)?;
    pool.submit(wait_on_future, ())?.result()?;
    println!("main: it is over");
    Ok(())
}

fn four_copies() -> Outcome {
    {
        let pool = threads(4)?;
        for n in 1..=4 {
            pool.submit(copy, (format!("from{n}.txt"), format!("to{n}.txt")))?.detach();
        }
    }
    for n in 1..=4 {
        print!("main: to{n}.txt has {}", std::fs::read_to_string(format!("to{n}.txt"))?);
    }
    Ok(())
}

fn pages() -> Outcome {
    let pool = threads(5)?;
    let (mut futures, mut page_of) = (Vec::new(), HashMap::new());
    for page in ["page1.html", "page2.html", "page3.html", "page4.html", "missing.html"] {
        let future = pool.submit(load, page.to_owned())?;
        page_of.insert(future.id(), page);
        futures.push(future);
    }
    for future in as_completed(futures, None) {
        let future = future?;
        let page = page_of[&future.id()];
        match future.result() {
            Ok(len) => println!("{page} has {len} bytes"),
            Err(Error::TaskFailed { summary: message, .. }) => println!("{page} generated an exception: {message}"),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn primes() -> Outcome {
    let pool = Executor::builder().build()?;
    for (number, prime) in NUMBERS.into_iter().zip(pool.map(is_prime, NUMBERS)?) {
        println!("{number} is prime: {}", prime?);
    }
    Ok(())
}

fn pool_of_processes() -> Outcome {
    let pool = MultiPool::new(4)?;
    let result = pool.apply_async(times_itself, 10)?;
    println!("main: {}", result.get(Some(ENOUGH))?);

    let squares: Vec<String> = pool.map(times_itself, 0..10)?.iter().map(u64::to_string).collect();
    println!("main: {}", squares.join(" "));

    let mut squares = pool.imap(times_itself, 0..10, 1)?;
    println!("main: {}", squares.next().expect("the first")?);
    println!("main: {}", squares.next().expect("the second")?);
    println!("main: {}", squares.next_timeout(ENOUGH).expect("the third")?);

    let result = pool.apply_async(sleep, 10)?;
    if let Err(Error::TimedOut { .. }) = result.get(Some(Duration::from_millis(100))) {
        println!("main: it timed out");
    }
    // The end of such a pool does not wait for it.
    Ok(())
}
