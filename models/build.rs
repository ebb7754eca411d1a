//! Chooses the loom face of the facade in `src/sync.rs`.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom, shuttle)");
    println!("cargo::rustc-cfg=loom");
}
