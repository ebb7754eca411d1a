//! Which of these numbers are prime? The classic first example of a process pool: `cargo run --release --example primes`.

const NUMBERS: [u64; 6] =
    [112272535095293, 112582705942171, 112272535095293, 115280095190773, 115797848077099, 1099726899285419];

taskring::task! {
    fn is_prime(n: u64) -> bool {
        if n < 2 || (n > 2 && n.is_multiple_of(2)) {
            return false;
        }
        let mut divisor = 3;
        while divisor * divisor <= n {
            if n.is_multiple_of(divisor) {
                return false;
            }
            divisor += 2;
        }
        true
    }
}

fn main() -> Result<(), taskring::Error> {
    taskring::init();
    let pool = taskring::Executor::builder().build()?;
    for (number, prime) in NUMBERS.into_iter().zip(pool.map(is_prime, NUMBERS)?) {
        println!("{number} is prime: {}", prime?);
    }
    Ok(())
}
